"""Commands that say which identity of a provider a user is."""

import argparse
import sys
from typing import Any

from registry.api.identities import IDENTITIES, IDENTITY, Identity, NewIdentity
from registry.api_client import Api
from registry.tables import JSON_HELP, print_rows
from storage.errors import NotFound


def add_identities(user: Any, asking: argparse.ArgumentParser) -> None:
    """Add `user link`, `unlink` and `identities` to the actions of `user`."""
    for word, about, ask in (
        ("link", "say that an identity of a provider is a user", user_link),
        ("unlink", "end that, and the user's sessions in browsers", user_unlink),
    ):
        action = user.add_parser(word, parents=[asking], help=about)
        action.add_argument("name")
        action.add_argument("issuer", help="as in the configuration")
        action.add_argument("subject", help="the provider's `sub` of the user")
        action.set_defaults(ask=ask)
    listing = user.add_parser("identities", parents=[asking], help="list a user's identities")
    listing.add_argument("name")
    listing.add_argument("--json", action="store_true", help=JSON_HELP)
    listing.set_defaults(ask=user_identities)


async def user_link(api: Api, options: argparse.Namespace) -> None:
    """Link a user to an identity of a configured provider."""
    new = NewIdentity(options.issuer, options.subject)
    await api.tell("POST", IDENTITIES, options.name, body=new)
    print(f"{options.name} is {options.subject} of {options.issuer}", file=sys.stderr)


async def user_unlink(api: Api, options: argparse.Namespace) -> None:
    """End a link; what its groups gave goes too."""
    named = options.issuer, options.subject
    for one in await api.all(Identity, IDENTITIES, options.name):
        if (one.issuer, one.subject) == named:
            await api.tell("DELETE", IDENTITY, options.name, str(one.id))
            break
    else:
        raise NotFound(f"{options.name!r} is not linked to {named[1]!r} of {named[0]}")
    print(f"{options.name} is no longer {options.subject} of {options.issuer}", file=sys.stderr)


async def user_identities(api: Api, options: argparse.Namespace) -> None:
    """List the identities of a user."""
    rows = [
        {
            "issuer": one.issuer,
            "subject": one.subject,
            "linked": one.created_at,
            "last_used": one.last_used_at,
        }
        for one in await api.all(Identity, IDENTITIES, options.name)
    ]
    print_rows(rows, as_json=options.json)
