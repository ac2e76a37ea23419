"""The command line: `packhouse COMMAND`. Answers go to standard output, all else to standard error.

Exit status: 0 done; 1 refused, or a problem was found; 2 wrong usage or configuration; 130 and 143
ended by Ctrl-C and SIGTERM.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from registry.app import build_app
from registry.asked_server import NEEDS_MACHINE, add_asking, add_no_url, asked_server
from registry.audit_commands import add_audit
from registry.care import add_care
from registry.completion import add_completion
from registry.config import Config, ConfigError, from_environment
from registry.debts import Counts
from registry.doctor import add_doctor
from registry.examples import add_examples
from registry.grant_commands import add_grants
from registry.identity_commands import add_identities
from registry.instruments import require_tracing
from registry.key_commands import add_keys
from registry.login_commands import add_logins
from registry.logs import configure_logging
from registry.maintenance import add_gc
from registry.owner_commands import add_owners
from registry.package_commands import add_packages
from registry.project_commands import add_projects
from registry.running import Question, run_here, run_question, run_there
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
from registry.team_commands import add_organizations, add_teams
from registry.tls import check_certificate
from registry.token_commands import add_tokens
from registry.user_commands import add_users
from storage.errors import Invalid, PackhouseError

ASKING = (
    *(add_organizations, add_teams, add_owners, add_grants, add_tokens),
    *(add_projects, add_packages, add_audit, add_gc),
)
"""What adds the commands that ask the API."""


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
    question: Question | None = getattr(options, "ask", None)
    if question is None:
        if getattr(options, "url", None) is not None:  # of a command that asks only now and then
            raise Invalid(NEEDS_MACHINE)
        return run_here(options.command, _read_config(options), options)
    server = asked_server(options)
    if server is not None:
        return run_there(question, server, options)
    return run_question(question, _read_config(options), options)


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
    with suppress(OSError):  # a terminal that was closed meanwhile, under nohup
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
    asking = argparse.ArgumentParser(add_help=False, parents=[common])
    add_asking(asking)
    local = argparse.ArgumentParser(add_help=False, parents=[common])
    add_no_url(local)
    parser = argparse.ArgumentParser(
        prog="packhouse",
        description="An OCI registry and more.",
        epilog="Lists are tables on a terminal and tab-separated lines in a pipe; --json prints "
        "one document. Exit status: 0 done, 1 refused or a problem found, 2 wrong usage.",
    )
    groups = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serving(groups, local)
    add_logins(groups, asking)
    add_identities(add_users(groups, asking), asking)
    for add in ASKING:
        add(groups, asking)
    add_keys(groups, local)
    add_care(groups, local)
    add_doctor(groups, common)
    add_completion(groups, build_parser)
    add_examples(parser)
    return parser


def _add_serving(groups: Any, local: argparse.ArgumentParser) -> None:
    serve = groups.add_parser("serve", parents=[local], help="run the registry")
    serve.add_argument("--host", metavar="H", help="addresses to listen on, split by commas")
    serve.add_argument("--port", metavar="P", help="TCP port")
    serve.add_argument("--workers", metavar="N", help="worker processes")
    serve.add_argument(
        "--tls", metavar="CERT,KEY|self-signed", help="serve TLS with these PEM files"
    )
    serve.set_defaults(run=_serve)

    config = groups.add_parser("config", help="look at the configuration")
    check = config.add_subparsers(required=True, metavar="ACTION").add_parser(
        "check", parents=[local], help="say what is wrong with it"
    )
    check.set_defaults(run=_check)
