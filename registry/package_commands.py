"""The commands about packages: what there is, who sees it, and where it belongs."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from auth.audit import OPERATOR
from auth.principals import Visibility
from registry.app import Services
from registry.maintenance import add_deletions
from registry.project_commands import VISIBILITIES
from registry.renaming import Renaming
from registry.tables import print_document, print_records, print_rows
from storage.clock import rfc3339
from storage.errors import Invalid
from storage.names import parse_tag


def add_packages(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add the group `package`."""
    package = groups.add_parser("package", help="packages").add_subparsers(
        required=True, metavar="ACTION"
    )
    listing = package.add_parser("list", parents=[common], help="list packages")
    listing.add_argument("--json", action="store_true", help="print one JSON document")
    listing.set_defaults(command=package_list)
    show = package.add_parser("show", parents=[common], help="show a package and its tags")
    show.add_argument("repository", metavar="OWNER/NAME")
    show.add_argument("--json", action="store_true", help="print one JSON document")
    show.set_defaults(command=package_show)
    visibility = package.add_parser("visibility", parents=[common], help="who may pull it")
    visibility.add_argument("repository", metavar="OWNER/NAME")
    visibility.add_argument("visibility", choices=VISIBILITIES)
    visibility.set_defaults(command=package_visibility)
    history = package.add_parser("history", parents=[common], help="who moved a tag when")
    history.add_argument("repository", metavar="OWNER/NAME")
    history.add_argument("--tag", help="one tag (default: all)")
    history.add_argument("--json", action="store_true", help="print one JSON document")
    history.set_defaults(command=package_history)
    link = package.add_parser("link", parents=[common], help="link it to a project, or confirm")
    link.add_argument("repository", metavar="OWNER/NAME")
    link.add_argument("project", metavar="OWNER/PROJECT")
    link.set_defaults(command=package_link)
    rename = package.add_parser("rename", parents=[common], help="give it another name")
    rename.add_argument("repository", metavar="OWNER/NAME")
    rename.add_argument("name", metavar="OWNER/NEW")
    rename.set_defaults(command=package_rename)
    transfer = package.add_parser("transfer", parents=[common], help="give it to another owner")
    transfer.add_argument("repository", metavar="OWNER/NAME")
    transfer.add_argument("owner", metavar="NEW-OWNER")
    transfer.set_defaults(command=package_transfer)
    release = package.add_parser("release", parents=[common], help="free a name it had before")
    release.add_argument("repository", metavar="OLD-OWNER/OLD-NAME")
    release.set_defaults(command=package_release)
    unlink = package.add_parser("unlink", parents=[common], help="end its link to a project")
    unlink.add_argument("repository", metavar="OWNER/NAME")
    unlink.set_defaults(command=package_unlink)
    add_deletions(package, common)


async def package_list(services: Services, options: argparse.Namespace) -> None:
    """List all packages."""
    rows: list[Mapping[str, Any]] = []
    after = ""
    while page := await services.packages.list(after):
        after = page[-1]["repository"]
        rows += [_package(row) for row in page]
    print_rows(rows, as_json=options.json)


async def package_show(services: Services, options: argparse.Namespace) -> None:
    """Show a package and its tags."""
    row = await services.packages.get(options.repository)
    tags: list[dict[str, Any]] = []
    while page := await services.packages.tags(row["id"], tags[-1]["tag"] if tags else ""):
        tags += [
            {"tag": tag["name"], "digest": tag["digest"], "updated": rfc3339(tag["updated_at"])}
            for tag in page
        ]
    aliases = await _aliases(services, row["id"])
    if options.json:
        print_document({**_package(row), "tags": tags, "aliases": aliases})
    elif sys.stdout.isatty():
        print_rows([_package(row)], as_json=False)
        print()
        print_rows(tags, as_json=False)
        print_rows([{"alias": name} for name in aliases], as_json=False)
    else:
        print_records([_package(row)], "package")
        print_records(tags, "tag")
        print_records([{"alias": name} for name in aliases], "alias")


async def _aliases(services: Services, package_id: int) -> list[str]:
    found: list[str] = []
    while page := await _renaming(services).aliases(package_id, found[-1] if found else ""):
        found += page
    return found


async def package_history(services: Services, options: argparse.Namespace) -> None:
    """Say who moved a tag when, newest first."""
    row = await services.packages.get(options.repository)
    named = [parse_tag(options.tag)] if options.tag else None
    changes: list[Any] = []
    for tag in named or await services.packages.tags_ever(row["id"]):
        page = await services.packages.history(row["id"], tag)
        while page:
            changes += page
            page = await services.packages.history(row["id"], tag, page[-1]["id"])
    rows = [
        {
            "tag": change["name"],
            "digest": change["digest"] or "deleted",
            "by": change["account"] or "",
            "at": rfc3339(change["changed_at"]),
        }
        for change in changes
    ]
    print_rows(rows, as_json=options.json)


async def package_visibility(services: Services, options: argparse.Namespace) -> None:
    """Open or close a package."""
    visibility = Visibility[options.visibility.upper()]
    await services.packages.set_visibility(OPERATOR, options.repository, visibility)
    print(f"{options.repository} is {options.visibility}", file=sys.stderr)


async def package_link(services: Services, options: argparse.Namespace) -> None:
    """Link a package to a project of the same owner: its roles, and its visibility."""
    if options.project.partition("/")[0] != options.repository.partition("/")[0]:
        raise Invalid("a package links to a project of its own owner only")
    project_id = await services.projects.get(options.project)
    await services.packages.link(OPERATOR, options.repository, project_id)
    seen = _package(await services.packages.get(options.repository))["visibility"]
    print(f"{options.repository} is linked to {options.project}, and {seen}", file=sys.stderr)


async def package_unlink(services: Services, options: argparse.Namespace) -> None:
    """End a package's link: its own visibility and grants count again."""
    await services.packages.unlink(OPERATOR, options.repository)
    seen = _package(await services.packages.get(options.repository))["visibility"]
    print(f"{options.repository} is linked to no project, and {seen}", file=sys.stderr)


async def package_rename(services: Services, options: argparse.Namespace) -> None:
    """Give a package another name; pulls of the old one go on."""
    await _renaming(services).rename(OPERATOR, options.repository, options.name)
    print(f"{options.repository} is {options.name} now; {_KEPT}", file=sys.stderr)


async def package_transfer(services: Services, options: argparse.Namespace) -> None:
    """Give a package to another owner; pulls of the old name go on, by the new owner's leave."""
    now = await _renaming(services).transfer(OPERATOR, options.repository, options.owner)
    print(f"{options.repository} is {now} now; {_KEPT}", file=sys.stderr)


async def package_release(services: Services, options: argparse.Namespace) -> None:
    """Free a name that a package had before: pulls of it end, and others may take it."""
    now = await _renaming(services).release(OPERATOR, options.repository)
    print(f"{options.repository} is free; what had that name is {now}", file=sys.stderr)


_KEPT = "the old name answers pulls until 'packhouse package release'"


def _renaming(services: Services) -> Renaming:
    return Renaming(services.database, services.clock)


def _package(row: Any) -> dict[str, Any]:
    return {
        "repository": row["repository"],
        "format": row["format"],
        "visibility": Visibility(row["visibility"]).name.lower(),
        "project": row["project"] or "",
        "unconfirmed": _word(row["pending_visibility"]),
        "created": rfc3339(row["created_at"]),
    }


def _word(visibility: int | None) -> str:
    """Name the visibility that waits for 'package link'; "" for none."""
    return "" if visibility is None else Visibility(visibility).name.lower()
