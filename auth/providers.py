"""Providers of sign-ins: what the configuration says of each."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from storage.errors import PackhouseError
from storage.names import parse_team

SHAPE = "a list of providers, each with name, issuer and client_id: see docs/sign-in.md"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MOST = 20
_MOST_GROUPS = 1000


@dataclass(frozen=True, slots=True)
class Provider:
    """An OpenID Connect provider that people may sign in with.

    `groups` maps values of `groups_claim` to teams; `create` says whether somebody whom nobody
    knows here gets an account, named by `username_claim`.
    """

    name: str
    issuer: str
    client_id: str
    title: str = ""
    client_secret: str = field(default="", repr=False)
    client_secret_file: str = ""
    scopes: tuple[str, ...] = ("openid", "profile")
    username_claim: str = "preferred_username"
    groups_claim: str = ""
    groups: tuple[tuple[str, str], ...] = ()
    create: bool = False

    @property
    def shown(self) -> str:
        """What people know it as."""
        return self.title or self.name

    def secret(self) -> str:
        """Return the client's secret, "" for a public client; a file is read at each use.

        Raises OSError.
        """
        if not self.client_secret_file:
            return self.client_secret
        return Path(self.client_secret_file).read_text("utf-8").strip()


def parse_providers(value: object) -> tuple[Provider, ...]:
    """Read a list of providers. Raises ValueError, whose text repeats no secret."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"write {SHAPE}")
    if len(value) > _MOST:
        raise ValueError(f"write at most {_MOST} providers")
    made = tuple(_parse(item) for item in value)
    for what in ("name", "issuer"):
        if len({getattr(provider, what) for provider in made}) < len(made):
            raise ValueError(f"two providers have one {what}: write each once")
    return made


def is_trusted_url(url: str) -> bool:
    """Whether a provider may be asked there: https, or http on this machine."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    del port  # looked at: a wrong one raises
    if not host or parts.username is not None or not (url.isascii() and url.isprintable()):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parse(item: Mapping[object, object]) -> Provider:
    unknown = [key for key in item if key not in _READERS]
    if unknown:
        raise ValueError(f"a provider has no {str(unknown[0])[:40]!r}: write {', '.join(_READERS)}")
    who = f"provider {str(item.get('name', 'without a name'))[:40]!r}"
    read: dict[str, Any] = {}
    for name, value in item.items():
        try:
            read[str(name)] = _READERS[str(name)](value)
        except ValueError as error:
            raise ValueError(f"{name} of {who} is wrong: {error}") from error
    for name in ("name", "issuer", "client_id"):
        if name not in read:
            raise ValueError(f"{who} lacks {name}: write {SHAPE}")
    if "client_secret" in read and "client_secret_file" in read:
        raise ValueError(f"{who} has two secrets: write client_secret or client_secret_file")
    if bool(read.get("groups")) != bool(read.get("groups_claim")):
        raise ValueError(f"{who} has one of groups and groups_claim: write both or neither")
    return Provider(**read)


def _slug(value: object) -> str:
    if not isinstance(value, str) or len(value) > 40 or not _NAME.fullmatch(value):
        raise ValueError("write lower-case letters and digits with single '-' between them")
    return value


def _line(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 1000:
        raise ValueError("write one line of text")
    if not value.isprintable():
        raise ValueError("write one line of text")
    return value.strip()


def _issuer(value: object) -> str:
    text = _line(value)
    if not is_trusted_url(text) or "?" in text or "#" in text:
        raise ValueError("write its URL with https, exactly as the provider says it of itself")
    return text


def _scopes(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("write a list such as [openid, profile, groups]")
    scopes = tuple(_line(item) for item in value)
    if "openid" not in scopes or any(" " in scope for scope in scopes):
        raise ValueError("write a list with openid in it, such as [openid, profile, groups]")
    return scopes


def _groups(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or len(value) > _MOST_GROUPS:
        raise ValueError("write GROUP: ORGANIZATION/TEAM for each, at most 1000")
    try:
        return tuple(
            (_line(group), "/".join(parse_team(_line(team)))) for group, team in value.items()
        )
    except PackhouseError as error:
        raise ValueError(error.message) from error


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("write true or false")
    return value


_READERS = {key.name: _line for key in fields(Provider)} | {
    "name": _slug,
    "issuer": _issuer,
    "scopes": _scopes,
    "groups": _groups,
    "create": _switch,
}
