"""Public and private images side by side: one login, and none, in every client of images."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.server import Registry
from tests.clients.shell import Shell

NO_TLS = "--tls-verify=false"
BOTH_PLAIN = ("--src-tls-verify=false", "--dest-tls-verify=false")

Command = tuple[str | Path, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """How a client signs in and out, fetches an image, and sends what it fetched elsewhere.

    `fetch` is given the image and an empty directory, `send` the image and the name to send it to.
    """

    login: tuple[str, ...]
    logout: tuple[str, ...]
    fetch: Callable[[str, Path], list[Command]]
    send: Callable[[str, str], list[Command]]
    unknown: str = "may not see it"
    """What it shows its user of a 404: our words, or its own."""


def engine(name: str, *plain: str, pull: tuple[str, ...] = ()) -> Tool:
    """A client that keeps images of its own; `pull` makes it ask for those it has."""
    return Tool(
        login=(name, "login", *plain),
        logout=(name, "logout"),
        fetch=lambda image, _: [(name, "pull", *plain, *pull, image)],
        send=lambda image, to: [(name, "tag", image, to), (name, "push", *plain, to)],
    )


TOOLS = {
    "docker": engine("docker"),
    "podman": engine("podman", NO_TLS),
    "buildah": engine("buildah", NO_TLS, pull=("--policy=always",)),
    "skopeo": Tool(
        login=("skopeo", "login", NO_TLS),
        logout=("skopeo", "logout"),
        fetch=lambda image, to: [
            ("skopeo", "copy", BOTH_PLAIN[0], f"docker://{image}", f"dir:{to}")
        ],
        send=lambda image, to: [
            ("skopeo", "copy", *BOTH_PLAIN, f"docker://{image}", f"docker://{to}")
        ],
    ),
    "oras": Tool(
        login=("oras", "login", "--plain-http"),
        logout=("oras", "logout"),
        fetch=lambda image, to: [
            ("oras", "cp", "--from-plain-http", image, "--to-oci-layout", f"{to}:x")
        ],
        send=lambda image, to: [("oras", "cp", "--from-plain-http", "--to-plain-http", image, to)],
        unknown="not found",
    ),
}


class Visitor:
    """Somebody with one client."""

    def __init__(self, run: Shell, tool: Tool, home: Path) -> None:
        self._run = run
        self._tool = tool
        self._home = home
        self._fetched = 0

    def login(self, host: str, user: str, secret: str) -> None:
        self._run(*self._tool.login, "-u", user, "--password-stdin", host, stdin=secret)

    def logout(self, host: str) -> None:
        self._run(*self._tool.logout, host)

    def fetches(self, image: str) -> None:
        for command in self._tool.fetch(image, self._place()):
            self._run(*map(str, command))

    def cannot_fetch(self, image: str) -> str:
        return self._run.fails(*map(str, self._tool.fetch(image, self._place())[0]))

    def sends(self, image: str, to: str) -> None:
        for command in self._tool.send(image, to):
            self._run(*map(str, command))

    def cannot_send(self, image: str, to: str) -> str:
        *before, last = self._tool.send(image, to)
        for command in before:
            self._run(*map(str, command))
        return self._run.fails(*map(str, last))

    def _place(self) -> Path:
        self._fetched += 1
        return self._home / f"fetched-{self._fetched}"


def push(registry: Registry, name: str, layout: Path) -> None:
    """Push an image by HTTP, as alice."""
    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]
    with registry.http() as http:
        for file in (layout / "blobs/sha256").iterdir():
            if f"sha256:{file.name}" != manifest["digest"]:
                answer = http.post(
                    f"/v2/{name}/blobs/uploads/",
                    params={"digest": f"sha256:{file.name}"},
                    content=file.read_bytes(),
                )
                assert answer.status_code == 201, answer.text
        data = (layout / "blobs/sha256" / manifest["digest"].partition(":")[2]).read_bytes()
        kind = {"Content-Type": manifest["mediaType"]}
        answer = http.put(f"/v2/{name}/manifests/v1", content=data, headers=kind)
        assert answer.status_code == 201, answer.text


@pytest.fixture(params=sorted(TOOLS))
def tool(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "docker":
        request.getfixturevalue("dockerd")
    return name


def test_one_login_serves_what_is_private_and_none_what_is_public(
    tool: str, registry: Registry, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run: Shell = request.getfixturevalue("run")
    if tool == "docker":
        run.env["DOCKER_HOST"] = request.getfixturevalue("dockerd").socket
    images.image_layout(tmp_path / "layout")
    private, public, hidden = (
        f"acme/mixed-{tool}-private",
        f"acme/mixed-{tool}-public",
        f"alice/mixed-{tool}-hidden",
    )
    for name in (private, public, hidden):
        push(registry, name, tmp_path / "layout")
    registry.admin("package", "visibility", public, "public")
    private, public, hidden = (f"{registry.host}/{n}:v1" for n in (private, public, hidden))
    own, others = f"{registry.host}/bob/mixed-{tool}", f"{registry.host}/acme/mixed-{tool}-bob"
    Path(run.env["REGISTRY_AUTH_FILE"]).write_text("{}")  # podman wants the file it was told of
    someone = Visitor(run, TOOLS[tool], tmp_path)

    someone.fetches(public)
    unknown = TOOLS[tool].unknown
    assert unknown in someone.cannot_fetch(private)

    someone.login(registry.host, registry.reader, registry.reader_password)
    someone.fetches(private)
    someone.fetches(public)
    assert unknown in someone.cannot_fetch(hidden)
    someone.sends(private, f"{own}:from-private")
    someone.sends(public, f"{own}:from-public")
    someone.fetches(f"{own}:from-private")
    assert "bob may not push acme/" in someone.cannot_send(public, f"{others}:v1")

    someone.logout(registry.host)
    someone.fetches(public)
    assert unknown in someone.cannot_fetch(f"{own}:from-public")
