"""npm packages as clients of the other door name them, and what copies them between registries."""

import json
from pathlib import Path

from tests.clients import npm
from tests.clients.server import Registry
from tests.clients.shell import Shell

HTTP = "--plain-http"
BOTH = ("--from-plain-http", "--to-plain-http")


def below(pad: str) -> str:
    """The repository of a package."""
    return pad.replace("@acme/", "acme/npm/")


def title(pad: str, version: str = "1.0.0") -> str:
    """The name of a version's tarball."""
    return f"{pad.partition('/')[2]}-{version}.tgz"


def publish(run: Shell, at: Path, name: str, version: str = "1.0.0", *options: str) -> bytes:
    """Publish a version; returns the bytes of its tarball."""
    source = npm.package(at, name, version)
    packed = json.loads(run("npm", "pack", "--json", "--pack-destination", at.parent, cwd=source))
    run("npm", "publish", *options, cwd=source)
    name: str = packed[0]["filename"]
    return (at.parent / name.replace("@", "").replace("/", "-")).read_bytes()


def signed_in(run: Shell, *registries: Registry) -> Shell:
    """Sign alice in at registries, for every client of the other door."""
    for registry in registries:
        who = ("-u", registry.user, "--password-stdin", registry.host)
        run("oras", "login", HTTP, *who, stdin=registry.token)
    return run


def skopeo(run: Shell, source: str, target: str) -> None:
    """Copy what a tag names, without what refers to it."""
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    run("skopeo", "copy", "--all", *plain, f"docker://{source}", f"docker://{target}")


def oras(run: Shell, source: str, target: str) -> None:
    """Copy what a tag names, with what refers to it."""
    run("oras", "cp", "-r", *BOTH, source, target)


def all_tags(run: Shell, source: str, target: str) -> None:
    """Copy a package whole, as whoever moves it does: every tag, with what refers to it."""
    for tag in run("oras", "repo", "tags", HTTP, source).split():
        oras(run, f"{source}:{tag}", f"{target}:{tag}")
