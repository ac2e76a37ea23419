"""A newcomer follows the README to the end: its own lines, against a server just started."""

import re
import shlex
from pathlib import Path

import pytest

from tests.clients import images, server
from tests.clients.engine import Engine
from tests.clients.shell import Shell

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"prints the lines to try:\n\n```sh\n(.*?)```", re.DOTALL)


def lines_of_the_readme() -> list[str]:
    found = BLOCK.search(README.read_text())
    assert found is not None
    return [line.partition("#")[0].strip() for line in found[1].splitlines()]


def test_the_readme_s_own_lines_push_and_pull_an_image(
    dockerd: Engine, run: Shell, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = lines_of_the_readme()
    assert [shlex.split(line)[1] for line in lines] == ["login", "pull", "tag", "push", "pull"]
    images.docker_archive(tmp_path / "alpine.tar", "alpine:latest", layers=(1, 2))
    run("docker", "load", "-i", tmp_path / "alpine.tar")  # in place of the public image
    with server.running(tmp_path_factory.mktemp("readme")) as registry:
        for line in lines:
            command, _, secret = line.partition(" < data/")
            words = shlex.split(command.replace("localhost:5000", registry.host))
            if words == ["docker", "pull", "alpine"]:
                continue
            stdin = (registry.data / secret).read_text() if secret else ""
            said = run(*words, stdin=stdin)
            if words[1] == "push":
                assert "digest: sha256:" in said
                run("docker", "rmi", words[2], "alpine")
        assert "Downloaded newer image" in said
        assert not (registry.data / "first-login.txt").exists()
