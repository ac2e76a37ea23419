"""The command line can do all that /api/v1 can: which command asks for which operation."""

import io
from collections.abc import Sequence

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from auth.providers import Provider
from registry.api_client import Api
from registry.app import build_api
from registry.cli import build_parser
from registry.requests import exchange_of
from registry.rest.operation import Operation, Page
from registry.transport import local
from tests.registry.client import basic
from tests.registry.world import World

ISSUER = "https://login.example.com"
SOURCE = "https://git.example.com/acme/widget"

COMMANDS: Sequence[tuple[str, str]] = [
    ("GET user", "whoami"),
    ("POST users", "user create ann --password-stdin"),
    ("GET users", "user list"),
    ("GET users/{user}", "user show ann"),
    ("PATCH users/{user}", "user promote ann"),
    ("PUT users/{user}/password", "user password ann --password-stdin"),
    ("POST users/{user}/identities", f"user link ann {ISSUER} u-1"),
    ("GET users/{user}/identities", "user identities ann"),
    ("DELETE users/{user}/identities/{id}", f"user unlink ann {ISSUER} u-1"),
    ("POST users/{user}/tokens", "token create --user ann"),
    ("GET users/{user}/tokens", "token list --user ann"),
    ("DELETE tokens/{id}", "token revoke {token}"),
    ("POST organizations", "org create globex --owner ann"),
    ("GET organizations", "org list"),
    ("PUT organizations/{owner}/members/{member}", "org add globex reader"),
    ("GET organizations/{owner}/members", "org members globex"),
    ("POST organizations/{owner}/teams", "team create globex/core"),
    ("GET organizations/{owner}/teams", "team list globex"),
    ("PUT organizations/{owner}/teams/{team}/members/{member}", "team add globex/core reader"),
    ("GET organizations/{owner}/teams/{team}/members", "team show globex/core"),
    ("GET organizations/{owner}/teams/{team}/grants", "team show globex/core"),
    (
        "DELETE organizations/{owner}/teams/{team}/members/{member}",
        "team remove globex/core reader",
    ),
    ("DELETE organizations/{owner}/teams/{team}", "team delete globex/core"),
    ("DELETE organizations/{owner}/members/{member}", "org remove globex reader"),
    ("GET owners/{owner}", "owner default-visibility globex"),
    ("PATCH owners/{owner}", "owner default-visibility globex internal"),
    ("PUT owners/{owner}/grants/{account}", "grant globex reader read"),
    ("GET owners/{owner}/grants", "grants globex"),
    ("DELETE owners/{owner}/grants/{account}", "grant globex reader none"),
    ("PUT owners/{owner}/name", "owner rename globex initech"),
    ("GET owners/{owner}/names", "owner names initech"),
    ("DELETE aliases/{owner}", "owner release globex"),
    ("POST owners/{owner}/projects", "project create acme/widget"),
    ("GET owners/{owner}/projects", "project list acme"),
    ("PATCH projects/{owner}/{project}", "project visibility acme/widget internal"),
    (
        "PUT projects/{owner}/{project}/sources/{source}",
        f"project source acme/widget --add {SOURCE}",
    ),
    ("GET projects/{owner}/{project}/sources", "project source acme/widget"),
    (
        "DELETE projects/{owner}/{project}/sources/{source}",
        f"project source acme/widget --remove {SOURCE}",
    ),
    ("PUT projects/{owner}/{project}/grants/{account}", "grant acme/widget stranger read"),
    ("GET projects/{owner}/{project}/grants", "grants acme/widget"),
    ("DELETE projects/{owner}/{project}/grants/{account}", "grant acme/widget stranger none"),
    ("POST projects/{owner}/{project}/tokens", "token create --robot acme/widget"),
    ("GET projects/{owner}/{project}/tokens", "token list --project acme/widget"),
    ("GET packages", "package list"),
    ("GET packages/{owner}/{package}", "package show acme/app"),
    ("GET packages/{owner}/{package}/install", "package install acme/app"),
    ("GET packages/{owner}/{package}/aliases", "package show acme/app"),
    ("GET packages/{owner}/{package}/tags", "package show acme/app"),
    ("PATCH packages/{owner}/{package}", "package link acme/app acme/widget"),
    ("PUT packages/{owner}/{package}/grants/{account}", "grant --package acme/app stranger read"),
    ("GET packages/{owner}/{package}/grants", "grants --package acme/app"),
    (
        "DELETE packages/{owner}/{package}/grants/{account}",
        "grant --package acme/app stranger none",
    ),
    ("GET packages/{owner}/{package}/versions", "package versions acme/app"),
    ("PUT packages/{owner}/{package}/tags/{tag}", "package tag acme/app v2 {digest}"),
    ("DELETE packages/{owner}/{package}/tags/{tag}", "package delete acme/app --tag v2"),
    ("GET packages/{owner}/{package}/history", "package history acme/app"),
    ("GET packages/{owner}/{package}/tags/{tag}/history", "package history acme/app --tag v1"),
    (
        "GET packages/{owner}/{package}/versions/{digest}/deletion",
        "package delete acme/app --digest {digest} --dry-run",
    ),
    (
        "DELETE packages/{owner}/{package}/versions/{digest}",
        "package delete acme/app --digest {digest}",
    ),
    (
        "POST packages/{owner}/{package}/versions/{digest}/restore",
        "package restore acme/app --digest {digest}",
    ),
    (
        "DELETE packages/{owner}/{package}/versions/{digest}",
        "package delete acme/app --digest {digest}",
    ),
    ("GET packages/{owner}/{package}/deletions", "package deletions acme/app"),
    (
        "POST packages/{owner}/{package}/deletions/{id}/restore",
        "package restore acme/app --deletion {deletion}",
    ),
    ("DELETE packages/{owner}/{package}", "package delete acme/app"),
    ("POST packages/{owner}/{package}/restore", "package restore acme/app"),
    ("PATCH packages/{owner}/{package}", "package rename acme/app acme/server"),
    ("DELETE aliases/{owner}/{package}", "package release acme/app"),
    ("GET search", "search server"),
    ("GET explanations/{subject}", "why {digest}"),
    ("GET garbage", "gc --dry-run"),
    ("DELETE packages/{owner}/{package}", "package delete acme/server"),
    ("DELETE packages/{owner}/{package}/deletions/{id}", "package purge acme/server"),
    ("GET owners/{owner}/audit", "audit --owner acme"),
    ("GET audit", "audit"),
]
"""Operations below /api/v1, each with a command that asks for it, in an order that works."""

