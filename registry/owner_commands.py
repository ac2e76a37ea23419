"""`packhouse owner` and `packhouse grants`: what users and organizations are called and give."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from auth.accounts import OWNER, PACKAGE, PROJECT
from auth.audit import OPERATOR
from auth.principals import Role, Visibility
from registry.app import Services
from registry.owner_renaming import OwnerRenaming
from registry.project_commands import VISIBILITIES
from registry.tables import print_rows
from storage.clock import rfc3339


def add_owners(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands."""
    owner = groups.add_parser("owner", help="users and organizations").add_subparsers(
        required=True, metavar="ACTION"
    )
    default = owner.add_parser(
        "default-visibility", parents=[common], help="who may pull new packages"
    )
    default.add_argument("owner", metavar="OWNER")
    default.add_argument("visibility", nargs="?", choices=VISIBILITIES, help="default: show it")
    default.set_defaults(command=owner_default_visibility)
    rename = owner.add_parser("rename", parents=[common], help="give it another name")
    rename.add_argument("owner", metavar="OWNER")
    rename.add_argument("name", metavar="NEW")
    rename.set_defaults(command=owner_rename)
    names = owner.add_parser("names", parents=[common], help="list the names it had before")
    names.add_argument("owner", metavar="OWNER")
    names.add_argument("--json", action="store_true", help="print one JSON document")
    names.set_defaults(command=owner_names)
    release = owner.add_parser("release", parents=[common], help="free a name it had before")
    release.add_argument("name", metavar="OLD")
    release.set_defaults(command=owner_release)
    grants = groups.add_parser("grants", parents=[common], help="list who has which role")
    grants.add_argument("resource", metavar="OWNER[/NAME]")
    grants.add_argument(
        "--package", action="store_true", help="OWNER/NAME is a package, not a project"
    )
    grants.add_argument("--json", action="store_true", help="print one JSON document")
    grants.set_defaults(command=grants_list)


async def owner_default_visibility(services: Services, options: argparse.Namespace) -> None:
    """Set or show who may pull the packages that will be made below an owner."""
    if options.visibility is None:
        found = await services.accounts.get(options.owner, "user", "organization")
        print(found.default_visibility.name.lower())
        return
    visibility = Visibility[options.visibility.upper()]
    await services.accounts.set_default_visibility(OPERATOR, options.owner, visibility)
    print(f"new packages of {options.owner} are {options.visibility}", file=sys.stderr)


async def owner_rename(services: Services, options: argparse.Namespace) -> None:
    """Give a user or an organization another name; pulls of the old names go on."""
    renaming = OwnerRenaming(services.database, services.clock)
    count = await renaming.rename(OPERATOR, options.owner, options.name)
    packages = "1 package" if count == 1 else f"{count} packages"
    print(
        f"{options.owner} is {options.name.lower()} now, with {packages}; the old names answer "
        f"pulls until 'packhouse owner release {options.owner}'",
        file=sys.stderr,
    )


async def owner_names(services: Services, options: argparse.Namespace) -> None:
    """List the names that an owner had before."""
    renaming = OwnerRenaming(services.database, services.clock)
    rows: list[Mapping[str, Any]] = []
    while page := await renaming.names(options.owner, rows[-1]["name"] if rows else ""):
        rows += [{"name": row["name"], "until": rfc3339(row["created_at"])} for row in page]
    print_rows(rows, as_json=options.json)


async def owner_release(services: Services, options: argparse.Namespace) -> None:
    """Free a name that an owner had before, and all names below it."""
    now = await OwnerRenaming(services.database, services.clock).release(OPERATOR, options.name)
    print(f"{options.name} is free; who had that name is {now}", file=sys.stderr)


async def grants_list(services: Services, options: argparse.Namespace) -> None:
    """List who has which role on an owner, a project or a package."""
    kind, resource_id = await resource(services, options)
    rows: list[Mapping[str, Any]] = []
    while page := await services.accounts.grants(
        kind, resource_id, rows[-1]["account"] if rows else ""
    ):
        rows += [
            {
                "account": row["name"],
                "kind": row["kind"],
                "role": Role(row["role"]).name.lower(),
            }
            for row in page
        ]
    print_rows(rows, as_json=options.json)


async def resource(services: Services, options: argparse.Namespace) -> tuple[int, int]:
    """Return kind and id of `OWNER[/NAME]`, a package with `--package`. Raises NotFound."""
    if "/" not in options.resource:
        return OWNER, (await services.accounts.get(options.resource, "user", "organization")).id
    if options.package:
        return PACKAGE, (await services.packages.get(options.resource))["id"]
    return PROJECT, await services.projects.get(options.resource)
