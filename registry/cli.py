"""The command line: `packhouse COMMAND`. Exit status 0, 1 (failed), 2 (usage or configuration)."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from registry import commands
from registry.app import Services, open_services
from registry.config import Config, ConfigError, from_environment
from registry.logs import configure_logging
from registry.startup import (
    lock_directory,
    prepare_database,
    prepare_directory,
    print_welcome,
)
from registry.supervisor import Supervisor
from storage.errors import PackhouseError

Command = Callable[[Services, argparse.Namespace], Awaitable[None]]


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = build_parser().parse_args(arguments)
    try:
        config = from_environment(options.config, _overrides(options))
        if options.command is None:
            return _serve(config) if options.serves else _check(config)
        prepare_directory(config.directory)
        prepare_database(config)
        return asyncio.run(_run(config, options))
    except ConfigError as error:
        print(f"packhouse: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


async def _run(config: Config, options: argparse.Namespace) -> int:
    command: Command = options.command
    try:
        async with open_services(config) as services:
            await command(services, options)
    except PackhouseError as error:
        print(f"packhouse: {error.message}", file=sys.stderr)
        return 1
    return 0


def _serve(config: Config) -> int:
    configure_logging(config.log_level)
    prepare_directory(config.directory)
    with lock_directory(config.directory):
        supervisor = Supervisor(config)
        sockets = supervisor.listen()
        prepare_database(config)
        return supervisor.run(sockets, lambda found: print_welcome(config, found))


def _check(config: Config) -> int:
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
    parser = argparse.ArgumentParser(prog="packhouse", description="An OCI registry and more.")
    groups = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = groups.add_parser("serve", parents=[common], help="run the registry")
    serve.add_argument("--host", metavar="H", help="addresses to listen on, split by commas")
    serve.add_argument("--port", metavar="P", help="TCP port")
    serve.add_argument("--workers", metavar="N", help="worker processes")
    serve.add_argument("--tls", metavar="CERT,KEY", help="serve TLS with these PEM files")
    serve.set_defaults(command=None, serves=True)

    config = groups.add_parser("config", help="look at the configuration")
    check = config.add_subparsers(required=True, metavar="ACTION").add_parser(
        "check", parents=[common], help="say what is wrong with it"
    )
    check.set_defaults(command=None, serves=False)
    commands.add_all(groups, common)
    return parser
