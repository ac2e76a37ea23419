"""`packhouse serve`: the first start, the refusals, the workers, the end."""

import json
import os
import pty
import shlex
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests.clients.server import make_certificate
from tests.registry.processes import (
    PACKHOUSE,
    PATIENCE,
    Process,
    Server,
    environment,
    run,
    wait_for_end,
)

ROOT = Path(__file__).parents[2]
BIG = 32 * 1024 * 1024
"""Bytes: more than the buffers of two sockets hold."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def refused(*options: object, **settings: str) -> str:
    """Run `serve`, which must not start; return its one line."""
    done = run("serve", "--port", "0", *options, **{"PACKHOUSE_HOST": "127.0.0.1"} | settings)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("packhouse: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("packhouse: ").strip()


def sign_in(server: Server, password: str) -> httpx.Response:
    return server.get("/token", auth=("admin", password))


# The first start


def test_the_first_start_makes_one_admin_whose_password_is_in_a_file(data: Path) -> None:
    with Server(data, "--workers", 3) as server:
        listed = json.loads(run("user", "list", "--json", "--data", data).stdout)
        assert [(user["name"], user["admin"]) for user in listed] == [("admin", True)]
        secret = data / "first-login.txt"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        password = secret.read_text().strip()
        assert sign_in(server, "not the password").status_code == 401
        assert secret.exists()
        assert sign_in(server, password).status_code == 200
        assert not secret.exists()
    assert len(password) >= 20
    assert password not in server.text
    with Server(data) as server:
        assert "The first user" not in server.text
        assert sign_in(server, password).status_code == 200


def test_the_welcome_is_the_lines_to_type(data: Path) -> None:
    with Server(data) as server:
        secret, name = data / "first-login.txt", f"localhost:{server.port}"
        lines = [line.strip() for line in server.lines if line.startswith("  ")]
        assert lines == [
            f"docker login {name} --username admin --password-stdin < {secret}",
            f"docker tag alpine {name}/admin/alpine",
            f"docker push {name}/admin/alpine",
            f"docker pull {name}/admin/alpine",
        ]
        (cure,) = (line for line in server.lines if "user password admin" in line)
        command = shlex.split(cure.partition("packhouse ")[2].strip().rstrip(")"))
        done = run(*command, "--password-stdin", stdin="a password of my own\n")
        assert done.returncode == 0, done.stderr
        assert sign_in(server, "a password of my own").status_code == 200


def test_a_password_of_ones_own_ends_the_file_with_the_first_one(data: Path) -> None:
    assert run("user", "list", "--data", data).returncode == 0
    assert (data / "first-login.txt").exists()
    run("user", "password", "admin", "--password-stdin", "--data", data, stdin="a new password\n")
    assert not (data / "first-login.txt").exists()


def test_a_path_with_spaces_is_quoted_and_a_public_name_is_used(tmp_path: Path) -> None:
    data = tmp_path / "my data"
    with Server(data, PACKHOUSE_PUBLIC_URL="https://packages.example.com") as server:
        line = server.wait_for("docker login")
    assert line.strip() == (
        "docker login packages.example.com --username admin --password-stdin "
        f"< '{data}/first-login.txt'"
    )


def test_a_terminal_sees_the_first_password(data: Path) -> None:
    ours, theirs = pty.openpty()
    settings = environment(PACKHOUSE_HOST="127.0.0.1")
    command = [PACKHOUSE, "serve", "--data", data, "--port", "0", "--workers", "1"]
    with subprocess.Popen(command, stderr=theirs, env=settings) as process:
        os.close(theirs)
        shown = b""
        while b"docker pull" not in shown:
            shown += os.read(ours, 4096)
        process.terminate()
    os.close(ours)
    password = (data / "first-login.txt").read_text().strip()
    assert f"  password: {password}".encode() in shown


def test_commands_that_come_first_together_make_one_admin_with_a_password_that_works(
    data: Path,
) -> None:
    command = [PACKHOUSE, "user", "list", "--data", data]
    together = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment()) for _ in range(4)
    ]
    assert [process.wait(PATIENCE) for process in together] == [0, 0, 0, 0]
    with Server(data, "--workers", 1) as server:
        password = (data / "first-login.txt").read_text().strip()
        assert sign_in(server, password).status_code == 200


async def test_servers_that_start_together_on_one_postgresql_make_one_admin(
    postgres_url: str, tmp_path: Path
) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    settings = {"PACKHOUSE_DATABASE": postgres_url, "PACKHOUSE_WORKERS": "1"}
    first = Server(places[0], wait=False, **settings)
    with first, Server(places[1], **settings):
        first.wait_for("docker pull")
        secrets = [place / "first-login.txt" for place in places]
        (secret,) = (file for file in secrets if file.exists())
        assert sign_in(first, secret.read_text().strip()).status_code == 200
    connection = await asyncpg.connect(postgres_url)
    keys = await connection.fetch("select purpose from signing_keys order by purpose")
    await connection.close()
    assert [key["purpose"] for key in keys] == ["bearer", "upload"]


def test_everything_in_the_data_directory_is_its_owner_s_alone(data: Path) -> None:
    with Server(data) as server, server.client() as client:
        push(client, b"bytes of a blob")
        found = {path: stat.S_IMODE(path.lstat().st_mode) for path in [data, *data.rglob("*")]}
    names = {path.name for path in found}
    assert {"data", "packhouse.db", "packhouse.db-wal", "listening.json", "serve.lock"} <= names
    wrong = {
        str(path): oct(mode)
        for path, mode in found.items()
        if mode != (0o700 if path.is_dir() else 0o600)
    }
    assert wrong == {}


def push(client: httpx.Client, content: bytes) -> str:
    """Push a blob to admin/app and return its path."""
    import hashlib

    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = "/v2/admin/app/blobs/"
    done = client.post(f"{path}uploads/", params={"digest": digest}, content=content)
    assert done.status_code == 201, done.text
    return path + digest


# What stops a start


def test_a_data_directory_that_others_can_write_stops_the_start(data: Path) -> None:
    data.mkdir()
    data.chmod(0o770)
    assert refused("--data", data) == (
        f"others can write to the data directory {data}: chmod 700 it first"
    )
    data.chmod(0o755)
    with Server(data):
        assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_a_data_directory_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "data", Path("/proc/packhouse")):
        assert refused("--data", place).startswith(f"cannot write to the data directory {place}: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_data_directory_that_cannot_be_written_stops_the_start(data: Path) -> None:
    data.mkdir(mode=0o500)
    assert refused("--data", data) == (
        f"cannot write to the data directory {data}: Permission denied"
    )


def test_a_wrong_configuration_stops_the_start(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "packhouse.yaml"
    file.write_text("prot: 5001\n")
    place = ("--data", data)
    assert "unknown configuration key 'prot'" in refused("--config", file, *place)
    assert "unknown configuration key 'prot'" in refused(*place, PACKHOUSE_CONFIG=str(file))
    assert "option --workers is 'many'" in refused("--workers", "many", *place)
    assert "environment variable PACKHOUSE_LOG_LEVEL is 'loud'" in refused(
        *place, PACKHOUSE_LOG_LEVEL="loud"
    )
    assert "cannot read" in refused("--config", tmp_path / "missing.yaml", *place)
    assert not data.exists()


def test_a_second_server_on_the_same_data_names_the_first(data: Path) -> None:
    with Server(data, "--workers", 1) as server:
        line = refused("--data", data)
        assert server.get("/").status_code == 200
    assert line == f"another server works on {data}: process {server.pid}; stop it first"


def test_a_taken_port_stops_the_start(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = refused("--data", data, "--port", port)
    assert line.startswith(f"port {port} on 127.0.0.1 is taken: ")
    assert not (data / "packhouse.db").exists()


def test_an_address_that_is_not_ours_stops_the_start(data: Path) -> None:
    assert "cannot listen on 192.0.2.1 port" in refused("--data", data, "--host", "192.0.2.1")
    assert "cannot listen on no.such.host.invalid" in refused(
        "--data", data, "--host", "no.such.host.invalid"
    )


def test_a_newer_schema_stops_the_start(data: Path) -> None:
    assert run("user", "list", "--data", data).returncode == 0
    with sqlite3.connect(data / "packhouse.db") as connection:
        connection.execute("update schema set version = 9001, oldest_reader = 9000")
    connection.close()
    line = refused("--data", data)
    assert "the database has schema 9001, which needs Packhouse with schema 9000" in line
    done = run("user", "list", "--data", data)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_damaged_database_stops_the_start(data: Path) -> None:
    data.mkdir(mode=0o700)
    (data / "packhouse.db").write_bytes(b"no database, for sure " * 1000)
    assert refused("--data", data) == (
        f"the database in {data} cannot be used (file is not a database): restore a backup"
    )


def test_a_database_that_cannot_be_reached_stops_the_start(data: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://packhouse@127.0.0.1:{nobody.getsockname()[1]}/packhouse"
        line = refused("--data", data, PACKHOUSE_DATABASE=url)
    assert line.startswith("PostgreSQL cannot be used: ")


def test_a_wrong_certificate_stops_the_start(data: Path, tmp_path: Path) -> None:
    pairs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pairs.append(make_certificate(tmp_path / name))
    (certificate, key), (_, another_key) = pairs
    place = ("--data", data)
    missing = tmp_path / "missing.pem"
    assert refused("--tls", f"{missing},{key}", *place) == (
        f"tls: cannot read {missing}: No such file or directory"
    )
    assert refused("--tls", f"{certificate},{another_key}", *place) == (
        f"tls: the key {another_key} does not belong to the certificate {certificate}"
    )
    assert "both PEM" in refused("--tls", f"{key},{key}", *place)
    assert "both PEM" in refused("--tls", f"{ROOT / 'pyproject.toml'},{key}", *place)
    assert "write CERT,KEY" in refused("--tls", certificate, *place)


# While it runs


def test_tls_is_served_with_the_certificate_given(data: Path, tmp_path: Path) -> None:
    import ssl

    certificate, key = make_certificate(tmp_path)
    with Server(data, "--tls", f"{certificate}, {key}") as server:
        assert server.url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(certificate))
        assert server.get("/v2/", verify=context).status_code == 401


def test_both_loopbacks_listen_on_one_port(data: Path) -> None:
    with Server(data, PACKHOUSE_HOST="127.0.0.1,::1") as server:
        urls = server.urls
        assert [httpx.get(url).status_code for url in urls] == [200] * len(urls)
    ports = {url.rpartition(":")[2] for url in urls}
    assert len(ports) == 1
    if has_ipv6():
        assert [url.rpartition(":")[0] for url in urls] == ["http://127.0.0.1", "http://[::1]"]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
def probe(data: Path) -> Iterator[str]:
    """The URL of a two-worker server that tells about its processes."""
    with Process([sys.executable, "-m", "tests.registry.probe", data, "2"]) as process:
        process.wait_for("ready")
        yield json.loads((data / "listening.json").read_text())["urls"][0]


def test_every_accepted_connection_has_nodelay_and_both_workers_answer(probe: str) -> None:
    seen = set()
    for _ in range(1000):
        answer = httpx.get(probe).json()
        assert answer["nodelay"] == 1
        seen.add(answer["pid"])
        if len(seen) == 2:
            return
    pytest.fail("one worker took 1,000 connections")


def test_commands_work_while_the_server_runs(data: Path) -> None:
    with Server(data) as server:
        made = run("user", "create", "ada", "--password-stdin", "--data", data, stdin="12345678\n")
        assert made.returncode == 0
        assert server.get("/token", auth=("ada", "12345678")).status_code == 200
        assert run("user", "disable", "ada", "--data", data).returncode == 0
        assert server.get("/token", auth=("ada", "12345678")).status_code == 401


def test_an_old_sqlite_is_warned_of_in_one_line(data: Path) -> None:
    with Server(data) as server:
        lines = [line for line in server.lines if "WARNING packhouse.startup SQLite" in line]
    assert len(lines) == (1 if sqlite3.sqlite_version_info < (3, 51, 3) else 0)


# How it ends


def test_a_killed_supervisor_takes_its_workers_along_and_the_next_start_works(data: Path) -> None:
    with Server(data, "--workers", 2) as server:
        workers, port = server.workers(), server.port
        with server.client() as client:
            path = push(client, b"acknowledged")
        assert len(workers) == 2
        server.process.kill()
        server.process.wait(PATIENCE)
        wait_for_end(workers)
    assert (data / "listening.json").exists()
    refused("--data", data, "--host", "192.0.2.1")
    assert not (data / "listening.json").exists(), "a start does not leave a dead server's word"
    with Server(data, port=port) as server, server.client() as client:
        assert server.port == port
        assert client.get(path).content == b"acknowledged"


def test_a_killed_worker_is_replaced_and_requests_are_answered_meanwhile(data: Path) -> None:
    with Server(data, "--workers", 2) as server:
        before = server.workers()
        os.kill(before[0], signal.SIGKILL)
        wait_for_end(before[:1])
        server.wait_for("ended with -9")
        for _ in range(20 * PATIENCE):
            assert server.get("/").status_code == 200
            if len(workers := server.workers()) == 2:
                break
            server.pause()
        assert len(workers) == 2
        assert before[1] in workers
        assert before[0] not in workers
        assert server.get("/").status_code == 200
        assert server.stop() == 0
    assert "Traceback" not in server.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0_and_nothing_left(data: Path, number: int) -> None:
    with Server(data) as server:
        workers = server.workers()
        assert server.stop(number) == 0
        wait_for_end(workers)
    assert not (data / "listening.json").exists()
    assert "Traceback" not in server.text


def test_ctrl_c_reaches_all_processes_and_is_no_error(data: Path) -> None:
    with Server(data) as server:
        for pid in (*server.workers(), server.pid):
            os.kill(pid, signal.SIGINT)
        assert server.process.wait(PATIENCE) == 0
    assert "Traceback" not in server.text


def test_a_running_download_ends_within_the_grace(data: Path) -> None:
    with Server(data, PACKHOUSE_GRACE_SECONDS="100") as server, server.client() as client:
        path = push(client, bytes(BIG))
        with client.stream("GET", path) as response:
            pieces = response.iter_raw(65536)
            size = len(next(pieces))
            url = server.url
            server.process.terminate()
            while listens(url):
                server.pause()
            size += sum(map(len, pieces))
        assert size == BIG
        assert server.process.wait(PATIENCE) == 0


def test_a_running_download_is_cut_after_the_grace(data: Path) -> None:
    with Server(data, PACKHOUSE_GRACE_SECONDS="1") as server, server.client() as client:
        path = push(client, bytes(BIG))
        with client.stream("GET", path) as response:
            pieces = response.iter_raw(65536)
            next(pieces)
            assert server.stop() == 0
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                list(pieces)
    assert "a running transfer was cut" in server.text
    assert "Traceback" not in server.text


def listens(url: str) -> bool:
    host, _, port = url.partition("://")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def test_a_stop_needs_no_file(data: Path) -> None:
    with Server(data) as server:
        workers = server.workers()
        said = data / "listening.json"
        said.unlink()
        said.mkdir()  # no error of a disk is as easily had
        assert server.stop() == 0
        wait_for_end(workers)
    assert "listening.json stays" in server.text
    assert "Traceback" not in server.text
