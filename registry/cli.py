"""The command line: `packhouse COMMAND`. Answers go to standard output, all else to standard error.

Exit status: 0 done; 1 refused, or a problem was found; 2 wrong usage or configuration; 130 and 143
ended by Ctrl-C and SIGTERM.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from registry import commands
from registry.app import Services, build_app, open_services
from registry.completion import add_completion
from registry.config import Config, ConfigError, from_environment
from registry.debts import Counts
from registry.examples import add_examples
from registry.instruments import require_tracing
from registry.logs import configure_logging
from registry.self_signed import with_certificate
from registry.sign_in_providers import check_providers
from registry.startup import (
    lock_directory,
    prepare_database,
    prepare_directory,
    print_welcome,
    warn_of_sqlite,
)
from registry.supervisor import Supervisor
from registry.tls import check_certificate
from storage.errors import Invalid, PackhouseError

Command = Callable[[Services, argparse.Namespace], Awaitable[int | None]]
"""Works with the open services; returns the exit status, None for 0."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = build_parser().parse_args(arguments)
    try:
        return _answer(options)
    except BrokenPipeError:
        # The reader of our output has seen enough (`| head`); Python would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except asyncio.CancelledError:
        return 143


def _answer(options: argparse.Namespace) -> int:
    """Run a command; a refusal is one line on standard error."""
    run: Callable[[argparse.Namespace], int] = getattr(options, "run", _run_command)
    try:
        status = run(options)
        sys.stdout.flush()
        return status
    except ConfigError as error:
        status, why = 2, str(error)
    except PackhouseError as error:
        status, why = 2 if isinstance(error, Invalid) else 1, error.message
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, a file of another user: no traceback explains more
        status, why = 1, f"{error.filename}: {error.strerror}" if error.filename else str(error)
    print(f"packhouse: {why}", file=sys.stderr)
    return status


def _read_config(options: argparse.Namespace) -> Config:
    return from_environment(options.config, _overrides(options))


def _run_command(options: argparse.Namespace) -> int:
    config = _read_config(options)
    prepare_directory(config.directory)
    prepare_database(config)
    return asyncio.run(_with_services(config, options))


async def _with_services(config: Config, options: argparse.Namespace) -> int:
    command: Command = options.command
    task = asyncio.current_task()
    if task is not None:
        # Ends like Ctrl-C: leases are given back, positions kept, the cursor is shown again.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with open_services(config) as services:
        return await command(services, options) or 0


def _serve(options: argparse.Namespace) -> int:
    config = _read_config(options)
    configure_logging(config.log_level)
    check_certificate(config.tls)
    require_tracing(config)
    check_providers(config)
    prepare_directory(config.directory)
    with lock_directory(config.directory):
        config = with_certificate(config)
        supervisor = Supervisor(config, partial(build_app, counts=Counts.shared()))
        sockets = supervisor.listen()
        prepare_database(config)
        return supervisor.run(sockets, lambda found: _welcome(config, found))


def _welcome(config: Config, found: Sequence[str]) -> None:
    warn_of_sqlite(config)
    print_welcome(config, found)


def _check(options: argparse.Namespace) -> int:
    config = _read_config(options)
    check_certificate(config.tls)
    require_tracing(config)
    check_providers(config)
    prepare_directory(config.directory)
    print("the configuration is good")
    return 0


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    host = getattr(options, "host", None)
    return {
        "data": options.data,
        "host": host,
        "port": getattr(options, "port", None),
        "workers": getattr(options, "workers", None),
        "tls": getattr(options, "tls", None),
    }


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", metavar="FILE", help="configuration file (YAML)")
    common.add_argument("--data", metavar="DIR", help="data directory")
    parser = argparse.ArgumentParser(
        prog="packhouse",
        description="An OCI registry and more.",
        epilog="Lists are tables on a terminal and tab-separated lines in a pipe; --json prints "
        "one document. Exit status: 0 done, 1 refused or a problem found, 2 wrong usage.",
    )
    groups = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = groups.add_parser("serve", parents=[common], help="run the registry")
    serve.add_argument("--host", metavar="H", help="addresses to listen on, split by commas")
    serve.add_argument("--port", metavar="P", help="TCP port")
    serve.add_argument("--workers", metavar="N", help="worker processes")
    serve.add_argument(
        "--tls", metavar="CERT,KEY|self-signed", help="serve TLS with these PEM files"
    )
    serve.set_defaults(run=_serve)

    config = groups.add_parser("config", help="look at the configuration")
    check = config.add_subparsers(required=True, metavar="ACTION").add_parser(
        "check", parents=[common], help="say what is wrong with it"
    )
    check.set_defaults(run=_check)
    commands.add_all(groups, common)
    add_completion(groups, build_parser)
    add_examples(parser)
    return parser
