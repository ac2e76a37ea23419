"""`packhouse login`, `logout` and `whoami`: a token of one's own for the command line."""

import argparse
import asyncio
import base64
import socket
import sys
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from registry.api.caller import CALLER, SCOPES, Caller
from registry.api.tokens import OF_USER, TOKEN, MadeToken, NewToken
from registry.api_client import Api, Refused, SignedOut
from registry.asked_server import add_ca, read_token, warn_of_listeners
from registry.config import surroundings
from registry.logins import Login, Logins
from registry.prompts import read_line, read_password
from registry.server_url import ServerUrl, parse_server_url
from registry.tables import print_rows
from registry.token_commands import parse_lifetime
from storage.errors import Invalid, PackhouseError


def add_logins(groups: Any, asking: argparse.ArgumentParser) -> None:
    """Add the commands."""
    login = groups.add_parser("login", help="keep a token for a server")
    login.add_argument("url", metavar="URL")
    login.add_argument("--user", metavar="NAME", help="who signs in (default: asks)")
    given = login.add_mutually_exclusive_group()
    given.add_argument("--password-stdin", action="store_true", help="read it from standard input")
    given.add_argument("--token-stdin", action="store_true", help="keep this token, make no other")
    login.add_argument(
        "--expires", metavar="90d", default="90d", help="how long it is good, or never (90d)"
    )
    add_ca(login)
    login.set_defaults(run=log_in)
    logout = groups.add_parser("logout", help="forget the token of a server, and end it there")
    logout.add_argument("url", metavar="URL", nargs="?", help="(default: the only one)")
    logout.set_defaults(run=log_out)
    whoami = groups.add_parser("whoami", parents=[asking], help="say who asks, with which token")
    whoami.add_argument("--json", action="store_true", help="print one JSON document")
    whoami.set_defaults(ask=who_am_i)


async def who_am_i(api: Api, options: argparse.Namespace) -> None:
    """Say who the server takes the caller for."""
    caller = await api.get(Caller, CALLER)
    token = caller.token
    row = {
        "name": caller.name,
        "kind": caller.kind,
        "admin": caller.admin,
        "token": token.id if token else None,
        "scopes": ",".join(token.scopes) if token else "",
        "limited": token.limited if token else False,
        "expires": token.expires or "" if token else "",
    }
    print_rows([row], as_json=options.json)


def log_in(options: argparse.Namespace) -> int:
    """Make a token with a password, or take the one that is given, and keep it."""
    server = parse_server_url(options.url, options.ca)
    logins = Logins(surroundings().directory)
    logins.prepare()
    warn_of_listeners(server)
    if options.token_stdin:
        login = asyncio.run(_given(server, read_token(read_line("token"), "standard input")))
        before = logins.keep(server.url, login)
    else:
        before, login = _sign_in(server, logins, options)
    print(f"signed in to {server.url} as {login.user}", file=sys.stderr)
    if before is not None and before.made and before.token != login.token:
        with suppress(PackhouseError):  # it may have ended; it is not ours to insist
            asyncio.run(_end(server, before))
    return 0


def log_out(options: argparse.Namespace) -> int:
    """Forget a login; the token that it made ends."""
    around = surroundings()
    logins = Logins(around.directory)
    url = parse_server_url(options.url or around.url or _only(logins)).url
    login = logins.find(url)
    if login is None:
        raise Refused(f"no login is kept for {url}")
    failure: PackhouseError | None = None
    try:
        if login.made:
            asyncio.run(_end(parse_server_url(url, login.ca), login))
    except SignedOut:
        pass  # it has ended already
    except PackhouseError as error:
        failure = error
    logins.forget(url, login)
    if failure is not None:
        raise Refused(
            f"the login of {login.user} is forgotten here, but its token {login.id} goes on: "
            f"{failure.message}"
        )
    goes_on = "" if login.made else f"; token {login.id} was not made by it, and goes on"
    print(f"{login.user} is signed out of {url}{goes_on}", file=sys.stderr)
    return 0


def _sign_in(
    server: ServerUrl, logins: Logins, options: argparse.Namespace
) -> tuple[Login | None, Login]:
    seconds = parse_lifetime(options.expires)
    user = _user(options)
    password = read_password(user, stdin=options.password_stdin)
    login = asyncio.run(_make(server, user, password, seconds))
    try:
        return logins.keep(server.url, login), login
    except BaseException:  # nobody has it then: it must not live on
        with suppress(PackhouseError):
            asyncio.run(_end(server, login))
        raise


def _user(options: argparse.Namespace) -> str:
    name: str | None = options.user
    if name is None and sys.stdin.isatty() and not options.password_stdin:
        print("User: ", end="", file=sys.stderr, flush=True)
        name = read_line("user")
    if not name or ":" in name:
        raise Invalid("say who signs in, with --user NAME")
    return name


def _remote(server: ServerUrl, authorization: str) -> AbstractAsyncContextManager[Api]:
    from registry.transport import remote  # noqa: PLC0415 - a server does without httpx

    return remote(server, authorization)


async def _make(server: ServerUrl, user: str, password: str, seconds: int | None) -> Login:
    try:
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    except UnicodeEncodeError as error:
        raise Invalid("the password is not UTF-8 text") from error
    new = NewToken(f"packhouse login on {socket.gethostname()}"[:100], SCOPES, seconds)
    async with _remote(server, f"Basic {credentials}") as api:
        made = await api.ask(MadeToken, "POST", OF_USER, user, body=new)
    return Login(user.lower(), made.id, read_token(made.token, server.url), server.ca)


async def _given(server: ServerUrl, token: str) -> Login:
    async with _remote(server, f"Bearer {token}") as api:
        caller = await api.get(Caller, CALLER)
    number = caller.token.id if caller.token else 0
    return Login(caller.name, number, token, server.ca, made=False)


async def _end(server: ServerUrl, login: Login) -> None:
    async with _remote(server, f"Bearer {login.token}") as api:
        await api.tell("DELETE", TOKEN, str(login.id))


def _only(logins: Logins) -> str:
    kept = sorted(logins.all())
    if len(kept) != 1:
        named = f": {', '.join(kept)}" if kept else ""
        raise Invalid(f"say which server, for {len(kept)} logins are kept{named}")
    return kept[0]
