"""Configuration: one list of keys, from defaults, a YAML file, the environment and the options.

Later sources win. An unknown key or a bad value is a ConfigError with one clear line.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from auth.providers import SHAPE, Provider, parse_providers

ENVIRONMENT_PREFIX = "PACKHOUSE_"
SELF_SIGNED = "self-signed"
CHOICE_OF_FILE = "PACKHOUSE_CONFIG"
URL_TO_ASK = "PACKHOUSE_URL"
TOKEN_TO_ASK_WITH = "PACKHOUSE_TOKEN"
_NO_KEYS = {CHOICE_OF_FILE, URL_TO_ASK, TOKEN_TO_ASK_WITH}
"""What else the environment may say: which file, and what commands ask a server with."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ConfigError(Exception):
    """The configuration cannot be used; the message is one line for the operator."""


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("write one line of text")
    return value.strip()


def _path(value: object) -> str:
    text = _text(value)
    if not text or (text.startswith("~") and Path(text).parts[0] != "~"):
        raise ValueError("write the path of a directory, such as /var/lib/packhouse or ~/packhouse")
    return text


def _certificate(value: object) -> str:
    text = _text(value)
    if text == SELF_SIGNED:
        return text
    files = [part.strip() for part in text.split(",")]
    if text and (len(files) != 2 or not all(files)):
        raise ValueError(
            "write CERT,KEY: the paths of two PEM files with a comma between them, or self-signed"
        )
    return ",".join(files)


def _whole(least: int, most: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}", value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"write a whole number from {least} to {most}")
        return value

    return parse


def _hosts(value: object) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not items or not all(map(_is_host, items)):
        raise ValueError("write a list of addresses to listen on, such as [127.0.0.1, '::1']")
    return tuple(dict.fromkeys(item.strip() for item in items))


def _is_host(item: object) -> bool:
    return (
        isinstance(item, str) and re.fullmatch(r"[A-Za-z0-9.:%_-]{1,253}", item.strip()) is not None
    )


def _items(value: object, what: str) -> list[str]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"write a list of {what}")
    return [item.strip() for item in items if item.strip()]


def _networks(value: object) -> tuple[Network, ...]:
    items = _items(value, "networks, such as [127.0.0.1, 10.0.0.0/8]")
    return tuple(ipaddress.ip_network(item) for item in items)


def _names(value: object) -> tuple[str, ...]:
    items = _items(value, "host names, such as [packages.example.com]")
    return tuple(item.lower() for item in items)


def _level(value: object) -> str:
    if value not in ("debug", "info", "warning", "error"):
        raise ValueError("write debug, info, warning or error")
    return str(value)


def _public_url(value: object) -> str:
    text = _text(value).rstrip("/")
    if text and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_-]+", text):
        raise ValueError("write scheme and host alone, such as https://packages.example.com")
    return text


_SERVER = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._%-]*)(:[0-9]{1,5})?"
_USER = r"([^/?#@\[\]\x7f-\U0010ffff]*@)?"
_DATABASE = re.compile(rf"postgres(ql)?://{_USER}{_SERVER}(,{_SERVER})*(/[^?#@]*)?([?][^#]*)?")


def _database(value: object) -> str:
    text = _text(value)
    if text and not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("leave it empty for SQLite, or write postgresql://user@host/name")
    if text and not _DATABASE.fullmatch(text):  # the driver would tell what it takes for a port
        raise ValueError(
            "host or port is none: write '/', '@' and '#' in a password as %2F, %40, %23"
        )
    return text


def _listener(value: object) -> str:
    text = _text(value)
    found = re.fullmatch(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})", text)
    if text and (found is None or int(found[2]) > 65535):
        raise ValueError("write HOST:PORT, such as 127.0.0.1:9464 or [::1]:9464")
    return text


def _collector(value: object) -> str:
    text = _text(value).rstrip("/")
    if text and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9./_-]*)?", text):
        raise ValueError(
            "write a collector's URL, such as http://localhost:4318 "
            "(what it wants as headers goes into OTEL_EXPORTER_OTLP_HEADERS)"
        )
    return text


