"""Commands that ask a server: which one, with which token, and what is said when none answers."""

import asyncio
import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.api_client import Refused
from registry.cli import build_parser
from registry.config import Config, load
from registry.examples import every_command
from registry.server_url import parse_server_url
from registry.transport import remote
from storage.connect import open_database
from storage.database import Transaction
from storage.errors import Invalid
from tests.registry.canned import Canned, response
from tests.registry.command_line import Cli, CommandLine, refusal, start_anew, token_file
from tests.registry.processes import PACKHOUSE, PATIENCE, Server, environment
from tests.registry.terminal import CTRL_C, Terminal

PASSWORD = "a long password\n"
LOCAL = {
    "serve": "serves this machine's files",
    "config check": "reads this machine's configuration",
    "key rotate": "signing keys are no matter of tokens",
    "key list": "signing keys are no matter of tokens",
    "gc": "holds the lease of this machine's store; --dry-run asks",
    "fsck": "reads this machine's files",
    "backup": "writes this machine's files",
    "restore": "writes this machine's files",
    "doctor": "looks at this machine",
    "completion": "prints a script",
}
"""Commands that need the machine, each with its reason."""
LOGINS = {"login", "logout"}
"""Commands that ask a server, and no database."""

EVERY = {" ".join(words): parser for words, parser in every_command(build_parser())}


