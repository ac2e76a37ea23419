"""`packhouse org` and `packhouse team`: who belongs to what."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from registry.api.organizations import (
    MEMBER,
    MEMBERS,
    ORGANIZATIONS,
    Member,
    NewMember,
    NewOrganization,
    Organization,
)
from registry.api.teams import GRANTS as TEAM_GRANTS
from registry.api.teams import MEMBER as TEAM_MEMBER
from registry.api.teams import MEMBERS as TEAM_MEMBERS
from registry.api.teams import TEAM, TEAMS, NewTeam, NewTeamMember, Team, TeamGrant, TeamMember
from registry.api_client import Api, split_name
from registry.tables import JSON_HELP, print_document, print_records, print_rows

_FORM = "ORGANIZATION/TEAM"


def add_organizations(groups: Any, asking: argparse.ArgumentParser) -> None:
    """Add the commands."""
    org = groups.add_parser("org", help="organizations").add_subparsers(
        required=True, metavar="ACTION"
    )
    create = org.add_parser("create", parents=[asking], help="make an organization")
    create.add_argument("name")
    create.add_argument("--owner", metavar="USER", help="a user who administers it")
    create.set_defaults(ask=org_create)
    listing = org.add_parser("list", parents=[asking], help="list organizations")
    members = org.add_parser("members", parents=[asking], help="list who belongs to it")
    members.add_argument("name")
    for action, ask in ((listing, org_list), (members, org_members)):
        action.add_argument("--json", action="store_true", help=JSON_HELP)
        action.set_defaults(ask=ask)
    add = org.add_parser("add", parents=[asking], help="add a member, or change what he is")
    remove = org.add_parser(
        "remove", parents=[asking], help="end a membership, and all roles in the organization"
    )
    for action, ask in ((add, org_add), (remove, org_remove)):
        action.add_argument("name")
        action.add_argument("user")
        action.set_defaults(ask=ask)
    add.add_argument("--owner", action="store_true", help="may do everything in it")


def add_teams(groups: Any, asking: argparse.ArgumentParser) -> None:
    """Add the commands."""
    team = groups.add_parser("team", help="teams of organizations").add_subparsers(
        required=True, metavar="ACTION"
    )
    for word, about, ask in (
        ("create", "make a team", team_create),
        ("delete", "end a team, and the roles it gave", team_delete),
        ("show", "show a team and its members", team_show),
        ("add", "put a member of the organization into it", team_add),
        ("remove", "take somebody out of it", team_remove),
    ):
        action = team.add_parser(word, parents=[asking], help=about)
        action.add_argument("team", metavar=_FORM)
        if word in ("add", "remove"):
            action.add_argument("user")
        if word == "add":
            action.add_argument("--maintainer", action="store_true", help="may add and remove")
        if word == "show":
            action.add_argument("--json", action="store_true", help=JSON_HELP)
        action.set_defaults(ask=ask)
    listing = team.add_parser("list", parents=[asking], help="list an organization's teams")
    listing.add_argument("organization")
    listing.add_argument("--json", action="store_true", help=JSON_HELP)
    listing.set_defaults(ask=team_list)


async def org_create(api: Api, options: argparse.Namespace) -> None:
    """Make an organization."""
    await api.tell("POST", ORGANIZATIONS, body=NewOrganization(options.name, options.owner))
    print(f"organization {options.name} made", file=sys.stderr)


async def org_list(api: Api, options: argparse.Namespace) -> None:
    """List organizations."""
    rows = [
        {"name": one.name, "packages": one.default_visibility, "created": one.created_at}
        for one in await api.all(Organization, ORGANIZATIONS)
    ]
    print_rows(rows, as_json=options.json)


async def org_members(api: Api, options: argparse.Namespace) -> None:
    """List the members of an organization."""
    members = await api.all(Member, MEMBERS, options.name)
    print_rows([msgspec.structs.asdict(member) for member in members], as_json=options.json)


async def org_add(api: Api, options: argparse.Namespace) -> None:
    """Make a user a member or an owner of an organization."""
    new = NewMember("owner" if options.owner else "member")
    await api.tell("PUT", MEMBER, options.name, options.user, body=new)
    what = "an owner" if options.owner else "a member"
    print(f"{options.user} is {what} of {options.name}", file=sys.stderr)


async def org_remove(api: Api, options: argparse.Namespace) -> None:
    """End a membership."""
    await api.tell("DELETE", MEMBER, options.name, options.user)
    print(f"{options.user} has left {options.name}", file=sys.stderr)


async def team_create(api: Api, options: argparse.Namespace) -> None:
    """Make a team."""
    organization, name = split_name(options.team, _FORM)
    await api.tell("POST", TEAMS, organization, body=NewTeam(name))
    print(f"team {options.team} made", file=sys.stderr)


async def team_delete(api: Api, options: argparse.Namespace) -> None:
    """End a team."""
    await api.tell("DELETE", TEAM, *split_name(options.team, _FORM))
    print(f"team {options.team} deleted", file=sys.stderr)


async def team_list(api: Api, options: argparse.Namespace) -> None:
    """List the teams of an organization."""
    rows = [
        {"team": team.account, "members": team.members, "created": team.created_at}
        for team in await api.all(Team, TEAMS, options.organization)
    ]
    print_rows(rows, as_json=options.json)


async def team_show(api: Api, options: argparse.Namespace) -> None:
    """Show a team's members and what it may do."""
    names = split_name(options.team, _FORM)
    members: list[Mapping[str, Any]] = [
        msgspec.structs.asdict(member) for member in await api.all(TeamMember, TEAM_MEMBERS, *names)
    ]
    grants: list[Mapping[str, Any]] = [
        {"on": grant.resource, "role": grant.role}
        for grant in await api.all(TeamGrant, TEAM_GRANTS, *names)
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


async def team_add(api: Api, options: argparse.Namespace) -> None:
    """Put a member of the organization into a team."""
    new = NewTeamMember("maintainer" if options.maintainer else "member")
    names = split_name(options.team, _FORM)
    await api.tell("PUT", TEAM_MEMBER, *names, options.user, body=new)
    print(f"{options.user} is a {new.role} of {options.team}", file=sys.stderr)


async def team_remove(api: Api, options: argparse.Namespace) -> None:
    """Take somebody out of a team."""
    await api.tell("DELETE", TEAM_MEMBER, *split_name(options.team, _FORM), options.user)
    print(f"{options.user} has left {options.team}", file=sys.stderr)