LISTED = {
    "GET organizations/{owner}": "GET organizations",
    "GET organizations/{owner}/teams/{team}": "GET organizations/{owner}/teams",
    "GET projects/{owner}/{project}": "GET owners/{owner}/projects",
    "GET packages/{owner}/{package}/tags/{tag}": "GET packages/{owner}/{package}/tags",
    "GET packages/{owner}/{package}/versions/{digest}": "GET packages/{owner}/{package}/versions",
}
"""Operations that show one of what a list shows: the command is the list's."""

FOR_PROGRAMS = {"GET openapi.json"}


def operations(world: World) -> dict[str, Operation]:
    api = build_api(world.services, world.services.authenticator.authenticate)
    return {named(one.method, one.path): one for one in api.operations}


def named(method: str, path: str) -> str:
    return f"{method} {path.removeprefix('/api/v1/')}"


async def test_every_operation_has_a_command(world: World) -> None:
    found = operations(world)
    assert {name for name, _ in COMMANDS} | set(LISTED) | FOR_PROGRAMS == set(found)
    for one, listed in LISTED.items():
        assert found[listed].answer == Page[found[one].answer], f"{listed} shows less than {one}"


class Asked:
    """The API, for a user with a token; it writes down which operations were done."""

    def __init__(self, api: ASGIApp, authorization: str) -> None:
        self._api = api
        self._header = (b"authorization", authorization.encode())
        self.done: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["headers"] = [*scope["headers"], self._header]
        await self._api(scope, receive, send)
        self.done.add(named(scope["method"], exchange_of(scope).route))


async def test_every_command_asks_for_its_operation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.reconfigure(openid=(Provider("corp", ISSUER, "packhouse"),))
    digest = (await world.client().push_image("acme/app", "v1")).digest
    authorization = basic("admin", world.tokens["admin"])
    surface = build_api(world.services, world.services.authenticator.authenticate)
    for name, words in COMMANDS:
        asked = Asked(surface, authorization)
        monkeypatch.setattr("sys.stdin", io.StringIO("a long password\n"))
        async with local(asked) as api:
            await run(api, words.format(digest=digest, **await last(world)))
        assert name in asked.done, words


async def run(api: Api, words: str) -> None:
    options = build_parser().parse_args(words.split())
    assert await options.ask(api, options) in (None, 0), words


async def last(world: World) -> dict[str, int]:
    """The newest token, and the newest deletion."""
    (row,) = await world.rows(
        "select (select max(id) from tokens) as token, (select max(id) from deletions) as deletion"
    )
    return {"token": row["token"], "deletion": row["deletion"] or 0}