@pytest.mark.parametrize("words", EVERY)
def test_every_command_asks_the_api_or_needs_this_machine(words: str) -> None:
    asks = EVERY[words].get_default("ask") is not None
    assert asks != (words in LOCAL or words in LOGINS), "it asks, or says why it cannot"
    options = {option for action in EVERY[words]._actions for option in action.option_strings}
    assert not {"--token", "--password", "--insecure"} & options
    if asks:
        assert {"--url", "--token-file", "--ca"} <= options


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs, whose database each test begins anew."""
    with Server(tmp_path_factory.mktemp("served"), PACKHOUSE_WORKERS="1") as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for files of this test; logins are kept below it too."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("PACKHOUSE_URL", "PACKHOUSE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def bare(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command with no options but its own."""
    assert place
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def here(
    server: Server, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Cli:
    """Run a command on the server's database, beside it."""
    start_anew(Config(data=str(server.data)))
    return CommandLine(monkeypatch, capsys, "--data", server.data)


@pytest.fixture
def there(
    server: Server,
    here: Cli,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Cli:
    """Run a command on the server, with a token that may do everything."""
    file = token_file(here, place)
    return CommandLine(monkeypatch, capsys, "--url", server.url, "--token-file", file)


# Logins


def logins(place: Path) -> Path:
    return place / "config" / "packhouse" / "logins.json"


def test_a_login_makes_a_token_and_a_logout_ends_it(
    server: Server, here: Cli, bare: Cli, place: Path
) -> None:
    here("user", "password", "admin", "--password-stdin", stdin=PASSWORD)
    login = ("login", server.url + "/", "--user", "Admin", "--password-stdin")
    assert bare(*login, stdin=PASSWORD).err == f"signed in to {server.url} as admin\n"
    assert stat.S_IMODE(logins(place).stat().st_mode) == 0o600
    assert stat.S_IMODE(logins(place).parent.stat().st_mode) == 0o700
    kept = json.loads(logins(place).read_text())[server.url]
    (who,) = bare("whoami", "--url", server.url, "--json").json
    assert (who["name"], who["admin"], who["token"]) == ("admin", True, kept["id"])
    assert who["expires"] != ""
    bare(*login, stdin=PASSWORD)  # the second makes another, and ends the first
    again = json.loads(logins(place).read_text())[server.url]
    live = [token["id"] for token in here("token", "list", "--json").json if not token["revoked"]]
    assert live == [again["id"]]
    assert bare("logout").err == f"admin is signed out of {server.url}\n"
    assert json.loads(logins(place).read_text()) == {}
    assert all(token["revoked"] for token in here("token", "list", "--json").json)
    assert "sign in" in refusal(bare("whoami", "--url", server.url, status=1))
    assert "no login is kept" in refusal(bare("logout", server.url, status=1))
    assert "0 logins are kept" in refusal(bare("logout", status=2))


def test_a_login_that_is_refused_keeps_nothing(
    server: Server, here: Cli, bare: Cli, place: Path
) -> None:
    login = ("login", server.url, "--user", "admin")
    wrong = refusal(bare(*login, "--password-stdin", stdin="wrong password\n", status=1))
    assert "wrong user name" in wrong
    assert "standard input holds no token" in refusal(
        bare("login", server.url, "--token-stdin", stdin="s3cret\n", status=2)
    )
    assert "--user" in refusal(bare("login", server.url, "--password-stdin", status=2))
    assert "--password-stdin" in refusal(bare(*login, status=2))
    assert not logins(place).exists()
    assert here("token", "list", "--json").json == []


def test_a_token_that_was_given_outlives_its_logout(
    server: Server, there: Cli, bare: Cli, place: Path
) -> None:
    token = (place / "token").read_text()
    bare("login", server.url, "--token-stdin", stdin=token)
    assert bare("whoami", "--url", server.url).out.startswith("admin\tuser\tyes\t")
    assert "goes on" in bare("logout").err
    assert there("whoami").out.startswith("admin\t")


def test_a_logout_forgets_even_if_the_server_is_gone(bare: Cli, place: Path, here: Cli) -> None:
    token, file = here("token", "create").out.strip(), logins(place)
    file.parent.mkdir(parents=True)
    with Canned() as gone:
        pass
    file.write_text(json.dumps({gone.url: {"user": "ada", "id": 7, "token": token}}))
    file.chmod(0o644)
    assert "others can read the tokens" in refusal(bare("logout", status=1))
    file.chmod(0o600)
    said = refusal(bare("logout", status=1))
    assert "forgotten here, but its token 7 goes on" in said
    assert token not in said
    assert json.loads(file.read_text()) == {}
    file.write_text("{")
    assert "is damaged" in refusal(bare("logout", status=1))


# Which server, which token


def test_the_environment_names_a_server_and_its_token(
    server: Server, there: Cli, bare: Cli, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there("org", "create", "acme")
    monkeypatch.setenv("PACKHOUSE_URL", server.url)
    monkeypatch.setenv("PACKHOUSE_TOKEN", (place / "token").read_text())
    assert bare("org", "list").out.startswith("acme\t")
    assert load(None, dict(os.environ), {}) is not None, "a server starts with them as well"
    with Canned(response("404 Not Found", "text/plain", "no")) as other:
        assert "is it one" in refusal(bare("org", "list", "--url", other.url, status=1))
        assert "uthorization" not in other.requests[0], "the token is for PACKHOUSE_URL"
    monkeypatch.setenv("PACKHOUSE_TOKEN", "phu_wrong")
    assert "PACKHOUSE_TOKEN holds no token" in refusal(bare("org", "list", status=2))
    assert bare("org", "list", "--data", server.data).out.startswith("acme\t"), "options win"


def test_options_that_contradict_each_other_are_refused(bare: Cli, place: Path) -> None:
    url = ("--url", "https://packages.example.com")
    assert "choose" in refusal(bare("user", "list", *url, "--data", place, status=2))
    assert "name it with --url" in refusal(bare("user", "list", "--ca", "ca.pem", status=2))
    for words in (("key", "list"), ("fsck",), ("serve",), ("backup", place), ("config", "check")):
        assert "run it there" in bare(*words, *url, status=2).err
    assert "run it there" in refusal(bare("gc", *url, status=2))
    missing = ("--token-file", place / "missing")
    assert "No such file" in refusal(bare("user", "list", *url, *missing, status=2))
    (place / "key").write_bytes(b"-----BEGIN \xff")
    secret = ("--token-file", place / "key")
    assert "holds no token" in refusal(bare("user", "list", *url, *secret, status=2))


@pytest.mark.parametrize(
    "url", ["", "example.com", "ftp://x", "https://", "https://x/path", "https://x?y", "http://x:0"]
)
def test_what_is_no_url_of_a_server_is_refused(bare: Cli, url: str) -> None:
    if url:
        assert "is no URL of a server" in refusal(bare("whoami", f"--url={url}", status=2))
    with pytest.raises(Invalid):
        parse_server_url(url)
    with pytest.raises(Invalid, match="no user and no password"):
        parse_server_url("https://ada:secret@example.com")


def test_a_url_has_one_spelling() -> None:
    for text in ("HTTPS://Example.COM", "https://example.com:443/", "https://example.com."):
        assert parse_server_url(text).url == "https://example.com"
    assert parse_server_url("http://[::1]:5000").url == "http://[::1]:5000"
    assert parse_server_url("http://[::1]:5000").loopback
    assert parse_server_url("http://127.0.0.1").loopback
    assert not parse_server_url("http://127.0.0.1.example.com").loopback


def test_a_token_that_others_could_read_on_the_way_is_warned_of(bare: Cli) -> None:
    done = bare("whoami", "--url", "http://packhouse.invalid", status=1)
    first, second = done.err.splitlines()
    assert "is without TLS" in first
    assert "does not answer" in second


def test_a_token_that_may_not_or_has_ended_is_told_so(
    server: Server, here: Cli, there: Cli, bare: Cli, place: Path
) -> None:
    file = place / "reading"
    made = here("token", "create", "--scope", "read", "--json").json
    file.write_text(made["token"])
    reading = ("--url", server.url, "--token-file", file)
    assert bare("whoami", *reading).out.startswith("admin\t")
    assert "scope" in refusal(bare("org", "create", "acme", *reading, status=1))
    there("token", "revoke", made["id"])
    assert "revoked" in refusal(bare("whoami", *reading, status=1))


def test_a_token_that_has_expired_is_told_so(server: Server, there: Cli) -> None:
    async def end() -> None:
        async with await open_database("", server.data) as database:
            await database.write(lambda tx: tx.execute("update tokens set expires_at = 1"))

    asyncio.run(end())
    assert "expired" in refusal(there("whoami", status=1))


# Names


@pytest.mark.parametrize(
    "words",
    [
        ("user", "disable", ".."),
        ("user", "disable", ""),
        ("user", "disable", "a/b"),
        ("user", "disable", "\udcff"),
        ("user", "disable", "x" * 70_000),
        ("org", "remove", "admin", ".."),
        ("team", "show", "acme/a/b"),
        ("package", "show", "acme/x%2Fversions"),
        ("package", "delete", "acme/../admin/x"),
        ("package", "delete", "acme/x", "--tag", "a/b"),
        ("project", "rename", "acme/..", "x"),
        ("grant", "acme", "a//b", "read"),
        ("token", "revoke", "0"),
        ("why", "sha256:../x"),
        ("package", "list", "--project", "\x1b[31m"),
        ("search", "\x00"),
    ],
    ids=repr,
)
def test_a_hostile_name_reaches_nothing_and_is_refused_in_one_line(
    there: Cli, words: tuple[str, ...]
) -> None:
    before = there("audit").out
    done = there(*words, status=2)
    assert refusal(done).isprintable()
    assert there("audit").out == before


def test_an_encoded_slash_reaches_the_package_it_names(there: Cli, here: Cli) -> None:
    for cli in (there, here):
        assert "admin/x/tags" in refusal(cli("package", "show", "admin/x/tags", status=1))


# Long lists


async def _fill(server: Server, count: int) -> None:
    async def work(tx: Transaction) -> None:
        for number in range(count):
            await tx.execute(
                "insert into packages (owner_id, format, name, repository, created_at) "
                "select id, 'container', $1, 'admin/' || $1, 1 from accounts where name = 'admin'",
                f"p{number:04}",
            )

    async with await open_database("", server.data) as database:
        await database.write(work)


@pytest.fixture
def many(server: Server, here: Cli) -> list[str]:
    assert here
    asyncio.run(_fill(server, 3000))
    return [f"admin/p{number:04}" for number in range(3000)]


def test_three_thousand_packages_come_page_by_page(there: Cli, here: Cli, many: list[str]) -> None:
    for cli in (there, here):
        assert [one["repository"] for one in cli("package", "list", "--json").json] == many


def test_a_reader_that_has_seen_enough_is_no_error(
    server: Server, there: Cli, place: Path, many: list[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    asking = ("--url", server.url, "--token-file", place / "token")
    done = subprocess.run(
        [PACKHOUSE, "package", "list", "--json", *asking],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(),
        timeout=PATIENCE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


# Servers that are none


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (response("404 Not Found", "application/json", '{"errors": []}'), "is it one"),
        (response("502 Bad Gateway", "text/html", "<h1>no</h1>"), "answered 502"),
        (response("200 OK", "text/html", "<h1>hello</h1>"), "of another version"),
        (response("200 OK", "application/json", "{}"), "of another version"),
        (response("302 Found", "text/plain", "", "Location: https://x/"), "(https://x/"),
        (
            response(
                "404 Not Found",
                "application/problem+json",
                json.dumps(
                    {"type": "", "title": "", "status": 404, "code": "no-such-path"}
                    | {"detail": "x", "request_id": ""}
                ),
            ),
            "older than this command",
        ),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "does not answer"),
    ],
    ids=["old", "proxy", "page", "other", "redirect", "older", "ssh"],
)
def test_what_is_no_packhouse_is_told_in_one_line(bare: Cli, answer: bytes, words: str) -> None:
    with Canned(answer) as server:
        said = refusal(bare("whoami", "--url", server.url, status=1))
        assert words in said
        assert said.isprintable()


def test_a_server_that_is_gone_is_told_in_one_line(bare: Cli) -> None:
    with Canned() as server:
        pass
    said = refusal(bare("whoami", "--url", server.url, status=1))
    assert said.startswith(f"{server.url} does not answer: ")
    assert "refused" in said.lower() or "failed" in said.lower()


async def test_a_server_that_is_silent_is_given_up() -> None:
    with Canned() as server:
        async with remote(parse_server_url(server.url), patience=0.2) as api:
            with pytest.raises(Refused, match="nothing came from there in time"):
                await api.tell("GET", "/api/v1/user")


def test_ctrl_c_ends_a_command_that_waits_for_a_server(place: Path) -> None:
    with Canned() as server, Terminal([PACKHOUSE, "whoami", "--url", server.url]) as terminal:
        server.wait_until_asked(PATIENCE)
        terminal.press(CTRL_C)
        assert terminal.end() == 130
        assert terminal.text.strip() in ("", "^C")


def test_a_server_s_own_authority_is_named_and_kept(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = place / "data"
    with Server(data, "--tls", "self-signed", PACKHOUSE_WORKERS="1") as server:
        here = CommandLine(monkeypatch, capsys, "--data", data)
        here("user", "password", "admin", "--password-stdin", stdin=PASSWORD)
        bare = CommandLine(monkeypatch, capsys)
        asked = ("whoami", "--url", server.url)
        assert "--ca FILE names its authority" in refusal(bare(*asked, status=1))
        ca = data / "tls" / "ca.pem"
        login = ("login", server.url, "--user", "admin", "--password-stdin", "--ca", ca)
        bare(*login, stdin=PASSWORD)
        assert bare(*asked).out.startswith("admin\t")
        empty = place / "empty.pem"
        empty.write_text("")
        assert "holds no certificate" in refusal(bare(*asked, "--ca", empty, status=2))
        assert "cannot read" in refusal(bare(*asked, "--ca", place / "missing", status=2))
