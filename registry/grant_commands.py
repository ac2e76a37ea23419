"""`packhouse grant` and `packhouse grants`: who may do what."""

import argparse
import sys
from typing import Any

import msgspec

from auth.principals import Role
from registry.api.grants import (
    Grant,
    NewGrant,
    OwnerGrantsApi,
    PackageGrantsApi,
    ProjectGrantsApi,
)
from registry.api_client import Api, split_name
from registry.tables import JSON_HELP, print_rows


def add_grants(groups: Any, asking: argparse.ArgumentParser) -> None:
    """Add the commands."""
    grant = groups.add_parser("grant", parents=[asking], help="give an account a role, or none")
    listing = groups.add_parser("grants", parents=[asking], help="list who has which role")
    for action, ask in ((grant, grant_role), (listing, grant_list)):
        action.add_argument("resource", metavar="OWNER[/NAME]")
        action.add_argument(
            "--package", action="store_true", help="OWNER/NAME is a package, not a project"
        )
        action.set_defaults(ask=ask)
    grant.add_argument("account")
    grant.add_argument("role", choices=[role.name.lower() for role in Role])
    listing.add_argument("--json", action="store_true", help=JSON_HELP)


async def grant_role(api: Api, options: argparse.Namespace) -> None:
    """Give an account a role on an owner, a project or a package, or take it away."""
    template, names = _grants_of(options)
    one, has = template + "/{account}", f"the role {options.role}"
    if options.role == "none":
        await api.tell("DELETE", one, *names, options.account)
        has = "no role"
    else:
        await api.tell("PUT", one, *names, options.account, body=NewGrant(options.role))
    print(f"{options.account} has {has} on {options.resource}", file=sys.stderr)


async def grant_list(api: Api, options: argparse.Namespace) -> None:
    """List who has which role on an owner, a project or a package itself."""
    template, names = _grants_of(options)
    grants = await api.all(Grant, template, *names)
    print_rows([msgspec.structs.asdict(grant) for grant in grants], as_json=options.json)


def _grants_of(options: argparse.Namespace) -> tuple[str, list[str]]:
    """Return the path of the grants that are meant, and the names in it."""
    if "/" not in options.resource and not options.package:
        return OwnerGrantsApi.path, [options.resource]
    names = split_name(options.resource, "OWNER/NAME")
    return (PackageGrantsApi if options.package else ProjectGrantsApi).path, [*names]
