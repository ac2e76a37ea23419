"""doctor takes the clients' way in; `/-/doctor` answers it, and nobody else."""

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest

from auth.signing_keys import SigningKeys
from registry.reflection import issue_pass
from storage.clock import SECOND, now
from storage.connect import open_database
from tests.registry.processes import PACKHOUSE, PATIENCE, Server, run
from tests.registry.terminal import Terminal


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("outside") / "data"
    with Server(data, "--workers", 1, PACKHOUSE_ALLOWED_HOSTS="127.0.0.1") as running:
        yield running


def doctor(server: Server, url: str, status: int, **settings: str) -> dict[str, str]:
    done = run("doctor", "--data", server.data, "--json", "--url", url, **settings)
    assert done.returncode == status, done.stdout + done.stderr
    checks = json.loads(done.stdout)["checks"]
    return {check["name"]: f"{check['status']}: {check['message']}" for check in checks}


async def make_pass(server: Server, at: int) -> str:
    async with await open_database("", server.data) as database:
        return issue_pass(await SigningKeys(database).current("bearer"), at)


def ask(server: Server, text: str) -> httpx.Response:
    return server.get("/-/doctor", headers={"Authorization": f"Bearer {text}"})


# The server's side


async def test_a_pass_shows_its_own_request_and_is_good_for_a_minute(server: Server) -> None:
    answer = ask(server, await make_pass(server, now()))
    assert answer.json() == {
        "doctor": {
            "scheme": "http",
            "host": server.url.partition("://")[2],
            "client": "127.0.0.1",
            "peer": "",
            "said": {},
        }
    }
    assert answer.headers["cache-control"] == "no-store"
    for moved in (-3600, 3600):
        assert ask(server, await make_pass(server, now() + moved * SECOND)).status_code == 401


async def test_nobody_else_is_answered(server: Server) -> None:
    token = server.token()
    bearer = server.get("/token", auth=("admin", token)).json()["token"]
    forged = jwt.encode({"aud": "packhouse doctor", "exp": now() // SECOND}, "k" * 32, "HS256")
    for text in ("x", "x.y.z", token, bearer, forged):
        answer = ask(server, text)
        assert answer.status_code == 401
        assert "only `packhouse doctor` is answered here" in answer.text
    assert server.get("/-/doctor").status_code == 401


async def test_the_pass_opens_nothing_else(server: Server) -> None:
    headers = {"Authorization": f"Bearer {await make_pass(server, now())}"}
    for path in ("/v2/", "/v2/_catalog", "/token"):
        assert server.get(path, headers=headers).status_code == 401


async def test_an_announced_body_is_not_waited_for(server: Server) -> None:
    text = await make_pass(server, now())
    head = f"POST /-/doctor HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {text}\r\n"
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as raw:
        raw.sendall(head.encode() + b"Content-Length: 20000000000\r\n\r\n")
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"doctor"' in answer


# doctor's side


def test_a_direct_way_in_is_good(server: Server) -> None:
    found = doctor(server, server.url, 0)
    assert found["public URL"] == f"ok: {server.url} leads here"
    assert found["proxy headers"] == f"ok: the server sees {server.url}, and 127.0.0.1 directly"
    assert found["claims of clients"].startswith("ok: ")
    assert found["large uploads"].startswith("ok: ")


def test_the_public_url_is_taken_and_needs_no_option(server: Server) -> None:
    done = run("doctor", "--data", server.data, PACKHOUSE_PUBLIC_URL=server.url)
    assert f"ok    public URL: {server.url} leads here" in done.stdout


def test_without_a_way_in_only_a_proxy_asks_for_one(server: Server) -> None:
    assert "public URL" not in run("doctor", "--data", server.data).stdout
    done = run("doctor", "--data", server.data, PACKHOUSE_TRUSTED_PROXIES="127.0.0.1")
    assert "warn  public URL: public_url is not set: --url" in done.stdout


def test_a_host_that_is_not_allowed_fails(server: Server) -> None:
    found = doctor(server, f"http://localhost:{server.port}", 1)
    assert "its host is not in allowed_hosts" in found["public URL"]


def test_nobody_there_fails_while_the_server_runs(server: Server) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        found = doctor(server, f"http://127.0.0.1:{nobody.getsockname()[1]}", 1)
    assert "Connection refused" in found["public URL"]


class Strange(http.server.BaseHTTPRequestHandler):
    """Something else that answers."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"doctor": "\xff' + b"x" * 100_000)

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def strange() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Strange) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{other.server_port}"
        finally:
            other.shutdown()
            thread.join()


def test_another_server_fails(server: Server) -> None:
    with strange() as url:
        found = doctor(server, url, 1)
    assert found["public URL"] == f"fail: {url} answers 200 without having asked this server"


def test_another_packhouse_fails(server: Server, tmp_path: Path) -> None:
    with Server(tmp_path / "data", "--workers", 1) as other:
        assert "another Packhouse" in doctor(server, other.url, 1)["public URL"]


def test_its_own_authority_is_trusted_and_an_unknown_one_is_a_warning(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server(data, "--workers", 1, "--tls", "self-signed") as secure:
        found = doctor(secure, secure.url, 0)
        assert found["public certificate"].startswith("ok: trusted, and good for 8")
        (data / "tls" / "ca.pem").rename(data / "tls" / "elsewhere.pem")
        found = doctor(secure, secure.url, 0)
        assert found["public certificate"].startswith("warn: ")
        assert found["large uploads"].startswith("ok: ")


@pytest.mark.parametrize("url", ["packages.example.com", "ftp://a", "https://a/registry", "http:"])
def test_a_url_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    done = run("doctor", "--data", tmp_path / "data", "--url", url)
    assert done.returncode == 2
    assert "such as https://packages.example.com" in done.stderr


def test_a_terminal_gets_a_table(tmp_path: Path) -> None:
    with Terminal([PACKHOUSE, "doctor", "--data", tmp_path / "data"]) as terminal:
        assert terminal.end() == 0
    assert "STATUS" in terminal.text
