"""How a command runs: on the API, a server's or this machine's own, or on this machine alone.

What can be asked has one implementation. Without `--url` the same operations work on the configured
database, inside the command and for the operator: nothing listens, and nobody needs a token.
"""

import argparse
import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from starlette.datastructures import Headers

from auth.audit import OPERATOR
from auth.principals import Principal
from registry.api_client import Api
from registry.app import Services, build_api, open_services
from registry.asked_server import Asked
from registry.config import Config
from registry.listening import listening
from registry.startup import FIRST_USER, prepare_database, prepare_directory
from storage.errors import Invalid

Command = Callable[[Services, argparse.Namespace], Awaitable[int | None]]
"""Works with this machine's open services; returns the exit status, None for 0."""
Question = Callable[[Api, argparse.Namespace], Awaitable[int | None]]
"""Works with the API, wherever that is; returns the exit status, None for 0."""


def run_there(question: Question, server: Asked, options: argparse.Namespace) -> int:
    """Run a command on a server."""
    if getattr(options, "by", None) is not None:
        raise Invalid("a server knows who does it by the token: leave out --by")
    return asyncio.run(_there(question, server, options))


def run_question(question: Question, config: Config, options: argparse.Namespace) -> int:
    """Run a command over the API on this machine's own database."""

    by = None if not hasattr(options, "by") else options.by or FIRST_USER

    async def command(services: Services, options: argparse.Namespace) -> int | None:
        async with local_api(services, by) as api:
            return await question(api, options)

    return run_here(command, config, options)


def run_here(command: Command, config: Config, options: argparse.Namespace) -> int:
    """Run a command on this machine's services."""
    prepare_directory(config.directory)
    prepare_database(config)
    return asyncio.run(_here(command, config, options))


@asynccontextmanager
async def local_api(services: Services, by: str | None = None) -> AsyncIterator[Api]:
    """Open the API over this machine's services, for the operator.

    What is done is said to be done `by` this user. Raises NotFound where there is none.
    """
    who = OPERATOR
    if by is not None:
        account = await services.accounts.get(by, "user")
        who = replace(OPERATOR, account_id=account.id, name=account.name)

    from registry.transport import local  # noqa: PLC0415 - a server does without httpx

    async with local(build_api(_with_site(services), _Always(who))) as api:
        yield api


def _with_site(services: Services) -> Services:
    """Let what names this server name one that runs: a command comes by no address."""
    config, running = services.config, listening(services.config.directory)
    if config.public_url or running is None:
        return services
    return replace(services, config=replace(config, public_url=running.site))


@dataclass(frozen=True, slots=True)
class _Always:
    """Takes every request for the same caller's."""

    who: Principal

    async def __call__(self, headers: Headers, *, door: bool = False) -> Principal:  # noqa: ARG002
        return self.who


async def _there(question: Question, server: Asked, options: argparse.Namespace) -> int:
    from registry.transport import remote  # noqa: PLC0415 - a server does without httpx

    _end_in_order()
    async with remote(server.url, server.authorization) as api:
        return await question(api, options) or 0


async def _here(command: Command, config: Config, options: argparse.Namespace) -> int:
    _end_in_order()
    async with open_services(config) as services:
        return await command(services, options) or 0


def _end_in_order() -> None:
    """Let SIGTERM end this like Ctrl-C: leases are given back, the cursor is shown again."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
