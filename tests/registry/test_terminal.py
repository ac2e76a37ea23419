"""The command line on a terminal, in a pipe and for a program: one rule for all commands."""

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from auth.audit import OPERATOR
from auth.identities import INSERT_IDENTITY
from auth.principals import Scope
from registry.app import open_services
from registry.cli import build_parser, main
from registry.config import Config
from registry.examples import EXAMPLES, every_command
from registry.progress import Progress
from storage.clock import now
from tests.registry.client import OCI_MANIFEST, digest_of, image_manifest
from tests.registry.processes import PACKHOUSE, PATIENCE, Server, environment, run
from tests.registry.terminal import CTRL_C, Terminal, heed_interrupts

APP = "admin/app"
MADE = [
    "org create acme --owner admin",
    "team create acme/devs",
    "team add acme/devs admin",
    "project create acme/widget",
    "project source acme/widget --add https://git.example.com/acme/widget",
    "org create before --owner admin",
    "owner rename before after",
]
LAYER = os.urandom(3 * 1024 * 1024)
HOSTILE = "\x1b[31mred\x07\tand\na line"
COLOUR = re.compile(r"\x1b\[[0-9;]*\b(3[0-7]|38|9[0-7])\b")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with something for every list, and a token whose name is hostile."""
    data = tmp_path_factory.mktemp("terminal") / "data"
    with Server(data, PACKHOUSE_WORKERS="1") as server, server.client() as client:
        for content in (LAYER, b"{}"):
            begun = client.post(f"/v2/{APP}/blobs/uploads/").headers["Location"]
            joint = "&" if "?" in begun else "?"
            url = f"{begun}{joint}digest={digest_of(content)}"
            assert client.put(url, content=content).status_code == 201
        manifest = json.dumps(image_manifest(b"{}", LAYER)).encode()
        for tag in ("v1", "v2", "v3"):
            done = client.put(
                f"/v2/{APP}/manifests/{tag}",
                content=manifest,
                headers={"Content-Type": OCI_MANIFEST},
            )
            assert done.status_code == 201
    asyncio.run(_keep_more(data))
    data.with_name("packhouse.yaml").write_text("public_url: https://packages.example.com")
    for tag in ("v2", "v3"):
        here(data, "package", "delete", APP, "--tag", tag)
    for words in MADE:
        here(data, *words.split())
    return data


async def _keep_more(data: Path) -> None:
    """Make an identity, and a token with a name that is no longer taken, but may be there."""
    async with open_services(Config(data=str(data))) as services:
        admin = await services.accounts.get("admin")
        await services.tokens.create(OPERATOR, admin.id, "user", HOSTILE, Scope.READ, None)
        linked = (INSERT_IDENTITY, "https://login.example.com", "8f3a2c", admin.id, now())
        await services.database.write(lambda tx: tx.fetch_one(*linked))


def here(data: Path, *words: str) -> str:
    """Run a command in this process, as into a pipe; return what it printed."""
    with redirect_stdout(StringIO()) as printed:
        assert main([*words, "--data", str(data)]) == 0
    return printed.getvalue()


def command(data: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return run(*words, "--data", data, PACKHOUSE_RESERVE_BYTES="0")


def on_terminal(
    data: Path, *words: object, columns: int = 120, status: int = 0, **settings: str
) -> Terminal:
    """Run a command to its end on a terminal."""
    line = [PACKHOUSE, *words, "--data", data]
    settings["PACKHOUSE_RESERVE_BYTES"] = "0"
    with Terminal(line, columns=columns, **settings) as terminal:
        assert terminal.end() == status, terminal.text
    assert "Traceback" not in terminal.text
    return terminal


# Lists

USERS = ["NAME", "KIND", "ADMIN", "DISABLED", "CREATED"]
LISTS = {
    "user list": USERS,
    "user show admin": USERS,
    "user identities admin": ["ISSUER", "SUBJECT", "LINKED", "LAST USED"],
    "org list": ["NAME", "PACKAGES", "CREATED"],
    "org members acme": ["USER", "ROLE"],
    "team list acme": ["TEAM", "MEMBERS", "CREATED"],
    "owner names after": ["NAME", "UNTIL"],
    "grants acme": ["ACCOUNT", "KIND", "ROLE"],
    "token list": [
        *("ID", "KIND", "NAME", "SCOPES", "LIMITS", "CREATED", "EXPIRES", "REVOKED", "USED")
    ],
    "project list acme": ["PROJECT", "VISIBILITY", "CREATED"],
    "project source acme/widget": ["SOURCE"],
    "package list": [
        *("REPOSITORY", "FORMAT", "VISIBILITY", "PROJECT", "UNCONFIRMED", "CREATED", "NAME")
    ],
    f"package versions {APP}": [
        *("DIGEST", "TAGS", "TYPE", "SIZE", "BY", "CREATED", "DELETED", "VERSION")
    ],
    f"package history {APP}": ["TAG", "DIGEST", "BY", "AT"],
    f"package install {APP}": ["CLIENT", "LINE"],
    f"package deletions {APP}": [
        *("DELETION", "WHAT", "BY", "DELETED", "RESTORABLE UNTIL", "MANIFESTS", "TAGS")
    ],
    "search app": ["REPOSITORY", "FORMAT", "VISIBILITY", "PROJECT", "TITLE", "DESCRIPTION"],
    "audit": [
        *("ID", "AT", "ACCOUNT", "TOKEN", "ADDRESS", "DID", "OWNER", "TO", "RESULT", "DETAIL"),
        *("TIMES", "REQUEST"),
    ],
    "key list": ["ID", "PURPOSE", "CREATED", "ENDS"],
}
OTHERS = {
    *("package show", "team show", "token create", "why", "whoami"),
    *("gc", "fsck", "backup", "restore", "doctor"),
}
"""Commands that print one record, or records of several kinds; or nothing, as gc does here."""


@pytest.fixture(params=LISTS)
def listing(request: pytest.FixtureRequest) -> str:
    words: str = request.param
    return words


def test_a_list_is_a_table_a_record_a_line_or_one_document(data: Path, listing: str) -> None:
    words = [*listing.split(), "--config", str(data.with_name("packhouse.yaml"))]
    heading, *lines = on_terminal(data, *words, columns=400).lines
    assert re.split(r" {2,}", heading) == LISTS[listing]
    records = [line.split("\t") for line in here(data, *words).splitlines()]
    assert {len(record) for record in records} == {len(LISTS[listing])}
    document = documents(here(data, *words, "--json"), a_line=listing == "audit")
    assert {len(row) for row in document} == {len(LISTS[listing])}
    assert len(lines) == len(records) == len(document) > 0
    for line, record in zip(lines, records, strict=True):
        assert all(value in line for value in record)
        assert record[0] == re.split(r" {2,}", line.strip())[0]


def documents(text: str, *, a_line: bool) -> list[Any]:
    """Read one document that is a list, or a document a line: the audit is too long for one."""
    found: list[Any] = [json.loads(line) for line in text.splitlines()]
    if a_line:
        return found
    [rows] = found
    assert isinstance(rows, list)
    return rows


def test_every_command_that_can_print_json_is_looked_at() -> None:
    commands = {" ".join(words): parser for words, parser in every_command(build_parser())}
    able = {name for name, parser in commands.items() if "--json" in parser.format_help()}
    lists = {name for name in able if any(words.startswith(name) for words in LISTS)}
    assert lists.isdisjoint(OTHERS)
    assert lists | OTHERS == able


def test_what_a_client_named_cannot_move_the_cursor_or_end_a_field(data: Path) -> None:
    shown = r"\x1b[31mred\x07\tand\na line"
    (record,) = [
        line for line in command(data, "token", "list").stdout.splitlines() if "red" in line
    ]
    assert record.split("\t")[2] == shown
    terminal = on_terminal(data, "token", "list", columns=200)
    assert shown in terminal.text
    assert "\x07" not in terminal.drawn
    assert "\x1b[31m" not in terminal.drawn
    names = [token["name"] for token in json.loads(command(data, "token", "list", "--json").stdout)]
    assert HOSTILE in names


def test_a_narrow_terminal_folds_a_table_and_hides_nothing(data: Path) -> None:
    digest = command(data, "package", "show", APP).stdout.splitlines()[1].split("\t")[2]
    terminal = on_terminal(data, "package", "show", APP, columns=50)
    assert max(map(len, terminal.lines)) <= 50
    heading = next(line for line in terminal.lines if line.startswith("TAG"))
    start, end = heading.index("DIGEST"), heading.index("UPDATED")
    below = terminal.lines[terminal.lines.index(heading) + 1 :]
    assert "".join(line[start:end].strip() for line in below) == digest


def test_no_color_and_dumb_terminals_are_respected(data: Path, tmp_path: Path) -> None:
    backup = ("backup", tmp_path / "coloured")
    assert COLOUR.search(on_terminal(data, *backup).drawn)
    plain = on_terminal(data, "backup", tmp_path / "plain", NO_COLOR="1")
    assert not COLOUR.search(plain.drawn)
    assert "100 %" in plain.text
    for words in (["user", "list"], ["backup", tmp_path / "dumb"]):
        assert "\x1b" not in on_terminal(data, *words, TERM="dumb").drawn


def test_a_package_s_own_record_and_its_tags_are_told_apart_in_a_pipe(data: Path) -> None:
    package, tag = (
        line.split("\t") for line in command(data, "package", "show", APP).stdout.splitlines()
    )
    assert package[:3] == ["package", APP, "container"]
    assert tag[:2] == ["tag", "v1"]


def test_why_is_sentences_for_a_person_and_records_for_a_script(data: Path) -> None:
    digest = digest_of(LAYER)
    subject, *facts = on_terminal(data, "why", digest, columns=300).lines
    assert subject == digest
    records = [line.split("\t") for line in command(data, "why", digest).stdout.splitlines()]
    assert [f"  {record[3]}" for record in records] == facts
    unknown = command(data, "why", digest_of(b"?"))
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("packhouse: nothing here knows sha256:")


def test_a_token_s_text_comes_with_its_id_as_json(data: Path) -> None:
    made = json.loads(command(data, "token", "create", "--expires", "1h", "--json").stdout)
    assert made["token"].startswith("phu_")
    assert command(data, "token", "revoke", made["id"]).returncode == 0
    assert made["expires"].endswith("Z")


# Long work


def test_long_work_shows_a_bar_on_a_terminal_and_lines_in_a_log(data: Path, tmp_path: Path) -> None:
    place = tmp_path / "backup"
    for words in (("backup", place), ("fsck",)):
        assert re.search(
            rf"{words[0]} .*100 %.*3\.0 MiB of 3\.0 MiB", on_terminal(data, *words).text
        )
    assert "fsck: 100 % (3.0 MiB of 3.0 MiB)\n" in command(data, "fsck").stderr
    assert "backup: 100 % (3.0 MiB of 3.0 MiB)\n" in command(data, "backup", place).stderr
    restored = command(tmp_path / "one", "restore", place)
    assert "restore: 100 % (3.0 MiB of 3.0 MiB)\n" in restored.stderr
    assert "restore" in on_terminal(tmp_path / "two", "restore", place).text


def test_a_bar_is_one_line_on_a_narrow_terminal(data: Path) -> None:
    lines = [line for line in on_terminal(data, "fsck", columns=40).lines if line]
    assert any("100 %" in line for line in lines)
    assert {line[:4] for line in lines} == {"fsck"}


def test_purging_counts_manifests(data: Path, tmp_path: Path) -> None:
    place, other = tmp_path / "backup", tmp_path / "data"
    assert command(data, "backup", place).returncode == 0
    assert command(other, "restore", place).returncode == 0
    assert command(other, "package", "delete", APP).returncode == 0
    terminal = on_terminal(other, "package", "purge", APP)
    assert "1 of 1 manifests" in terminal.text
    assert "deletions purged" in terminal.text
    assert [file for file in (other / "blobs").rglob("*") if file.is_file()] == []


def test_progress_in_a_log_is_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    for total in (4 * 1024 * 1024, 3):
        with Progress("fsck", total, sys.stderr) as progress:
            for _ in range(4096):
                progress.advance(total // min(total, 4096))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "fsck: 10 % (410.0 KiB of 4.0 MiB)"
    assert lines[9:] == [
        "fsck: 100 % (4.0 MiB of 4.0 MiB)",
        "fsck: 33 % (1 bytes of 3 bytes)",
        "fsck: 66 % (2 bytes of 3 bytes)",
        "fsck: 100 % (3 bytes of 3 bytes)",
    ]


# Endings


@pytest.fixture
def slow(data: Path) -> Iterator[Terminal]:
    """fsck on a terminal, so slow that it does not end by itself."""
    words = ("fsck", "--rate", "1", "--data", data)
    with Terminal([PACKHOUSE, *words], PACKHOUSE_RESERVE_BYTES="0") as terminal:
        terminal.wait_for("of 3.0 MiB")
        yield terminal
    (data / "fsck.json").unlink(missing_ok=True)


@pytest.mark.parametrize("ending", ["Ctrl-C", "SIGTERM"])
def test_an_interrupted_command_ends_in_order(slow: Terminal, ending: str) -> None:
    if ending == "Ctrl-C":
        slow.press(CTRL_C)
    else:
        slow.process.send_signal(signal.SIGTERM)
    assert slow.end() == (130 if ending == "Ctrl-C" else 143)
    assert "Traceback" not in slow.text
    assert "fsck: interrupted; the same command goes on from here" in slow.text
    assert slow.drawn.rindex("\x1b[?25h") > slow.drawn.rindex("\x1b[?25l"), "the cursor is back"


def test_ctrl_c_is_quiet_while_the_program_is_still_being_read(tmp_path: Path) -> None:
    start = "from registry.program import main; raise SystemExit(main())"
    words = ("user", "create", "ada", "--password-stdin", "--data", tmp_path)
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-c", start, *words],
        stdin=subprocess.PIPE,  # says nothing: the command would not end by itself
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=heed_interrupts,  # noqa: PLW1509 - no threads run here
    ) as process:
        assert process.stderr is not None
        assert any("asyncio" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(PATIENCE) == 130
    assert "Traceback" not in said


def test_a_reader_that_has_seen_enough_ends_a_long_list(data: Path) -> None:
    line = f"{shlex.quote(str(PACKHOUSE))} user list --data {shlex.quote(str(data))} | head -n 0"
    done = subprocess.run(
        ["bash", "-c", line],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_place_that_cannot_be_written_is_named_without_a_traceback(data: Path) -> None:
    done = command(data, "backup", "/dev/null/backup")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("packhouse: /dev/null/backup: Not a directory\n")
    assert "Traceback" not in done.stderr


def test_workers_are_spared_what_only_the_command_line_needs(tmp_path: Path) -> None:
    with Server(tmp_path, PACKHOUSE_WORKERS="2", PYTHONPROFILEIMPORTTIME="1") as server:
        said = server.text
    for module, times in (
        ("uvicorn", 3),  # a supervisor and two workers
        ("registry.cli", 1),
        ("registry.backup", 1),
        ("rich", 0),  # nobody's terminal
        ("asyncpg", 0),  # the database is SQLite
        ("prometheus_client", 0),  # metrics are not configured
    ):
        assert len(re.findall(rf"\| +{re.escape(module)}\n", said)) == times, module


# Help


def test_every_command_has_an_example_that_the_parser_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands = [" ".join(words) for words, _ in every_command(build_parser())]
    assert sorted(commands) == sorted(EXAMPLES)
    for words, example in EXAMPLES.items():
        line = re.sub(r'^eval "\$\((.*)\)"$', r"\1", example).partition(" < ")[0]
        first, *arguments = shlex.split(line)
        assert first == "packhouse"
        assert " ".join(arguments).startswith(words)
        build_parser().parse_args(arguments)
        with pytest.raises(SystemExit):
            build_parser().parse_args([*words.split(), "--help"])
        assert capsys.readouterr().out.endswith(f"example:\n  {example}\n")
