"""`packhouse user`: people, and their passwords."""

import argparse
import sys
from typing import Any

from auth.passwords import check_password
from registry.api.caller import CALLER, Caller
from registry.api.organizations import ORGANIZATIONS, Organization
from registry.api.users import PASSWORD, USER, USERS, NewPassword, NewUser, User, UserChange
from registry.api_client import Api
from registry.prompts import read_password
from registry.tables import JSON_HELP, print_rows

_STDIN = "read it from standard input"


def add_users(groups: Any, asking: argparse.ArgumentParser) -> Any:
    """Add the commands; return the group, for those that are about identities."""
    user = groups.add_parser("user", help="people").add_subparsers(required=True, metavar="ACTION")
    create = user.add_parser("create", parents=[asking], help="make a user")
    create.add_argument("name")
    create.add_argument("--admin", action="store_true", help="may do everything on this server")
    create.add_argument("--password-stdin", action="store_true", help=_STDIN)
    create.set_defaults(ask=user_create)
    password = user.add_parser("password", parents=[asking], help="set a new password")
    password.add_argument("name")
    password.add_argument(
        "--password-stdin",
        action="store_true",
        help=f"{_STDIN}; your own on a server after a line with the old one",
    )
    password.set_defaults(ask=user_password)
    for word, about, change in (
        ("disable", "end all access", UserChange(disabled=True)),
        ("enable", "allow access again", UserChange(disabled=False)),
        ("promote", "make it an administrator of the site", UserChange(admin=True)),
        ("demote", "make it an ordinary user", UserChange(admin=False)),
    ):
        switch = user.add_parser(word, parents=[asking], help=about)
        switch.add_argument("name")
        switch.set_defaults(ask=user_change, change=change)
    show = user.add_parser("show", parents=[asking], help="show a user")
    show.add_argument("name")
    listing = user.add_parser("list", parents=[asking], help="list users and organizations")
    for action, ask in ((show, user_show), (listing, user_list)):
        action.add_argument("--json", action="store_true", help=JSON_HELP)
        action.set_defaults(ask=ask)
    return user


async def user_create(api: Api, options: argparse.Namespace) -> None:
    """Make a user."""
    password = read_password(options.name, stdin=options.password_stdin)
    check_password(password)
    await api.tell("POST", USERS, body=NewUser(options.name, password, options.admin))
    print(f"user {options.name} made", file=sys.stderr)


async def user_password(api: Api, options: argparse.Namespace) -> None:
    """Set a new password; sessions made with the old one end."""
    caller, stdin = await api.get(Caller, CALLER), options.password_stdin
    old = None
    if caller.kind == "user" and caller.name == options.name.lower():
        old = read_password(options.name, stdin=stdin, which="Old password")
    password = read_password(options.name, stdin=stdin)
    check_password(password)
    await api.tell("PUT", PASSWORD, options.name, body=NewPassword(password, old))
    print(f"password of {options.name} set", file=sys.stderr)


async def user_change(api: Api, options: argparse.Namespace) -> None:
    """Disable, enable, promote or demote a user."""
    await api.tell("PATCH", USER, options.name, body=options.change)
    said = {
        UserChange(disabled=True): "disabled",
        UserChange(disabled=False): "enabled",
        UserChange(admin=True): "is an administrator of the site",
        UserChange(admin=False): "is no administrator of the site",
    }
    print(f"user {options.name} {said[options.change]}", file=sys.stderr)


async def user_show(api: Api, options: argparse.Namespace) -> None:
    """Show a user."""
    print_rows([_user(await api.get(User, USER, options.name))], as_json=options.json)


async def user_list(api: Api, options: argparse.Namespace) -> None:
    """List users and organizations."""
    users = [_user(user) for user in await api.all(User, USERS)]
    organizations = [_organization(one) for one in await api.all(Organization, ORGANIZATIONS)]
    rows = sorted([*users, *organizations], key=lambda row: str(row["name"]))
    print_rows(rows, as_json=options.json)


def _user(user: User) -> dict[str, Any]:
    return {
        "name": user.name,
        "kind": "user",
        "admin": user.admin,
        "disabled": user.disabled,
        "created": user.created_at,
    }


def _organization(organization: Organization) -> dict[str, Any]:
    return {
        "name": organization.name,
        "kind": "organization",
        "admin": False,
        "disabled": False,
        "created": organization.created_at,
    }
