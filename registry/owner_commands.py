"""`packhouse owner`: what users and organizations are called, and who sees what they will make."""

import argparse
import sys
from typing import Any

import msgspec

from registry.api.owner_names import (
    FORMER_OWNER,
    NAME,
    NAMES,
    FormerName,
    FreedOwnerName,
    NewName,
    RenamedOwner,
)
from registry.api.owners import OWNER, Owner, OwnerChange
from registry.api_client import Api
from registry.project_commands import VISIBILITIES
from registry.tables import JSON_HELP, print_rows


def add_owners(groups: Any, asking: argparse.ArgumentParser) -> None:
    """Add the commands."""
    owner = groups.add_parser("owner", help="users and organizations").add_subparsers(
        required=True, metavar="ACTION"
    )
    default = owner.add_parser(
        "default-visibility", parents=[asking], help="who may pull new packages"
    )
    default.add_argument("owner", metavar="OWNER")
    default.add_argument("visibility", nargs="?", choices=VISIBILITIES, help="default: show it")
    default.set_defaults(ask=owner_default_visibility)
    rename = owner.add_parser("rename", parents=[asking], help="give it another name")
    rename.add_argument("owner", metavar="OWNER")
    rename.add_argument("name", metavar="NEW")
    rename.set_defaults(ask=owner_rename)
    names = owner.add_parser("names", parents=[asking], help="list the names it had before")
    names.add_argument("owner", metavar="OWNER")
    names.add_argument("--json", action="store_true", help=JSON_HELP)
    names.set_defaults(ask=owner_names)
    release = owner.add_parser("release", parents=[asking], help="free a name it had before")
    release.add_argument("name", metavar="OLD")
    release.set_defaults(ask=owner_release)


async def owner_default_visibility(api: Api, options: argparse.Namespace) -> None:
    """Set or show who may pull the packages that will be made below an owner."""
    if options.visibility is None:
        print((await api.get(Owner, OWNER, options.owner)).default_visibility)
        return
    change = OwnerChange(default_visibility=options.visibility)
    await api.tell("PATCH", OWNER, options.owner, body=change)
    print(f"new packages of {options.owner} are {options.visibility}", file=sys.stderr)


async def owner_rename(api: Api, options: argparse.Namespace) -> None:
    """Give a user or an organization another name; pulls of the old names go on."""
    done = await api.ask(RenamedOwner, "PUT", NAME, options.owner, body=NewName(options.name))
    packages = "1 package" if done.packages == 1 else f"{done.packages} packages"
    print(
        f"{options.owner} is {done.name} now, with {packages}; the old names answer "
        f"pulls until 'packhouse owner release {options.owner}'",
        file=sys.stderr,
    )


async def owner_names(api: Api, options: argparse.Namespace) -> None:
    """List the names that an owner had before."""
    names = await api.all(FormerName, NAMES, options.owner)
    print_rows([msgspec.structs.asdict(name) for name in names], as_json=options.json)


async def owner_release(api: Api, options: argparse.Namespace) -> None:
    """Free a name that an owner had before, and all names below it."""
    freed = await api.ask(FreedOwnerName, "DELETE", FORMER_OWNER, options.name)
    print(f"{options.name} is free; who had that name is {freed.owner}", file=sys.stderr)
