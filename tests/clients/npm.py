"""Homes of people who use npm's clients: configured for a registry, with packages of their own."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.server import Registry
from tests.clients.shell import Shell

NPMRC = """registry={url}
update-notifier=false
fund=false
"""
TOKEN = "//{place}:_authToken={token}\n"
YARNRC = """npmRegistryServer: "{url}"
unsafeHttpWhitelist: ["127.0.0.1", "localhost"]
nodeLinker: node-modules
enableTelemetry: false
enableImmutableInstalls: false
npmPreapprovedPackages: ["@*/*"]
"""
"""Yarn 4 holds back what is younger than a day, but for packages that are said to be trusted."""
YARN_TOKEN = """npmAuthToken: "{token}"
npmAlwaysAuth: true
"""


@dataclass(frozen=True, slots=True)
class Client:
    """A client of npm's protocol, and its words for what all of them do."""

    name: str
    publish: tuple[str, ...]
    add: tuple[str, ...]
    again: tuple[str, ...]
    lock: str
    first: tuple[str, ...] = ()
    """What it wants before it publishes."""

    def __str__(self) -> str:
        return self.name


NPM = Client("npm", ("publish",), ("install",), ("ci",), "package-lock.json")
PNPM = Client(
    "pnpm",
    ("publish", "--no-git-checks"),
    ("add",),
    ("install", "--frozen-lockfile"),
    "pnpm-lock.yaml",
)
YARN = Client(
    "yarn",
    ("publish", "--non-interactive"),
    ("add", "--non-interactive"),
    ("install", "--frozen-lockfile", "--non-interactive"),
    "yarn.lock",
)
BERRY = Client(
    "berry",
    ("npm", "publish"),
    ("add",),
    ("install", "--immutable"),
    "yarn.lock",
    ("install",),
)
CLIENTS = (NPM, PNPM, YARN, BERRY)

OF_THEIR_OWN = {"pnpm": "401 Unauthorized", "berry": "Invalid authentication"}
"""What clients say to a 401 who do not show the registry's words."""


def home(
    at: Path, registry: Registry, token: str = "", *, url: str = "", mount: str = "npm"
) -> Shell:
    """A shell whose clients ask this registry for every package, with a token if one is given.

    A home that is there keeps its packages, and gets a configuration for what is said now.
    """
    url = f"{url or registry.url}/{mount}/"
    shell = Shell(at, logs=[registry.log])
    place = url.partition("://")[2]
    authorization = TOKEN.format(place=place, token=token) if token else ""
    (at / ".npmrc").write_text(NPMRC.format(url=url) + authorization)
    authorization = YARN_TOKEN.format(token=token) if token else ""
    (at / ".yarnrc.yml").write_text(YARNRC.format(url=url.rstrip("/")) + authorization)
    return shell


def package(directory: Path, name: str, version: str = "1.0.0", **more: Any) -> Path:
    """Write a package that says its version; returns its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    about = {"name": name, "version": version, "license": "MIT", "main": "index.js", **more}
    (directory / "package.json").write_text(json.dumps(about, indent=2))
    (directory / "index.js").write_text(f"module.exports = {json.dumps(version)};\n")
    return directory


def project(directory: Path, **dependencies: str) -> Path:
    """Write an application; returns its directory."""
    return package(directory, "app", private=True, dependencies=dependencies)


def refused(run: Shell, client: Client, directory: Path) -> str:
    """Publish a package that must not be taken; returns what the client said."""
    if client.first:
        run(client.name, *client.first, cwd=directory)
    return run.fails(client.name, *client.publish, cwd=directory)


def says(run: Shell, directory: Path, name: str) -> str:
    """What an installed package exports."""
    return run("node", "-p", f"require({json.dumps(name)})", cwd=directory).strip()


def published(run: Shell, client: Client, directory: Path, *options: str) -> str:
    """Publish a package that must be taken; returns what the client said."""
    if client.first:
        run(client.name, *client.first, cwd=directory)
    return run(client.name, *client.publish, *options, cwd=directory)
