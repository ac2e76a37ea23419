"""doctor looks at everything an operator can get wrong, and says so in one line each."""

import json
import os
import shutil
import signal
import socket
import sqlite3
from pathlib import Path

import pytest

from registry.doctor import compare_clocks
from storage.clock import SECOND, now
from tests.registry.processes import Server, run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a database."""
    place = tmp_path / "data"
    assert run("user", "list", "--data", place).returncode == 0
    return place


def doctor(place: Path, status: int, *options: object, **settings: str) -> dict[str, str]:
    """Run doctor; return by name its worst status with the message."""
    settings = {"PACKHOUSE_PORT": "0", "PACKHOUSE_RESERVE_BYTES": "0"} | settings
    done = run("doctor", "--data", place, "--json", *options, **settings)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    assert answer["ok"] is (status == 0)
    order = ["ok", "warn", "fail"]
    checks = sorted(answer["checks"], key=lambda check: order.index(check["status"]))
    return {check["name"]: f"{check['status']}: {check['message']}" for check in checks}


def sql(data: Path, *statements: str) -> None:
    connection = sqlite3.connect(data / "packhouse.db")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_sound_place_has_a_line_for_everything(data: Path) -> None:
    found = doctor(data, 0)
    names = ["configuration", "workers", "data directory", "file system", "free space", "port"]
    names += ["schema", "database", "signing keys", "clock", "clock of the file system"]
    for name in names:
        assert found[name].startswith("ok: "), found[name]
    assert found["SQLite"].startswith(
        "ok: " if sqlite3.sqlite_version_info >= (3, 51, 3) else "warn: "
    )


def test_lines_are_plain_in_a_pipe(data: Path) -> None:
    done = run("doctor", "--data", data, PACKHOUSE_PORT="0")
    assert "ok    configuration: " in done.stdout
    assert "\x1b" not in done.stdout


def test_nothing_there_yet_is_a_warning_and_stays_nothing(tmp_path: Path) -> None:
    place = tmp_path / "data"
    found = doctor(place, 0)
    assert "the first start makes it" in found["data directory"]
    assert "the first start makes it" in found["database"]
    assert not place.exists()


def test_a_wrong_configuration_fails(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "packhouse.yaml"
    file.write_text("prot: 1")
    found = doctor(data, 1, "--config", file)
    assert found["configuration"].startswith("fail: unknown configuration key 'prot'")
    assert "tls: cannot read" in doctor(data, 1, PACKHOUSE_TLS="a.pem,b.pem")["configuration"]


def test_rights_are_looked_at(data: Path) -> None:
    (data / "packhouse.db").chmod(0o644)
    data.chmod(0o750)
    found = doctor(data, 0)
    assert found["files"].startswith(f"warn: others may read {data / 'packhouse.db'}")
    assert found["data directory"].startswith("warn: others can read")
    data.chmod(0o770)
    assert doctor(data, 1)["data directory"].startswith("fail: others can write")


def test_too_little_space_fails(data: Path) -> None:
    found = doctor(data, 1, PACKHOUSE_RESERVE_BYTES=str(2**61))
    assert found["free space"].startswith("fail: ")


def test_too_many_workers_are_a_warning(data: Path) -> None:
    assert doctor(data, 0, PACKHOUSE_WORKERS="256")["workers"].startswith("warn: 256 on ")


def test_a_running_server_is_reached_and_a_taken_port_is_not_free(data: Path) -> None:
    with Server(data, "--workers", 1) as server:
        assert doctor(data, 0)["port"] == f"ok: process {server.pid} listens on {server.url}"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        found = doctor(data, 1, PACKHOUSE_PORT=port, PACKHOUSE_HOST="127.0.0.1")
    assert "is taken" in found["port"]


def test_the_address_of_metrics_is_looked_at(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        found = doctor(data, 1, PACKHOUSE_METRICS=taken)
    assert found["metrics"].startswith(
        f"fail: port {taken.rpartition(':')[2]} on 127.0.0.1 is taken"
    )
    assert found["port"].startswith("ok: ")
    assert doctor(data, 0, PACKHOUSE_METRICS="127.0.0.1:0")["metrics"].startswith("ok: ")
    with Server(data, "--workers", 1, PACKHOUSE_METRICS="127.0.0.1:0") as server:
        found = doctor(data, 0, PACKHOUSE_METRICS="127.0.0.1:0")
    assert found["metrics"].startswith(f"ok: process {server.pid} listens on http://127.0.0.1:")


def test_metrics_on_the_server_s_own_port_fail(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    place = {"PACKHOUSE_HOST": "127.0.0.1", "PACKHOUSE_PORT": port}
    found = doctor(data, 1, PACKHOUSE_METRICS=f"127.0.0.1:{port}", **place)
    assert found["port"].startswith("ok: ")
    assert "is taken" in found["metrics"]


def test_a_collector_that_is_not_there_is_a_warning(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as collector:
        place = f"127.0.0.1:{collector.getsockname()[1]}"
        found = doctor(data, 0, PACKHOUSE_TRACING=f"http://{place}")
        assert found["tracing"] == f"ok: something listens at {place}"
    found = doctor(data, 0, PACKHOUSE_TRACING=f"http://{place}/below")
    assert found["tracing"].startswith(f"warn: nothing listens at {place} (Connection refused)")
    assert doctor(data, 0, PACKHOUSE_TRACING="http://h:99999")["tracing"].startswith("warn: ")


def test_a_public_url_that_is_not_answered_for_fails(tmp_path: Path) -> None:
    names = {"PACKHOUSE_PUBLIC_URL": "https://Packages.example.com:8443"}
    found = doctor(tmp_path / "no", 1, PACKHOUSE_ALLOWED_HOSTS="localhost", **names)
    assert found["allowed_hosts"].startswith("fail: packages.example.com of public_url is not")
    both = "localhost,packages.example.com"
    found = doctor(tmp_path / "no", 0, PACKHOUSE_ALLOWED_HOSTS=both, **names)
    assert found["allowed_hosts"].startswith("ok: ")


def test_space_is_looked_at_before_the_first_start(tmp_path: Path) -> None:
    place = tmp_path / "not" / "there" / "yet"
    found = doctor(place, 1, PACKHOUSE_RESERVE_BYTES=str(2**61))
    assert found["free space"].startswith("fail: ")
    assert doctor(place, 0)["free space"].startswith("ok: ")


def test_what_a_killed_server_said_is_not_believed(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with Server(data, "--workers", 1) as server:
        shutil.copytree(data, copy)
        assert doctor(copy, 0)["port"].startswith("ok: no server runs")
        server.stop(signal.SIGKILL)
    told = json.loads((data / "listening.json").read_text())
    (data / "listening.json").write_text(json.dumps({**told, "pid": os.getpid()}))
    assert doctor(data, 0)["port"].startswith("ok: no server runs")


def test_a_clock_that_went_back_fails(data: Path) -> None:
    later = now() + 3600 * SECOND
    sql(data, f"insert into events (kind, created_at) values ('test', {later})")
    assert doctor(data, 1)["clock"].startswith("fail: ")


def test_keys_that_are_gone_fail(data: Path) -> None:
    sql(data, "delete from signing_keys where purpose = 'upload'")
    assert doctor(data, 1)["signing keys"] == "fail: no key to sign with: upload"


def test_a_schema_that_is_too_new_fails_and_an_old_one_is_a_warning(data: Path) -> None:
    sql(data, "update schema set version = 0, oldest_reader = 0")
    assert doctor(data, 0)["schema"].startswith("warn: version 0: the next start makes it ")
    sql(data, "update schema set version = 9001, oldest_reader = 9000")
    assert "needs a newer Packhouse" in doctor(data, 1)["schema"]


def test_a_damaged_database_fails(data: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(data, damaged)
    pages = bytearray((damaged / "packhouse.db").read_bytes())
    pages[8192 * 4 : 8192 * 5] = bytes(8192)
    (damaged / "packhouse.db").write_bytes(pages)
    assert doctor(damaged, 1)["database"].startswith("fail: ")
    (damaged / "packhouse.db").write_bytes(b"no database, for sure " * 1000)
    assert "file is not a database" in doctor(damaged, 1)["database"]


async def test_postgresql_is_looked_at(tmp_path: Path, postgres_url: str) -> None:
    place, settings = tmp_path / "data", {"PACKHOUSE_DATABASE": postgres_url}
    assert run("user", "list", "--data", place, **settings).returncode == 0
    found = doctor(place, 0, **settings)
    assert found["database"] == "ok: PostgreSQL answers"
    assert found["clock of the database"].startswith("ok: ")
    assert "SQLite" not in found
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://packhouse@127.0.0.1:{nobody.getsockname()[1]}/packhouse"
        found = doctor(place, 1, PACKHOUSE_DATABASE=url)
    assert found["database"].startswith("fail: PostgreSQL cannot be used")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (1000, "ok: it agrees"),
        (1000 - 4 * SECOND, "ok: it agrees"),
        (1000 - 30 * SECOND, "warn: 30.0 seconds behind ours"),
        (2000 + 30 * SECOND, "warn: 30.0 seconds ahead of ours"),
        (2000 + 61 * SECOND, "fail: 61.0 seconds ahead of ours"),
    ],
)
def test_another_clock_is_compared_with_ours(told: int, said: str) -> None:
    check = compare_clocks("database", told, before=1000, after=2000)
    assert f"{check.status}: {check.message}".startswith(said)
