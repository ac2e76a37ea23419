"""Commands run in this process: on a database, or on a server that runs."""

import asyncio
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from registry.cli import main
from registry.config import Config
from registry.startup import prepare_database
from storage.connect import open_database
from storage.database import Transaction

OWN_TOKEN = "of the test itself"


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Done]


class CommandLine:
    """Runs commands with some options for all of them; each must end with the status as said."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *place: object
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self._place = [str(word) for word in place]

    def __call__(self, *arguments: object, stdin: str = "", status: int = 0) -> Done:
        self._monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        try:
            found = main([*map(str, arguments), *self._place])
        except SystemExit as error:  # argparse
            found = int(error.code or 0)
        out, err = self._capsys.readouterr()
        assert found == status, err
        assert "Traceback" not in err
        return Done(found, out, err)


def refusal(done: Done) -> str:
    """Return the one line of a command that was refused."""
    assert done.out == ""
    assert done.err.startswith("packhouse: ")
    assert done.err.count("\n") == 1
    return done.err.removeprefix("packhouse: ").rstrip("\n")


def token_file(here: Cli, place: Path, *options: object) -> Path:
    """A file with a new token that may do everything, of admin's unless told."""
    file = place / "token"
    scope = ("--scope", "read,write,delete,admin", "--name", OWN_TOKEN)
    file.write_text(here("token", "create", *scope, *options).out)
    return file


def start_anew(config: Config) -> None:
    """Make the database of a server that runs what a first start makes of it."""
    asyncio.run(_empty(config))
    prepare_database(config)


async def _empty(config: Config) -> None:
    async with await open_database("", config.directory) as database:
        tables = await database.fetch("select name from sqlite_master where type = 'table'")
        names = [row["name"] for row in tables if row["name"] not in ("schema", "sqlite_sequence")]

        async def work(tx: Transaction) -> None:
            await tx.execute("pragma defer_foreign_keys = on")
            for name in names:
                await tx.execute(f"delete from {name}")

        await database.write(work)
