"""Commands that say which identity of a provider a user is."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from auth.audit import OPERATOR
from auth.identities import Identities
from registry.app import Services
from registry.tables import print_rows
from storage.clock import rfc3339
from storage.errors import Invalid


def add_identities(user: Any, common: argparse.ArgumentParser) -> None:
    """Add `user link`, `unlink` and `identities` to the actions of `user`."""
    for word, about, command in (
        ("link", "say that an identity of a provider is a user", user_link),
        ("unlink", "end that, and the user's sessions in browsers", user_unlink),
    ):
        action = user.add_parser(word, parents=[common], help=about)
        action.add_argument("name")
        action.add_argument("issuer", help="as in the configuration")
        action.add_argument("subject", help="the provider's `sub` of the user")
        action.set_defaults(command=command)
    listing = user.add_parser("identities", parents=[common], help="list a user's identities")
    listing.add_argument("name")
    listing.add_argument("--json", action="store_true", help="print one JSON document")
    listing.set_defaults(command=user_identities)


async def user_link(services: Services, options: argparse.Namespace) -> None:
    """Link a user to an identity of a configured provider."""
    issuers = [provider.issuer for provider in services.config.openid]
    if options.issuer not in issuers:
        there = "it has " + ", ".join(issuers) if issuers else "it has none"
        raise Invalid(
            f"the configuration has no provider with the issuer {options.issuer}: {there}"
        )
    await _identities(services).link(OPERATOR, options.name, options.issuer, options.subject)
    print(f"{options.name} is {options.subject} of {options.issuer}", file=sys.stderr)


async def user_unlink(services: Services, options: argparse.Namespace) -> None:
    """End a link; what its groups gave goes too."""
    await _identities(services).unlink(OPERATOR, options.name, options.issuer, options.subject)
    print(f"{options.name} is no longer {options.subject} of {options.issuer}", file=sys.stderr)


async def user_identities(services: Services, options: argparse.Namespace) -> None:
    """List the identities of a user."""
    rows: list[Mapping[str, Any]] = [
        {
            "issuer": row["issuer"],
            "subject": row["subject"],
            "linked": rfc3339(row["created_at"]),
            "last_used": None if row["last_used_at"] is None else rfc3339(row["last_used_at"]),
        }
        for row in await _identities(services).list(options.name)
    ]
    print_rows(rows, as_json=options.json)


def _identities(services: Services) -> Identities:
    return Identities(services.database, services.accounts, services.clock)
