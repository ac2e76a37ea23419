"""What the users of docker, crane, oras and skopeo see of a rate limit.

docker stops at once. crane tries three times within seconds, oras waits as it was told, but 3 s at
most and five times; skopeo waits as it was told. A pull is paid off in ten seconds here, a write in
five: oras begins two uploads at once, and both must be let in within its fifteen.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.clients import images, server
from tests.clients.server import Registry
from tests.clients.shell import Shell

PULLS = "the limit for alice is 6 pulls a minute: try again in "
WRITES = "the limit for alice is 12 writes a minute: try again in "
ATTEMPTS = 5
"""How often a client may be too slow to meet a limit that was just spent."""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A server with small limits, in which one image was pushed."""
    settings = {
        "PACKHOUSE_PULLS_PER_MINUTE": "6",
        "PACKHOUSE_WRITES_PER_MINUTE": "12",
        "PACKHOUSE_WRONG_PASSWORDS": "10",
        "PACKHOUSE_GC_INTERVAL_SECONDS": "86400",
    }
    home = tmp_path_factory.mktemp("limited")
    with server.running(home, **settings) as running:
        shell = Shell(home / "user")
        shell.remember(running.host, running.user, running.token)
        images.image_layout(home / "image", layers=(1,))
        shell("crane", "push", home / "image", f"{running.host}/acme/app:v1")
        yield running


@pytest.fixture
def user(run: Shell, limited: Registry) -> Shell:
    """A shell in which alice is logged in."""
    run.logs.append(limited.log)
    run.remember(limited.host, limited.user, limited.token)
    return run


def spend_pulls(limited: Registry) -> None:
    spend(limited, "GET", "/v2/acme/app/manifests/v1")


def spend_writes(limited: Registry) -> None:
    spend(limited, "POST", "/v2/acme/app/blobs/uploads/")


def spend(limited: Registry, method: str, path: str) -> None:
    """Ask until it is too much."""
    with limited.http() as http:
        assert 429 in (http.request(method, path).status_code for _ in range(100))


def statuses(limited: Registry, agent: str) -> list[int]:
    """The answers to one client, from the server's lines."""
    lines = [line for line in limited.log.read_text().splitlines() if line.startswith('{"time"')]
    found = [json.loads(line) for line in lines]
    return [line["status"] for line in found if agent in line["agent"]]


def told(words: str, spend: Callable[[], None], run: Callable[[], CompletedProcess[str]]) -> bool:
    """Run a client of little patience until it was quick enough to meet a limit and say so."""
    for _ in range(ATTEMPTS):
        spend()
        done = run()
        if words in done.stdout + done.stderr:
            return True
        assert done.returncode == 0
    return False


def patient(
    limited: Registry, agent: str, spend: Callable[[], None], run: Callable[[], object]
) -> None:
    """Run a client that waits, and must succeed, until it met a limit."""
    for _ in range(ATTEMPTS):
        spend()
        before = len(statuses(limited, agent))
        run()
        if 429 in statuses(limited, agent)[before:]:
            return
    pytest.fail("never refused")


@pytest.mark.usefixtures("dockerd")
def test_docker_pull_says_when_to_try_again(user: Shell, limited: Registry) -> None:
    image = f"{limited.host}/acme/app:v1"
    assert told(
        f"toomanyrequests: {PULLS}",
        lambda: spend_pulls(limited),
        lambda: user.run("docker", "pull", image),
    )


@pytest.mark.usefixtures("dockerd")
def test_docker_push_says_when_to_try_again(
    user: Shell, limited: Registry, name: str, tmp_path: Path
) -> None:
    image = f"{limited.host}/{name}:v1"
    images.docker_archive(tmp_path / "image.tar", image, layers=(7,))
    user("docker", "load", "-i", tmp_path / "image.tar")
    assert told(
        f"toomanyrequests: {WRITES}",
        lambda: spend_writes(limited),
        lambda: user.run("docker", "push", image),
    )


def test_crane_says_when_to_try_again(
    user: Shell, limited: Registry, name: str, tmp_path: Path
) -> None:
    pull = ("crane", "pull", f"{limited.host}/acme/app:v1", tmp_path / "image.tar")
    assert told(f"TOOMANYREQUESTS: {PULLS}", lambda: spend_pulls(limited), lambda: user.run(*pull))
    images.image_layout(tmp_path / "in", layers=(8,))
    push = ("crane", "push", tmp_path / "in", f"{limited.host}/{name}:v1")
    assert told(
        f"TOOMANYREQUESTS: {WRITES}", lambda: spend_writes(limited), lambda: user.run(*push)
    )


def test_oras_waits_and_goes_on(user: Shell, limited: Registry, name: str, tmp_path: Path) -> None:
    """It asks without credentials first, and is told to sign in."""
    (tmp_path / "notes.txt").write_text("hello")
    pull = ("oras", "pull", "--plain-http", f"{limited.host}/acme/app:v1")
    patient(limited, "oras/", lambda: spend_pulls(limited), lambda: user(*pull))
    push = ("oras", "push", "--plain-http", f"{limited.host}/{name}:v1", "notes.txt")
    patient(limited, "oras/", lambda: spend_writes(limited), lambda: user(*push, cwd=tmp_path))


def test_skopeo_waits_and_goes_on(
    user: Shell, limited: Registry, name: str, tmp_path: Path
) -> None:
    def copy(source: str, target: str) -> str:
        options = ("--src-tls-verify=false", "--dest-tls-verify=false")
        return user("skopeo", "copy", *options, source, target)

    image, layout = f"docker://{limited.host}/acme/app:v1", f"oci:{tmp_path}/layout:v1"
    patient(limited, "skopeo/", lambda: spend_pulls(limited), lambda: copy(image, layout))
    target = f"docker://{limited.host}/{name}:v1"
    patient(limited, "skopeo/", lambda: spend_writes(limited), lambda: copy(layout, target))


def guess(run: Shell, limited: Registry, words: str, *login: str) -> None:
    """The first wrong password is 401; the next, within five minutes, is not even looked at."""
    command = (*login, "-u", f"mallory-{login[0]}", "-p", "wrong", limited.host)
    assert words not in run.fails(*command)
    assert words in run.fails(*command)


GUESSES = "is 1 wrong password in 300 seconds: try again in "


@pytest.mark.usefixtures("dockerd")
def test_who_guesses_with_docker_is_told_to_stop(run: Shell, limited: Registry) -> None:
    guess(run, limited, GUESSES, "docker", "login")


def test_who_guesses_is_told_to_stop(run: Shell, limited: Registry) -> None:
    guess(run, limited, GUESSES, "oras", "login", "--plain-http")
    # skopeo has words of its own for 429.
    guess(run, limited, "too many requests", "skopeo", "login", "--tls-verify=false")
