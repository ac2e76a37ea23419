"""`packhouse org` and `packhouse team`: who belongs to what."""

import argparse
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from auth.audit import OPERATOR
from auth.organizations import GroupRole
from auth.principals import Role
from registry.app import Services
from registry.tables import print_document, print_records, print_rows
from storage.clock import rfc3339
from storage.database import Row

_JSON = "print one JSON document"


def add_organizations(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands."""
    org = groups.add_parser("org", help="organizations").add_subparsers(
        required=True, metavar="ACTION"
    )
    create = org.add_parser("create", parents=[common], help="make an organization")
    create.add_argument("name")
    create.add_argument("--owner", metavar="USER", help="a user who administers it")
    create.set_defaults(command=org_create)
    members = org.add_parser("members", parents=[common], help="list who belongs to it")
    members.add_argument("name")
    members.add_argument("--json", action="store_true", help=_JSON)
    members.set_defaults(command=org_members)
    add = org.add_parser("add", parents=[common], help="add a member, or change what he is")
    add.add_argument("name")
    add.add_argument("user")
    add.add_argument("--owner", action="store_true", help="may do everything in it")
    add.set_defaults(command=org_add)
    remove = org.add_parser(
        "remove", parents=[common], help="end a membership, and all roles in the organization"
    )
    remove.add_argument("name")
    remove.add_argument("user")
    remove.set_defaults(command=org_remove)


def add_teams(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands."""
    team = groups.add_parser("team", help="teams of organizations").add_subparsers(
        required=True, metavar="ACTION"
    )
    for word, about, command in (
        ("create", "make a team", team_create),
        ("delete", "end a team, and the roles it gave", team_delete),
        ("show", "show a team and its members", team_show),
        ("add", "put a member of the organization into it", team_add),
        ("remove", "take somebody out of it", team_remove),
    ):
        action = team.add_parser(word, parents=[common], help=about)
        action.add_argument("team", metavar="ORGANIZATION/TEAM")
        if word in ("add", "remove"):
            action.add_argument("user")
        if word == "add":
            action.add_argument("--maintainer", action="store_true", help="may add and remove")
        if word == "show":
            action.add_argument("--json", action="store_true", help=_JSON)
        action.set_defaults(command=command)
    listing = team.add_parser("list", parents=[common], help="list an organization's teams")
    listing.add_argument("organization")
    listing.add_argument("--json", action="store_true", help=_JSON)
    listing.set_defaults(command=team_list)


async def org_create(services: Services, options: argparse.Namespace) -> None:
    """Make an organization."""
    await services.accounts.create_organization(OPERATOR, options.name, options.owner)
    print(f"organization {options.name} made", file=sys.stderr)


async def org_members(services: Services, options: argparse.Namespace) -> None:
    """List the members of an organization."""
    rows = await _all(lambda after: services.organizations.members(options.name, after))
    members = [
        {"user": row["name"], "role": "owner" if row["role"] == Role.ADMIN else "member"}
        for row in rows
    ]
    print_rows(members, as_json=options.json)


async def org_add(services: Services, options: argparse.Namespace) -> None:
    """Make a user a member or an owner of an organization."""
    await services.organizations.add(OPERATOR, options.name, options.user, owner=options.owner)
    what = "an owner" if options.owner else "a member"
    print(f"{options.user} is {what} of {options.name}", file=sys.stderr)


async def org_remove(services: Services, options: argparse.Namespace) -> None:
    """End a membership."""
    await services.organizations.remove(OPERATOR, options.name, options.user)
    print(f"{options.user} has left {options.name}", file=sys.stderr)


async def team_create(services: Services, options: argparse.Namespace) -> None:
    """Make a team."""
    await services.teams.create(OPERATOR, options.team)
    print(f"team {options.team} made", file=sys.stderr)


async def team_delete(services: Services, options: argparse.Namespace) -> None:
    """End a team."""
    await services.teams.delete(OPERATOR, options.team)
    print(f"team {options.team} deleted", file=sys.stderr)


async def team_list(services: Services, options: argparse.Namespace) -> None:
    """List the teams of an organization."""
    rows = await _all(lambda after: services.teams.list(options.organization, after))
    teams = [
        {"team": row["name"], "members": row["members"], "created": rfc3339(row["created_at"])}
        for row in rows
    ]
    print_rows(teams, as_json=options.json)


async def team_show(services: Services, options: argparse.Namespace) -> None:
    """Show a team's members and what it may do."""
    members: list[Mapping[str, Any]] = [
        {"user": row["name"], "role": GroupRole(row["role"]).name.lower()}
        for row in await _all(lambda after: services.teams.members(options.team, after))
    ]
    grants: list[Mapping[str, Any]] = [
        {"on": row["resource"], "role": Role(row["role"]).name.lower()}
        for row in await services.teams.grants(OPERATOR, options.team)
    ]
    if options.json:
        print_document({"team": options.team, "members": members, "grants": grants})
    elif sys.stdout.isatty():
        print_rows(members, as_json=False)
        print()
        print_rows(grants, as_json=False)
    else:
        print_records(members, "member")
        print_records(grants, "grant")


async def team_add(services: Services, options: argparse.Namespace) -> None:
    """Put a member of the organization into a team."""
    role = GroupRole.MAINTAINER if options.maintainer else GroupRole.MEMBER
    await services.teams.add(OPERATOR, options.team, options.user, role)
    print(f"{options.user} is a {role.name.lower()} of {options.team}", file=sys.stderr)


async def team_remove(services: Services, options: argparse.Namespace) -> None:
    """Take somebody out of a team."""
    await services.teams.remove(OPERATOR, options.team, options.user)
    print(f"{options.user} has left {options.team}", file=sys.stderr)


async def _all(read: Callable[[str], Awaitable[Sequence[Row]]]) -> list[Row]:
    """Read every page of a list that goes on after a name."""
    rows: list[Row] = []
    while page := await read(rows[-1]["name"] if rows else ""):
        rows += page
    return rows
