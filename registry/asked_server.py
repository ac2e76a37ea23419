"""The server that a command asks, and the token it comes with.

A URL comes from `--url`, else from PACKHOUSE_URL; the token from `--token-file`, else from
PACKHOUSE_TOKEN, else from `packhouse login`; never from an argument, which process lists show.
"""

import argparse
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from auth.tokens import looks_like_token
from registry.config import TOKEN_TO_ASK_WITH, Surroundings, surroundings
from registry.logins import Logins
from registry.prompts import read_line
from registry.server_url import ServerUrl, parse_server_url
from storage.errors import Invalid

NEEDS_MACHINE = "this works on the files and the database of its machine: run it there"
_LONGEST_TOKEN = 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """A server, and the Authorization header that it is asked with; "" for nobody's."""

    url: ServerUrl
    authorization: str = field(default="", repr=False)


def add_asking(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that can ask a server."""
    parser.add_argument("--url", metavar="URL", help="ask this server (default: PACKHOUSE_URL)")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="with this token, - for standard input (default: PACKHOUSE_TOKEN, else the login)",
    )
    add_ca(parser)


def add_ca(parser: argparse.ArgumentParser) -> None:
    """Add the option that names who is trusted besides the system's authorities."""
    parser.add_argument("--ca", metavar="FILE", help="trust this authority too (PEM)")


def add_no_url(parser: argparse.ArgumentParser) -> None:
    """Let a command that needs this machine say so, instead of knowing no `--url`."""
    parser.add_argument("--url", type=_refuse, help=argparse.SUPPRESS)


def _refuse(_: str) -> None:
    raise argparse.ArgumentTypeError(NEEDS_MACHINE)


def asked_server(options: argparse.Namespace) -> Asked | None:
    """Return the server to ask; None for this machine. Raises Invalid, Unkept."""
    around = surroundings()
    here = options.data is not None or options.config is not None
    if options.url is None and (here or not around.url):
        if options.token_file is not None or options.ca is not None:
            raise Invalid("--token-file and --ca are for a server: name it with --url")
        return None
    if here:
        raise Invalid("--url asks a server; --data and --config are of this machine: choose")
    url = parse_server_url(options.url or around.url, options.ca)
    warn_of_listeners(url)
    token, login = _given_token(options, around, url), None
    if not token or not url.ca:
        login = Logins(around.directory).find(url.url)
    if login is not None:
        token, url = token or login.token, replace(url, ca=url.ca or login.ca)
    return Asked(url, f"Bearer {token}" if token else "")


def warn_of_listeners(server: ServerUrl) -> None:
    """Write one line where a token goes over the network without TLS."""
    if server.overheard:
        print(
            f"packhouse: {server.url} is without TLS: whoever is on the way can read the token",
            file=sys.stderr,
        )


def read_token(text: str, where: str) -> str:
    """Return the token that `text` holds. Raises Invalid for anything else: it is not sent."""
    token = text.strip()
    if not looks_like_token(token):
        raise Invalid(f"{where} holds no token of a Packhouse")
    return token


def _given_token(options: argparse.Namespace, around: Surroundings, url: ServerUrl) -> str:
    """Return the token of the options, or of the environment; "" for none."""
    if options.token_file == "-":
        return read_token(read_line("token"), "standard input")
    if options.token_file is not None:
        return read_token(_read(Path(options.token_file)), options.token_file)
    # A token that is set beside a URL is for that server, whatever --url says.
    if around.token and (not around.url or parse_server_url(around.url).url == url.url):
        return read_token(around.token, TOKEN_TO_ASK_WITH)
    return ""


def _read(file: Path) -> str:
    try:
        with file.open(encoding="ascii") as opened:
            return opened.read(_LONGEST_TOKEN)
    except UnicodeDecodeError:
        return ""
    except OSError as error:
        raise Invalid(f"cannot read {file}: {error.strerror}") from error
