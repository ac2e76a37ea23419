"""The command line: what goes to which stream, exit statuses, and messages that help."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.cli import build_parser, main
from registry.config import Config
from registry.examples import every_command
from tests.registry.command_line import (
    OWN_TOKEN,
    Cli,
    CommandLine,
    refusal,
    start_anew,
    token_file,
)
from tests.registry.processes import PACKHOUSE, PATIENCE, Server, environment, run

PASSWORD = "a long password\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def here(
    data: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Cli:
    """Run a command that needs this machine, on each database in turn."""
    monkeypatch.setenv("PACKHOUSE_DATABASE", database_url)
    monkeypatch.setenv("PACKHOUSE_RESERVE_BYTES", "0")
    return CommandLine(monkeypatch, capsys, "--data", data)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs, whose database each test begins anew."""
    with Server(tmp_path_factory.mktemp("served"), PACKHOUSE_WORKERS="1") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql", "served"])
def cli(
    data: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Cli:
    """Run a command on each database in turn, and then by a token on a server."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    if request.param != "served":
        url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
        monkeypatch.setenv("PACKHOUSE_DATABASE", url)
        monkeypatch.setenv("PACKHOUSE_RESERVE_BYTES", "0")
        return CommandLine(monkeypatch, capsys, "--data", data)
    server: Server = request.getfixturevalue("server")
    start_anew(Config(data=str(server.data)))
    file = token_file(CommandLine(monkeypatch, capsys, "--data", server.data), tmp_path)
    return CommandLine(monkeypatch, capsys, "--url", server.url, "--token-file", file)


def tokens(cli: Cli, *options: object) -> list[dict[str, Any]]:
    """The tokens of admin, but that which the test asks a server with."""
    listed = cli("token", "list", "--json", *options).json
    return [token for token in listed if token["name"] != OWN_TOKEN]


# People


def test_users_are_made_listed_and_switched_off(cli: Cli) -> None:
    done = cli("user", "create", "ada", "--password-stdin", stdin=PASSWORD)
    assert (done.out, done.err) == ("", "user ada made\n")
    cli("user", "create", "grace", "--admin", "--password-stdin", stdin=PASSWORD)
    cli("org", "create", "acme", "--owner", "ada")
    cli("user", "disable", "grace")
    listed = cli("user", "list", "--json").json
    assert [(it["name"], it["kind"], it["admin"], it["disabled"]) for it in listed] == [
        ("acme", "organization", False, False),
        ("ada", "user", False, False),
        ("admin", "user", True, False),
        ("grace", "user", True, True),
    ]
    lines = cli("user", "list").out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["acme", "ada", "admin", "grace"]
    cli("user", "enable", "grace")
    assert not any(it["disabled"] for it in cli("user", "list", "--json").json)


def test_a_user_that_cannot_be_made_is_told_why(cli: Cli) -> None:
    create = ("user", "create")
    cli(*create, "ada", "--password-stdin", stdin=PASSWORD)
    assert refusal(cli(*create, "ada", "--password-stdin", stdin=PASSWORD, status=1)) == (
        "the name 'ada' is taken"
    )
    assert "taken" in refusal(cli("org", "create", "ada", status=1))
    assert refusal(cli(*create, "bob", "--password-stdin", stdin="short\n", status=2)) == (
        "a password has at least 8 characters and at most 1024 bytes"
    )
    assert "at least 8 characters" in refusal(cli(*create, "bob", "--password-stdin", status=2))
    assert "--password-stdin" in refusal(cli(*create, "bob", status=2))
    for name in ("a.b", "-a", "a" * 40, "ünï", ""):
        done = cli(*create, name, "--password-stdin", stdin=PASSWORD, status=2)
        assert "argument" in done.err or refusal(done)
    assert [it["name"] for it in cli("user", "list", "--json").json] == ["ada", "admin"]


def test_a_user_may_be_called_like_the_operator(cli: Cli) -> None:
    cli("user", "create", "operator", "--admin", "--password-stdin", stdin=PASSWORD)
    cli("user", "password", "operator", "--password-stdin", stdin=PASSWORD)
    assert cli("user", "disable", "operator").err == "user operator disabled\n"
    assert (
        cli("user", "demote", "operator").err == "user operator is no administrator of the site\n"
    )
    (shown,) = cli("user", "show", "operator", "--json").json
    assert (shown["disabled"], shown["admin"]) == (True, False)


def test_an_unknown_user_is_named(cli: Cli) -> None:
    unknown = "there is no user named 'nobody'"
    for command in (("user", "disable", "nobody"), ("user", "enable", "nobody")):
        assert refusal(cli(*command, status=1)) == unknown
    password = ("user", "password", "nobody", "--password-stdin")
    assert refusal(cli(*password, stdin=PASSWORD, status=1)) == unknown
    assert refusal(cli("token", "create", "--user", "nobody", status=1)) == unknown
    assert refusal(cli("org", "create", "acme", "--owner", "nobody", status=1)) == unknown
    assert "'nobody'" in refusal(cli("token", "list", "--user", "nobody", status=1))
    assert "'nobody'" in refusal(cli("grant", "admin", "nobody", "read", status=1))


# Projects and roles


def test_projects_and_grants(cli: Cli) -> None:
    cli("org", "create", "acme")
    cli("user", "create", "ada", "--password-stdin", stdin=PASSWORD)
    cli("project", "create", "acme/widget", "--visibility", "internal")
    for resource in ("acme", "acme/widget"):
        for role in ("write", "read"):
            done = cli("grant", resource, "ada", role)
            assert (done.out, done.err) == ("", f"ada has the role {role} on {resource}\n")
        (listed,) = cli("grants", resource, "--json").json
        assert [listed[key] for key in ("account", "kind", "role")] == ["ada", "user", "read"]
        done = cli("grant", resource, "ada", "none")
        assert (done.out, done.err) == ("", f"ada has no role on {resource}\n")
        assert cli("grants", resource).out == ""


def test_an_owner_s_default_and_its_name(cli: Cli) -> None:
    cli("org", "create", "acme")
    assert cli("owner", "default-visibility", "acme").out == "private\n"
    done = cli("owner", "default-visibility", "acme", "internal")
    assert (done.out, done.err) == ("", "new packages of acme are internal\n")
    assert cli("owner", "default-visibility", "acme").out == "internal\n"
    done = cli("owner", "rename", "acme", "Globex")
    assert done.err == (
        "acme is globex now, with 0 packages; the old names answer pulls until 'packhouse owner "
        "release acme'\n"
    )
    assert [it["name"] for it in cli("owner", "names", "globex", "--json").json] == ["acme"]
    assert "kept for who had it before" in refusal(cli("org", "create", "acme", status=1))
    assert "it is globex now" in refusal(cli("owner", "rename", "acme", "x", status=1))
    done = cli("owner", "release", "acme")
    assert done.err == "acme is free; who had that name is globex\n"
    assert "not a name that" in refusal(cli("owner", "release", "acme", status=1))
    cli("org", "create", "acme")
    for command in (("rename", "nobody", "x"), ("names", "nobody"), ("default-visibility", "x")):
        assert "there is no user or organization named" in refusal(cli("owner", *command, status=1))


def test_a_project_or_grant_that_cannot_be_is_told_why(cli: Cli) -> None:
    cli("org", "create", "acme")
    cli("project", "create", "acme/widget")
    assert refusal(cli("project", "create", "acme/Widget", status=1))
    assert refusal(cli("project", "create", "nobody/widget", status=1))
    assert refusal(cli("project", "create", "acme", status=2))
    assert refusal(cli("grant", "acme/nothing", "admin", "read", status=1))
    assert refusal(cli("grant", "acme/nothing", "admin", "read", "--package", status=1))
    assert "no user, team or robot" in refusal(cli("grant", "acme", "acme", "read", status=1))
    assert "invalid choice" in cli("grant", "acme", "admin", "owner", status=2).err
    assert (
        "invalid choice"
        in cli("project", "create", "acme/x", "--visibility", "secret", status=2).err
    )


def test_a_project_s_sources_visibility_and_name(cli: Cli) -> None:
    url = "https://ada:secret@Git.example.com/acme/widget.git"
    cli("org", "create", "acme")
    assert "not a source URL" in refusal(
        cli("project", "create", "acme/widget", "--source", "here", status=2)
    )
    cli("project", "create", "acme/widget", "--source", url)
    listed = cli("project", "source", "acme/widget", "--add", "git@git.example.com:acme/w.git")
    assert listed.out.split() == ["git.example.com/acme/w", "git.example.com/acme/widget"]
    cli("project", "create", "acme/other")
    assert "of the project 'widget' already" in refusal(
        cli("project", "source", "acme/other", "--add", url, status=1)
    )
    cli("project", "source", "acme/widget", "--remove", url)
    assert "is no source of" in refusal(
        cli("project", "source", "acme/widget", "--remove", url, status=1)
    )
    done = cli("project", "visibility", "acme/widget", "public")
    assert done.err == "acme/widget is public, which changed 0 packages\n"
    assert "exists" in refusal(cli("project", "rename", "acme/widget", "OTHER", status=1))
    assert cli("project", "rename", "acme/widget", "Gadget").err.endswith("is acme/Gadget now\n")
    assert "acme/widget" in refusal(cli("project", "visibility", "acme/widget", "public", status=1))
    names = [
        (row["project"], row["visibility"]) for row in cli("project", "list", "acme", "--json").json
    ]
    assert names == [("acme/Gadget", "public"), ("acme/other", "private")]


# Tokens


def test_a_token_stands_alone_on_standard_output(cli: Cli) -> None:
    done = cli(
        "token", "create", "--name", "for a robot", "--scope", "read, delete", "--expires", "90s"
    )
    (token,) = done.out.splitlines()
    assert token.startswith("phu_")
    assert token not in done.err
    (listed,) = tokens(cli)
    assert (listed["name"], listed["scopes"]) == ("for a robot", "read,delete")
    assert listed["expires"] > listed["created"]
    assert listed["revoked"] == ""
    assert token not in cli("token", "list").out
    cli("token", "revoke", listed["id"])
    assert tokens(cli)[0]["revoked"] != ""


def test_a_token_lives_as_long_as_it_is_told(cli: Cli) -> None:
    for expires in ("36525d", "1h", "never"):
        cli("token", "create", "--expires", expires)
    assert [bool(it["expires"]) for it in tokens(cli)] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    "text", ["30", "d", "1w", "-1d", "1.5h", "", "9999999999d", "36526d", "٣d"]
)
def test_a_bad_duration_is_refused_with_examples(here: Cli, text: str) -> None:
    message = refusal(here("token", "create", f"--expires={text}", status=2))
    assert repr(text) in message
    assert "write 30d, 12h, 15m or 90s" in message or "write 'never'" in message
    assert tokens(here) == []


@pytest.mark.parametrize("text", ["", "push", "read,", "READ", "read write"])
def test_a_bad_scope_is_refused_with_the_words_there_are(here: Cli, text: str) -> None:
    message = refusal(here("token", "create", f"--scope={text}", status=2))
    assert "use read, write, delete, admin" in message


def test_a_token_that_is_not_there_cannot_be_revoked(cli: Cli) -> None:
    assert "packhouse token list" in refusal(cli("token", "revoke", 777, status=1))
    assert "not a number that a list shows" in refusal(cli("token", "revoke", 10**30, status=2))
    assert "invalid int value" in cli("token", "revoke", "mine", status=2).err


# Teams


def test_an_organization_its_members_and_its_teams(cli: Cli) -> None:
    for name in ("ada", "bob"):
        cli("user", "create", name, "--password-stdin", stdin=PASSWORD)
    cli("org", "create", "acme", "--owner", "ada")
    assert cli("org", "add", "acme", "bob").err == "bob is a member of acme\n"
    assert cli("org", "members", "acme").out == "ada\towner\nbob\tmember\n"
    assert "no owner" in refusal(cli("org", "remove", "acme", "ada", status=1))
    assert "write ORGANIZATION/TEAM" in refusal(cli("team", "create", "acme", status=2))
    cli("team", "create", "acme/devs")
    cli("team", "add", "acme/devs", "bob", "--maintainer")
    cli("project", "create", "acme/widget")
    cli("grant", "acme/widget", "acme/devs", "write")
    cli("grant", "acme", "acme/devs", "read")
    assert cli("team", "show", "acme/devs", "--json").json == {
        "team": "acme/devs",
        "members": [{"user": "bob", "role": "maintainer"}],
        "grants": [{"on": "acme", "role": "read"}, {"on": "acme/widget", "role": "write"}],
    }
    shown = "member\tbob\tmaintainer\ngrant\tacme\tread\ngrant\tacme/widget\twrite\n"
    assert cli("team", "show", "acme/devs").out == shown
    (listed,) = cli("team", "list", "acme", "--json").json
    assert (listed["team"], listed["members"]) == ("acme/devs", 1)
    cli("team", "remove", "acme/devs", "bob")
    assert cli("team", "show", "acme/devs").out == shown.partition("\n")[2]
    cli("org", "remove", "acme", "bob")
    assert cli("org", "members", "acme", "--json").json == [{"user": "ada", "role": "owner"}]
    cli("team", "delete", "acme/devs")
    assert cli("team", "list", "acme").out == ""
    assert "acme/devs" in refusal(cli("team", "show", "acme/devs", status=1))


def test_a_token_is_listed_with_what_bounds_it(cli: Cli) -> None:
    cli("org", "create", "acme")
    cli("project", "create", "acme/widget")
    create = ("token", "create", "--limit")
    cli(*create, "acme/widget", "--limit", "admin")
    (listed,) = tokens(cli)
    assert (listed["kind"], listed["limits"], listed["used"]) == ("user", "admin,acme/widget", "")
    assert "'nobody'" in refusal(cli(*create, "nobody", status=1))
    assert "acme/nothing" in refusal(cli(*create, "acme/nothing", status=1))
    assert "acme/app" in refusal(cli("token", "create", "--limit-package", "acme/app", status=1))
    assert len(tokens(cli)) == 1
    assert cli("token", "create", "--robot", "acme/widget").out.startswith("phr_")
    assert cli("token", "create", "--project", "acme/widget").out.startswith("phj_")
    for robot in ("--robot", "--project"):
        assert "OWNER/NAME" in refusal(cli("token", "create", robot, "", status=2))


# Keys


def test_keys_are_rotated_and_their_secrets_are_not_shown(here: Cli) -> None:
    before = here("key", "list", "--json").json
    assert {(it["purpose"], it["ends"]) for it in before} == {("bearer", ""), ("upload", "")}
    assert here("key", "rotate").err.startswith("new keys sign; the old ones verify until 2")
    listed = here("key", "list", "--json").json
    assert len(listed) == 4
    assert {it["id"] for it in listed if it["ends"]} == {it["id"] for it in before}
    assert here("key", "rotate", "--end-old").err == "new keys sign; the old ones have ended\n"
    after = here("key", "list", "--json").json
    assert len(after) == 2
    assert not {it["id"] for it in after} & {it["id"] for it in listed}
    assert set(after[0]) == {"id", "purpose", "created", "ends"}


# Packages


def test_packages_that_are_not_there(cli: Cli) -> None:
    assert cli("package", "list").out == ""
    assert cli("package", "list", "--json").json == []
    assert "admin/app" in refusal(cli("package", "show", "admin/app", status=1))
    assert "admin/app" in refusal(cli("package", "visibility", "admin/app", "public", status=1))
    for words in (("unlink",), ("rename", "admin/x"), ("transfer", "acme"), ("release",)):
        said = refusal(cli("package", words[0], "admin/app", *words[1:], status=1))
        assert "admin/app" in said
    assert "own owner only" in refusal(cli("package", "link", "admin/app", "acme/app", status=2))


# The program


def test_the_configuration_is_checked(here: Cli, tmp_path: Path) -> None:
    assert here("config", "check").out == "the configuration is good\n"
    file = tmp_path / "packhouse.yaml"
    file.write_text("prot: 5001\n")
    assert "unknown configuration key 'prot'" in refusal(
        here("config", "check", "--config", file, status=2)
    )
    file.write_text("tls: a.pem,b.pem\n")
    assert "cannot read a.pem" in refusal(here("config", "check", "--config", file, status=2))


def test_care_commands_refuse_what_they_cannot_use(here: Cli) -> None:
    assert "--rate" in here("fsck", "--rate", "0", status=2).err
    assert "--rate" in here("fsck", "--rate", "fast", status=2).err
    assert "DIR" in here("backup", status=2).err
    assert here("fsck", "--json").json["ok"] is True


COMMANDS = [words for words, _ in every_command(build_parser())]


def test_every_command_of_the_design_is_there() -> None:
    commands = {" ".join(words) for words in COMMANDS}
    for group, actions in {
        "user": "create list disable enable password",
        "org": "create members add remove",
        "team": "create delete list show add remove",
        "project": "create list rename source visibility",
        "token": "create list revoke",
        "key": "rotate list",
        "package": "list show visibility delete restore purge link unlink rename transfer release",
        "config": "check",
    }.items():
        assert {f"{group} {action}" for action in actions.split()} <= commands
    assert {"serve", "grant", "gc", "why", "fsck", "backup", "restore", "doctor"} <= commands
    assert "completion" in commands


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_and_takes_config_and_data(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: packhouse {' '.join(words)} ")
    if words not in (["completion"], ["login"], ["logout"]):  # which read neither
        assert "--config FILE" in shown
        assert "--data DIR" in shown


@pytest.mark.parametrize("words", [[], ["nonsense"], ["user"], ["token", "create", "--nonsense"]])
def test_wrong_words_show_the_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: packhouse")


def test_the_program_itself_keeps_streams_and_statuses_apart(data: Path) -> None:
    place = ("--data", data)
    made = run("user", "create", "ada", "--password-stdin", *place, stdin=PASSWORD)
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "user ada made\n")
    again = run("user", "create", "ada", "--password-stdin", *place, stdin=PASSWORD)
    assert (again.returncode, again.stderr) == (1, "packhouse: the name 'ada' is taken\n")
    assert run("user", "create", "bob", *place).returncode == 2
    assert run("nonsense").returncode == 2
    token = run("token", "create", "--user", "ada", *place)
    assert token.stdout.startswith("phu_")
    assert token.stdout.count("\n") == 1
    listed = run("user", "list", *place)
    assert "\x1b" not in listed.stdout
    assert listed.stdout.splitlines()[0].split("\t")[:2] == ["ada", "user"]


def test_a_password_that_is_not_text_is_refused(data: Path) -> None:
    done = subprocess.run(
        [PACKHOUSE, "user", "create", "ada", "--password-stdin", "--data", data],
        input=b"\xff\xfe not text\n",
        capture_output=True,
        env=environment(LC_ALL="C.UTF-8", PYTHONIOENCODING="utf-8:strict"),
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, b"packhouse: the password is not UTF-8 text\n")


def test_a_reader_that_has_seen_enough_is_no_error(data: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [PACKHOUSE, "user", "list", "--data", data]
    done = subprocess.run(
        command,
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(),
        timeout=PATIENCE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
