"""Configuration: one list of keys, from defaults, a YAML file, the environment and the options.

Later sources win. An unknown key or a bad value is a ConfigError with one clear line.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

ENVIRONMENT_PREFIX = "PACKHOUSE_"


class ConfigError(Exception):
    """The configuration cannot be used; the message is one line for the operator."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("write text")
    return value


def _whole(least: int, most: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, str) and value.strip().lstrip("-").isdigit():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"write a whole number from {least} to {most}")
        return value

    return parse


def _hosts(value: object) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not items or not all(isinstance(i, str) for i in items):
        raise ValueError("write a list of addresses to listen on, such as [127.0.0.1, '::1']")
    return tuple(item.strip() for item in items)


def _level(value: object) -> str:
    if value not in ("debug", "info", "warning", "error"):
        raise ValueError("write debug, info, warning or error")
    return str(value)


def _public_url(value: object) -> str:
    text = _text(value).rstrip("/")
    if text and not (text.startswith(("http://", "https://")) and text.count("/") == 2):
        raise ValueError("write scheme and host alone, such as https://packages.example.com")
    return text


def _database(value: object) -> str:
    text = _text(value)
    if text and not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("leave it empty for SQLite, or write postgresql://user@host/name")
    return text


def _key(default: object, parse: Callable[[object], object], unit: str, about: str) -> Any:
    return field(default=default, metadata={"parse": parse, "unit": unit, "about": about})


@dataclass(frozen=True, slots=True)
class Config:
    """Every key, its default, unit and meaning; config.example.yaml is checked against this."""

    host: tuple[str, ...] = _key(
        ("127.0.0.1", "::1"), _hosts, "addresses", "Addresses to listen on."
    )
    port: int = _key(5000, _whole(0, 65535), "port", "TCP port; 0 takes a free one.")
    data: str = _key("./data", _text, "path", "Directory of blobs and of the embedded database.")
    database: str = _key(
        "", _database, "URL", "Empty for SQLite in the data directory, or a PostgreSQL URL."
    )
    workers: int = _key(
        0, _whole(0, 256), "processes", "Worker processes; 0 means one a core, at most 4."
    )
    public_url: str = _key(
        "", _public_url, "URL", "What clients call this server; empty takes each request's own."
    )
    tls: str = _key("", _text, "paths", "CERT,KEY: PEM files to serve TLS with; empty for plain.")
    bearer_seconds: int = _key(
        300, _whole(60, 86400), "seconds", "How long a bearer token of /token is good."
    )
    manifest_bytes: int = _key(
        4 * 1024 * 1024,
        _whole(4 * 1024 * 1024, 64 * 1024 * 1024),
        "bytes",
        "The largest manifest accepted.",
    )
    upload_seconds: int = _key(
        86400,
        _whole(60, 30 * 86400),
        "seconds",
        "An upload is purged this long after its last byte.",
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
    log_level: str = _key("info", _level, "level", "debug, info, warning or error.")

    @property
    def directory(self) -> Path:
        """The data directory, absolute."""
        return Path(self.data).expanduser().absolute()


def load(
    file: Path | None, environment: Mapping[str, str], arguments: Mapping[str, object]
) -> Config:
    """Read the configuration. Raises ConfigError."""
    values = dict(_read_file(file)) if file is not None else {}
    known = {f.name: f for f in fields(Config)}
    for name, text in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX) and name != "PACKHOUSE_CONFIG":
            values[name.removeprefix(ENVIRONMENT_PREFIX).lower()] = text
    values.update({name: value for name, value in arguments.items() if value is not None})
    parsed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"unknown configuration key {name!r}: see config.example.yaml")
        try:
            parsed[name] = known[name].metadata["parse"](value)
        except ValueError as error:
            raise ConfigError(f"configuration key {name!r} is {value!r}: {error}") from error
    return Config(**parsed)


def from_environment(file: str | None, arguments: Mapping[str, object]) -> Config:
    """Read the configuration of this process: the only place that looks at the environment."""
    chosen = file or os.environ.get("PACKHOUSE_CONFIG")
    return load(Path(chosen) if chosen else None, os.environ, arguments)


def _read_file(file: Path) -> dict[str, object]:
    try:
        values = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{file} holds no 'key: value' lines: see config.example.yaml")
    return values
