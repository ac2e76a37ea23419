"""A certificate that was replaced is served without a restart; a bad one never is."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from tests.clients.server import make_certificate
from tests.registry.processes import PACKHOUSE, PATIENCE, Server, environment, wait_for_end


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A directory with the certificate that the server starts with."""
    place = tmp_path / "live"
    place.mkdir()
    make_certificate(place)
    return place


def new_pair(place: Path) -> Path:
    place.mkdir(parents=True)
    make_certificate(place)
    return place


def paths(live: Path) -> str:
    return f"{live / 'certificate.pem'},{live / 'key.pem'}"


def serial_in(place: Path) -> int:
    content = (place / "certificate.pem").read_bytes()
    return x509.load_pem_x509_certificate(content).serial_number


def connect(server: Server, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = version
    return context.wrap_socket(socket.create_connection(("127.0.0.1", server.port), PATIENCE))


def serial_of(connection: ssl.SSLSocket) -> int:
    der = connection.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def served(server: Server) -> int:
    with connect(server) as connection:
        return serial_of(connection)


def wait_until_served(server: Server, serial: int) -> None:
    """Return when every worker, as far as twenty connections tell, has the certificate."""
    deadline, row = time.monotonic() + PATIENCE, 0
    while row < 20:
        row = row + 1 if served(server) == serial else 0
        assert time.monotonic() < deadline, f"still another certificate:\n{server.text}"


def move_in(fresh: Path, live: Path) -> None:
    for name in ("key.pem", "certificate.pem"):
        (fresh / name).replace(live / name)


def test_sighup_brings_the_new_certificate_to_every_worker(data: Path, live: Path) -> None:
    with Server(data, "--workers", 2, "--tls", paths(live)) as server:
        workers, old = server.workers(), serial_in(live)
        assert served(server) == old
        server.process.send_signal(signal.SIGHUP)
        server.wait_for(f"the certificate is the one in use ({old:x}")
        move_in(new_pair(live / "fresh"), live)
        server.process.send_signal(signal.SIGHUP)
        wait_until_served(server, serial_in(live))
        server.wait_for(f"new connections get the certificate {serial_in(live):x}")
        with connect(server, ssl.TLSVersion.TLSv1_2) as older:
            assert (older.version(), serial_of(older)) == ("TLSv1.2", serial_in(live))
        assert server.workers() == workers


def test_links_that_turn_are_followed_without_a_signal(data: Path, tmp_path: Path) -> None:
    """Kubernetes swaps `..data`, a link to a directory, under links that never change."""
    mount, volume = tmp_path / "mount", "..data"
    first = new_pair(mount / "..2026_1")
    (mount / volume).symlink_to(first.name)
    for name in ("certificate.pem", "key.pem"):
        (mount / name).symlink_to(f"{volume}/{name}")
    with Server(data, "--workers", 1, "--tls", paths(mount)) as server:
        second = new_pair(mount / "..2026_2")
        (mount / "..data_tmp").symlink_to(second.name)
        (mount / "..data_tmp").rename(mount / volume)
        wait_until_served(server, serial_in(second))


def test_certbot_s_links_are_followed_without_a_signal(data: Path, tmp_path: Path) -> None:
    archive = [new_pair(tmp_path / "archive" / number) for number in "12"]
    live = tmp_path / "certbot"
    live.mkdir()
    for name in ("certificate.pem", "key.pem"):
        (live / name).symlink_to(archive[0] / name)
    with Server(data, "--workers", 1, "--tls", paths(live)) as server:
        for name in ("certificate.pem", "key.pem"):
            (live / name).unlink()
            (live / name).symlink_to(archive[1] / name)
        wait_until_served(server, serial_in(archive[1]))


def test_a_running_transfer_continues(data: Path, live: Path) -> None:
    with Server(data, "--workers", 1, "--tls", paths(live)) as server:
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=PATIENCE)
        connection.sock = connect(server)
        old, bearer = serial_in(live), {"Authorization": f"Bearer {server.token()}"}
        connection.request("POST", "/v2/admin/app/blobs/uploads/", headers=bearer)
        answer = connection.getresponse()
        answer.read()
        connection.putrequest("PATCH", answer.headers["Location"])
        for name, value in {**bearer, "Content-Length": "8"}.items():
            connection.putheader(name, value)
        connection.endheaders(b"half")
        move_in(new_pair(live / "fresh"), live)
        server.process.send_signal(signal.SIGHUP)
        wait_until_served(server, serial_in(live))
        connection.send(b"more")
        assert connection.getresponse().headers["Range"] == "0-7"
        assert serial_of(connection.sock) == old != serial_in(live)
        connection.close()