def _providers(value: object) -> tuple[Provider, ...]:
    if isinstance(value, str):
        try:
            value = yaml.safe_load(value)
        except (yaml.YAMLError, RecursionError) as error:
            raise ValueError(f"write {SHAPE}") from error
    return parse_providers(value)


def _key(default: object, parse: Callable[[object], object], unit: str, about: str) -> Any:
    return field(default=default, metadata={"parse": parse, "unit": unit, "about": about})


@dataclass(frozen=True, slots=True)
class Config:
    """Every key, its default, unit and meaning; config.example.yaml is checked against this."""

    host: tuple[str, ...] = _key(
        ("127.0.0.1", "::1"), _hosts, "addresses", "Addresses to listen on."
    )
    port: int = _key(5000, _whole(0, 65535), "port", "TCP port; 0 takes a free one.")
    data: str = _key("./data", _path, "path", "Directory of blobs and of the embedded database.")
    database: str = _key(
        "", _database, "URL", "Empty for SQLite in the data directory, or a PostgreSQL URL."
    )
    workers: int = _key(
        0, _whole(0, 256), "processes", "Worker processes; 0 means one a core, at most 4."
    )
    public_url: str = _key(
        "", _public_url, "URL", "What clients call this server; empty takes each request's own."
    )
    trusted_proxies: tuple[Network, ...] = _key(
        (), _networks, "networks", "Whose Forwarded and X-Forwarded-* headers are believed."
    )
    allowed_hosts: tuple[str, ...] = _key(
        (), _names, "host names", "Host names answered for, others get 421; empty means any."
    )
    tls: str = _key(
        "",
        _certificate,
        "paths",
        "CERT,KEY: PEM files to serve TLS with, or self-signed; empty for plain.",
    )
    bearer_seconds: int = _key(
        300, _whole(60, 86400), "seconds", "How long a bearer token of /token is good."
    )
    manifest_bytes: int = _key(
        2**22, _whole(2**22, 2**26), "bytes", "The largest manifest accepted."
    )
    blob_bytes: int = _key(
        0, _whole(0, 2**62), "bytes", "The largest blob accepted; 0 means no limit."
    )
    package_bytes: int = _key(
        2**30,
        _whole(2**20, 2**40),
        "bytes",
        "The largest file of a package that its own client publishes.",
    )
    cache_bytes: int = _key(
        2**30, _whole(0, 2**62), "bytes", "Disk that documents about packages may take; 0: none."
    )
    uploads_per_account: int = _key(
        1000, _whole(1, 10**6), "uploads", "How many unfinished uploads an account may have."
    )
    upload_seconds: int = _key(
        86400,
        _whole(60, 30 * 86400),
        "seconds",
        "An upload is purged this long after its last byte.",
    )
    restore_seconds: int = _key(
        30 * 86400,
        _whole(0, 10 * 365 * 86400),
        "seconds",
        "How long what was deleted can be restored.",
    )
    audit_seconds: int = _key(
        400 * 86400,
        _whole(86400, 36_525 * 86400),
        "seconds",
        "How long the audit is kept.",
    )
    gc_grace_seconds: int = _key(
        86400,
        _whole(3600, 365 * 86400),
        "seconds",
        "How long a blob that no manifest names is kept for a push under way.",
    )
    gc_interval_seconds: int = _key(
        60, _whole(1, 86400), "seconds", "How often garbage collection does a round, about."
    )
    idle_seconds: int = _key(
        60, _whole(1, 3600), "seconds", "A transfer without a byte for this long is cut."
    )
    grace_seconds: int = _key(
        30, _whole(0, 3600), "seconds", "How long running transfers may finish when stopping."
    )
    reserve_bytes: int = _key(
        -1,
        _whole(-1, 2**62),
        "bytes",
        "Free space below which uploads end with 507; -1 is the larger of 1 GiB and 2 %.",
    )
    pulls_per_minute: int = _key(
        0,
        _whole(0, 10**6),
        "manifests",
        "Manifests an account may GET in a minute, and who is nobody by address; 0: no limit.",
    )
    writes_per_minute: int = _key(
        60_000,
        _whole(0, 10**6),
        "requests",
        "Uploads, manifests and deletions an account may begin in a minute; 0: no limit.",
    )
    tokens_per_minute: int = _key(
        60_000,
        _whole(0, 10**6),
        "requests",
        "Answers of /token in a minute, by account, else by address; 0: no limit.",
    )
    wrong_passwords: int = _key(
        100,
        _whole(0, 10**6),
        "sign-ins",
        "Wrong passwords from an address in 5 minutes, a tenth for one account; 0: no limit.",
    )
    openid: tuple[Provider, ...] = _key(
        (), _providers, "providers", "OpenID Connect providers that people may sign in with."
    )
    log_level: str = _key("info", _level, "level", "debug, info, warning or error.")
    metrics: str = _key(
        "",
        _listener,
        "HOST:PORT",
        "Where Prometheus finds /metrics, over plain HTTP; empty is off.",
    )
    tracing: str = _key(
        "",
        _collector,
        "URL",
        "OTLP over HTTP collector that OpenTelemetry spans go to; empty is off.",
    )

    @property
    def directory(self) -> Path:
        """The data directory, absolute."""
        return Path(self.data).expanduser().absolute()


