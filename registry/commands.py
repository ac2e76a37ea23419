"""The commands that work on the configured database, while the server runs or not."""

import argparse
import getpass
import sys
from collections.abc import Mapping
from typing import Any

from auth.audit import OPERATOR
from auth.principals import Role
from registry.app import Services
from registry.audit_commands import add_audit
from registry.care import add_care
from registry.identity_commands import add_identities
from registry.key_commands import add_keys
from registry.maintenance import add_gc
from registry.owner_commands import add_owners, resource
from registry.package_commands import add_packages
from registry.project_commands import add_projects
from registry.startup import forget_first_login
from registry.tables import print_rows
from registry.team_commands import add_organizations, add_teams
from registry.token_commands import add_tokens
from storage.clock import rfc3339
from storage.errors import Invalid


def add_all(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add every command group to the parser."""
    for add in (_add_users, add_organizations, add_teams, _add_grants, add_tokens, add_keys):
        add(groups, common)
    for add in (add_owners, add_projects, add_packages, add_audit, add_gc, add_care):
        add(groups, common)


def _add_users(groups: Any, common: argparse.ArgumentParser) -> None:
    user = groups.add_parser("user", help="people").add_subparsers(required=True, metavar="ACTION")
    create = user.add_parser("create", parents=[common], help="make a user")
    create.add_argument("name")
    create.add_argument("--admin", action="store_true", help="may do everything on this server")
    create.add_argument("--password-stdin", action="store_true", help="read it from standard input")
    create.set_defaults(command=user_create)
    password = user.add_parser("password", parents=[common], help="set a new password")
    password.add_argument("name")
    password.add_argument(
        "--password-stdin", action="store_true", help="read it from standard input"
    )
    password.set_defaults(command=user_password)
    for word, about in (("disable", "end all access"), ("enable", "allow access again")):
        switch = user.add_parser(word, parents=[common], help=about)
        switch.add_argument("name")
        switch.set_defaults(command=user_switch, enable=word == "enable")
    add_identities(user, common)
    listing = user.add_parser("list", parents=[common], help="list users and organizations")
    listing.add_argument("--json", action="store_true", help="print one JSON document")
    listing.set_defaults(command=user_list)


def _add_grants(groups: Any, common: argparse.ArgumentParser) -> None:
    grant = groups.add_parser("grant", parents=[common], help="give an account a role, or none")
    grant.add_argument("resource", metavar="OWNER[/NAME]")
    grant.add_argument("account")
    grant.add_argument("role", choices=[role.name.lower() for role in Role])
    grant.add_argument(
        "--package", action="store_true", help="OWNER/NAME is a package, not a project"
    )
    grant.set_defaults(command=grant_role)


async def user_create(services: Services, options: argparse.Namespace) -> None:
    """Make a user."""
    password = _read_password(options)
    await services.accounts.create_user(OPERATOR, options.name, password, admin=options.admin)
    print(f"user {options.name} made", file=sys.stderr)


async def user_password(services: Services, options: argparse.Namespace) -> None:
    """Set a new password; sessions made with the old one end."""
    await services.accounts.set_password(OPERATOR, options.name, _read_password(options))
    forget_first_login(services.config, options.name)
    print(f"password of {options.name} set", file=sys.stderr)


async def user_switch(services: Services, options: argparse.Namespace) -> None:
    """Disable or enable a user."""
    await services.accounts.set_enabled(OPERATOR, options.name, enabled=options.enable)
    print(f"user {options.name} {'enabled' if options.enable else 'disabled'}", file=sys.stderr)


async def user_list(services: Services, options: argparse.Namespace) -> None:
    """List users and organizations."""
    rows: list[Mapping[str, Any]] = []
    after = ""
    while page := await services.accounts.list(after):
        after = page[-1]["name"]
        rows += [
            {
                "name": row["name"],
                "kind": row["kind"],
                "admin": bool(row["is_admin"]),
                "disabled": row["disabled_at"] is not None,
                "created": rfc3339(row["created_at"]),
            }
            for row in page
        ]
    print_rows(rows, as_json=options.json)


async def grant_role(services: Services, options: argparse.Namespace) -> None:
    """Give an account a role on an owner, a project or a package."""
    kind, resource_id = await resource(services, options)
    role = Role[options.role.upper()]
    await services.accounts.grant(OPERATOR, kind, resource_id, options.account, role)
    has = f"the role {options.role}" if role else "no role"
    print(f"{options.account} has {has} on {options.resource}", file=sys.stderr)


def _read_password(options: argparse.Namespace) -> str:
    if options.password_stdin:
        try:
            return sys.stdin.readline().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise Invalid("the password is not UTF-8 text") from error
    if not sys.stdin.isatty():
        raise Invalid("give the password on standard input with --password-stdin")
    return getpass.getpass(f"Password for {options.name}: ")
