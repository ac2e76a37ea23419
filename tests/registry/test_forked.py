"""A forked command is a process like any other: its streams, directory, settings and end."""

import threading
from pathlib import Path

import pytest

from tests.registry.forked import forks
from tests.registry.processes import environment, run


def test_streams_and_status_are_the_command_s_own(tmp_path: Path) -> None:
    good = run("config", "check", "--data", tmp_path / "data")
    assert (good.returncode, good.stdout, good.stderr) == (0, "the configuration is good\n", "")
    bad = run("no-such-command")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "no-such-command" in bad.stderr


def test_input_is_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = run("user", "create", "ann", "--data", data, "--password-stdin", stdin="a long pass 7\n")
    assert made.returncode == 0, made.stderr
    assert "ann" in run("user", "list", "--data", data).stdout


def test_directory_and_settings_are_those_of_the_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        place = tmp_path / name
        place.mkdir()
        monkeypatch.chdir(place)
        assert run("config", "check", PACKHOUSE_DATA="here").returncode == 0
        assert (place / "here").is_dir()


def test_many_at_once_do_not_mix(tmp_path: Path) -> None:
    said: dict[int, str] = {}

    def ask(number: int) -> None:
        said[number] = run(f"nothing-{number}").stderr

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(f"'nothing-{number}'" in text for number, text in said.items())
    assert len(said) == 8


def test_a_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    words = ["serve", "--data", str(tmp_path / "data"), "--port", "0"]
    settings = environment(PACKHOUSE_HOST="127.0.0.1", PACKHOUSE_RESERVE_BYTES="0")
    with pytest.raises(TimeoutError):
        forks().run(words, "", settings, 2)
    # Its lock on the directory went with it: this one gets as far, and is killed as well.
    with pytest.raises(TimeoutError):
        forks().run(words, "", settings, 2)