_MAY_HOLD_SECRETS = ("database", "tracing", "openid")


def load(
    file: Path | None, environment: Mapping[str, str], arguments: Mapping[str, object]
) -> Config:
    """Read the configuration. Raises ConfigError."""
    values = {} if file is None else _from_file(file)
    values |= _from_environment(environment)
    values |= {
        name: (f"option --{name}", value) for name, value in arguments.items() if value is not None
    }
    parsers = {known.name: known.metadata["parse"] for known in fields(Config)}
    parsed: dict[str, Any] = {}
    for name, (source, value) in values.items():
        try:
            parsed[name] = parsers[name](value)
        except ValueError as error:
            # A URL may hold a password, and this line goes to logs.
            shown = "not usable" if name in _MAY_HOLD_SECRETS else _shown(value)
            raise ConfigError(f"{source} is {shown}: {error}") from error
    return Config(**parsed)


def from_environment(file: str | None, arguments: Mapping[str, object]) -> Config:
    """Read the configuration of this process: the only place that looks at the environment."""
    chosen = file or os.environ.get(CHOICE_OF_FILE)
    return load(Path(chosen) if chosen else None, os.environ, arguments)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the environment tells a command that asks a server, and where logins are kept."""

    url: str = ""
    token: str = field(default="", repr=False)
    directory: Path = Path()


def surroundings() -> Surroundings:
    """Read what commands ask a server with: the only other place that looks at the environment.

    The directory is of the XDG base directory specification, which ignores a relative path.
    """
    chosen = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    home = chosen if chosen.is_absolute() else Path(os.path.expanduser("~/.config"))
    url, token = (os.environ.get(name, "").strip() for name in (URL_TO_ASK, TOKEN_TO_ASK_WITH))
    return Surroundings(url, token, home / "packhouse")


_Values = dict[str, tuple[str, object]]
"""By key: what the operator calls the place it was set in, and the value."""


def _from_file(file: Path) -> _Values:
    known = {key.name for key in fields(Config)}
    values: _Values = {}
    for name, value in _read_file(file).items():
        if name not in known:
            raise ConfigError(
                f"unknown configuration key {_shown(name)} in {file}: see config.example.yaml"
            )
        values[str(name)] = (f"configuration key '{name}' in {file}", value)
    return values


def _from_environment(environment: Mapping[str, str]) -> _Values:
    known = {ENVIRONMENT_PREFIX + key.name.upper(): key.name for key in fields(Config)}
    values: _Values = {}
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in _NO_KEYS:
            continue
        if variable not in known:
            raise ConfigError(
                f"unknown environment variable {_shown(variable)}: the keys of "
                f"config.example.yaml in capitals after {ENVIRONMENT_PREFIX} are known"
            )
        values[known[variable]] = (f"environment variable {variable}", text)
    return values


def _read_file(file: Path) -> dict[object, object]:
    try:
        values = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    # ValueError: PyYAML lets those of int() and date() through, such as for 2026-13-01.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{file} holds no 'key: value' lines: see config.example.yaml")
    return values


def _shown(value: object) -> str:
    """Show a value on one short line."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number beyond all limits"
    if isinstance(value, str | int | float | None):
        return repr(value[:100] if isinstance(value, str) else value)
    return f"a {type(value).__name__}"