def other_key(live: Path, fresh: Path) -> str:
    (fresh / "key.pem").replace(live / "key.pem")
    return "does not belong to the certificate"


def half_written(live: Path, fresh: Path) -> str:
    content = (fresh / "certificate.pem").read_bytes()
    (live / "certificate.pem").write_bytes(content[: len(content) // 2])
    (fresh / "key.pem").replace(live / "key.pem")
    return "both PEM"


def gone(live: Path, fresh: Path) -> str:
    (live / "key.pem").unlink()
    return "No such file or directory"


@pytest.mark.parametrize("spoil", [other_key, half_written, gone])
def test_a_bad_pair_is_named_and_never_served(
    data: Path, live: Path, spoil: Callable[[Path, Path], str]
) -> None:
    old = serial_in(live)
    with Server(data, "--workers", 1, "--tls", paths(live)) as server:
        problem = spoil(live, new_pair(live / "fresh"))
        server.process.send_signal(signal.SIGHUP)
        line = server.wait_for(problem)
        assert " WARNING packhouse.tls " in line
        assert "stays in use" in line
        assert served(server) == old
        # A worker that takes another's place cannot read the files either.
        (worker,) = server.workers()
        os.kill(worker, signal.SIGKILL)
        wait_for_end([worker])
        server.wait_for(f"worker {worker} ended with")
        assert served(server) == old
        said = sum(problem in line for line in server.lines)
        move_in(new_pair(live / "good"), live)
        wait_until_served(server, serial_in(live))
        assert sum(problem in line for line in server.lines) == said
        assert "PRIVATE" not in server.text


def test_sighup_without_tls_changes_nothing(data: Path) -> None:
    with Server(data, "--workers", 1) as server:
        workers = server.workers()
        for pid in (server.pid, *workers):
            os.kill(pid, signal.SIGHUP)
        server.wait_for("no certificate file is served")
        assert server.get("/healthz").status_code == 200
        assert server.workers() == workers


CLOSE_A_TERMINAL = """
import os, pty, signal, sys
pid, terminal = pty.fork()
if not pid:
    # Not what this process came with: the tests may run under nohup themselves.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if sys.argv[1] == "nohup":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        del sys.argv[1]
    os.execvp(sys.argv[1], sys.argv[1:])
said = b""
while b"docker pull" not in said:
    said += os.read(terminal, 4096)
os.close(terminal)
if sys.argv[1] != "nohup":
    os.waitpid(pid, 0)
"""


def test_a_closed_terminal_ends_the_server(data: Path) -> None:
    command = [PACKHOUSE, "serve", "--data", data, "--port", "0", "--workers", "1"]
    settings = environment(PACKHOUSE_HOST="127.0.0.1")
    terminal = [sys.executable, "-c", CLOSE_A_TERMINAL]
    subprocess.run([*terminal, *command], env=settings, timeout=PATIENCE, check=True)
    assert not (data / "listening.json").exists()


def test_a_closed_terminal_leaves_a_server_alone_that_nohup_started(data: Path) -> None:
    command = ["nohup", PACKHOUSE, "serve", "--data", data, "--port", "0", "--workers", "1"]
    settings = environment(PACKHOUSE_HOST="127.0.0.1")
    terminal = [sys.executable, "-c", CLOSE_A_TERMINAL]
    subprocess.run([*terminal, *command], env=settings, timeout=PATIENCE, check=True)
    told = json.loads((data / "listening.json").read_text())
    try:
        os.kill(told["pid"], signal.SIGHUP)
        assert httpx.get(f"{told['urls'][0]}/healthz", timeout=PATIENCE).status_code == 200
    finally:
        os.kill(told["pid"], signal.SIGTERM)
        wait_for_end([told["pid"]])
    assert not (data / "listening.json").exists()
