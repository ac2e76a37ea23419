"""What TAB does in the shells themselves: bash and zsh on a terminal, fish by its own question."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.shell import Shell, client
from tests.registry.processes import PACKHOUSE
from tests.registry.terminal import Terminal

Typed = Callable[[str], Terminal]

START = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
}
SETUP = {
    "bash": 'eval "$(packhouse completion bash)"; PS1="rea""dy> "',
    "zsh": (
        'autoload -Uz compinit; compinit -u -D; eval "$(packhouse completion zsh)"; PS1="rea""dy> "'
    ),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "packhouse.yaml").touch()
    (tmp_path / "packages").mkdir()
    return tmp_path


@pytest.fixture(params=START)
def shell(request: pytest.FixtureRequest, home: Path) -> Iterator[Terminal]:
    """An interactive shell that has read our script."""
    name: str = request.param
    path = f"{PACKHOUSE.parent}:/usr/bin:/bin"
    command = [client(name), *START[name]]
    with Terminal(command, 200, home, PATH=path, HOME=str(home), LC_ALL="C.UTF-8") as terminal:
        terminal.press(SETUP[name].encode() + b"\n")
        terminal.wait_for("ready> ")
        yield terminal


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        ("packhouse us", "packhouse user "),
        ("packhouse user cr", "packhouse user create "),
        ("packhouse user create ada --pass", "create ada --password-stdin "),
        ("packhouse package vi", "packhouse package visibility "),
        ("packhouse package visibility acme/app pu", "acme/app public "),
        ("packhouse completion f", "packhouse completion fish "),
        ("packhouse serve --config packh", "--config packhouse.yaml "),
        ("packhouse fsck --data packa", "--data packages"),
    ],
)
def test_tab_completes_commands_options_choices_and_files(
    shell: Terminal, typed: str, becomes: str
) -> None:
    shell.press(typed.encode() + b"\t")
    shell.wait_for(becomes)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("packhouse us", {"user"}),
        ("packhouse user ", {"create", "disable", "enable", "list", "password"}),
        ("packhouse user create --pass", {"--password-stdin"}),
        ("packhouse package visibility acme/app ", {"public", "internal", "private"}),
        ("packhouse serve --config packh", {"packhouse.yaml"}),
        ("packhouse fsck --data packa", {"packages/"}),
    ],
)
def test_fish_offers_commands_options_choices_and_files(
    run: Shell, home: Path, typed: str, offered: set[str]
) -> None:
    script = f"'{PACKHOUSE}' completion fish | source; complete --do-complete '{typed}'"
    said = run("fish", "--no-config", "--command", script, cwd=home)
    assert {line.partition("\t")[0] for line in said.splitlines()} >= offered
