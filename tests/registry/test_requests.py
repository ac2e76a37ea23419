"""Every request has an id and a line; no secret reaches either."""

import json
import logging
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from auth.sessions import new_secret
from registry.protocol import GuardedProtocol
from tests.registry.client import Client, refused
from tests.registry.connected import connected, receive_all
from tests.registry.world import PASSWORD, World

Lines = Callable[[], list[str]]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Lines:
    """What was written since the last look, a line each."""
    caplog.set_level(logging.INFO, logger="packhouse.request")

    def read() -> list[str]:
        return capsys.readouterr().err.splitlines()

    return read


async def test_the_id_of_an_error_is_in_its_header_body_and_line(
    world: World, lines: Lines
) -> None:
    response = await world.client().get("/v2/acme/app/manifests/v1")
    error = refused(response, 404, "MANIFEST_UNKNOWN")
    line = json.loads(lines()[-1])
    assert error
    assert response.json()["request_id"] == response.headers["x-request-id"] == line["id"]
    wanted = {"method": "GET", "path": "/v2/acme/app/manifests/v1", "status": 404}
    assert line.items() >= {**wanted, "account": "writer", "bytes": len(response.content)}.items()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/npm", 404),
        ("GET", "/npm/@acme/none", 404),
        ("GET", "/api/v1/packages/none", 404),
        ("GET", "/api/v3/none", 404),
        ("GET", "/a//b", 400),
        ("DELETE", "/token", 405),
        ("GET", "/-/ui/nothing", 404),
        ("PUT", "/-/ui/sign-in", 405),
        ("POST", "/-/ui/sign-in", 400),
    ],
)
async def test_every_error_says_its_id(
    world: World, lines: Lines, method: str, path: str, status: int
) -> None:
    response = await world.client().raw(method, path)
    assert response.status_code == status
    assert response.headers["x-request-id"] in response.text
    assert json.loads(lines()[-1])["id"] == response.headers["x-request-id"]
    assert ("allow" in response.headers) is (status == 405)
    page = path.startswith("/-/ui")
    assert response.headers["content-type"].startswith("text/html") is page


async def test_a_page_that_shows_what_was_asked_for_says_no_id(world: World) -> None:
    response = await world.client("").get("/-/ui/sign-in")
    assert response.headers["x-request-id"] not in response.text


async def test_a_failure_of_the_site_says_its_id(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def rename(before: str, after: str) -> None:
        sql = f"alter table {before} rename to {after}"
        await world.services.database.write(lambda tx: tx.execute(sql))

    await rename("sessions", "elsewhere")
    cookie = {"Cookie": f"packhouse={new_secret()}"}
    response = await world.client("").get("/-/ui/", headers=cookie)
    await rename("elsewhere", "sessions")
    assert response.status_code == 500
    assert response.headers["x-request-id"] == response.json()["request_id"]
    assert f"request {response.headers['x-request-id']} failed" in caplog.text


@pytest.mark.parametrize(
    "head",
    [
        "BREW / HTTP/1.1",
        "GET / HTTP/1.1\r\nno colon",
        "GET / HTTP/1.1\r\nx: " + "x" * 70_000,
        "GET / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6",
    ],
    ids=["method", "header", "length of the head", "lengths of the body"],
)
async def test_what_is_no_request_has_an_id_and_a_line(lines: Lines, head: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("nothing was asked for")

    peer, ours = socket.socketpair()
    async with connected(app, peer, ours, GuardedProtocol):
        peer.setblocking(True)
        peer.sendall(f"{head}\r\n\r\n".encode())
        peer.setblocking(False)
        answer = await receive_all(peer)
    (line,) = [json.loads(text) for text in lines()]
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(line["id"].encode()) == 2
    assert f"\r\nx-request-id: {line['id']}\r\n".encode() in answer
    assert (line["status"], line["bytes"]) == (400, len(answer.partition(b"\r\n\r\n")[2]))


async def test_no_refusal_stands_among_the_bytes_of_an_answer(lines: Lines) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        length = [(b"content-length", b"9")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        peer.send(b"BREW / HTTP/1.1\r\n\r\n")
        while (await receive())["type"] != "http.disconnect":
            continue

    peer, ours = socket.socketpair()
    async with connected(app, peer, ours, GuardedProtocol):
        peer.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = await receive_all(peer)
    assert answer.endswith(b"\r\n\r\nhalf")
    assert json.loads(lines()[-1])["status"] == 400


async def test_an_id_from_the_client_is_kept_if_it_is_one(world: World) -> None:
    client = world.client()
    for given, kept in (("build-4711.step_2", True), ("short", False), ("a b c d e f g", False)):
        response = await client.get("/v2/", headers={"X-Request-Id": given})
        assert (response.headers["x-request-id"] == given) is kept


@pytest.mark.parametrize(
    "path",
    ["/npm/-/user/token/{}", "/auth/npm/-/user/token/{}/", "/npm/-/npm/v1/tokens/token/{}"],
)
async def test_a_token_that_npm_ends_by_its_path_reaches_no_line(
    world: World, lines: Lines, path: str
) -> None:
    token = await world.mint("writer")
    await world.client().delete(path.format(token))
    await world.client().delete(path.format(token.replace("_", "%5F")))
    written = lines()
    assert len(written) >= 2
    assert all(token[4:] not in line and "/token/" in line for line in written)


@pytest.mark.parametrize(
    "path",
    ["/npm/-/user//token/{}", "/npm/-/user%2ftoken/{}", "/npm/-/user/token%2F{}", "/npm/{}", "/{}"],
)
async def test_a_token_at_the_wrong_place_of_a_path_reaches_no_line(
    world: World, lines: Lines, path: str
) -> None:
    token = await world.mint("writer")
    for text in (token, token.replace("_", "%5F")):
        await world.client().delete(path.format(text))
    written = lines()
    assert len(written) == 2
    assert not any(token[6:] in line for line in written)


async def test_no_secret_reaches_a_line(world: World, lines: Lines) -> None:
    token = world.tokens["writer"]
    client = world.client()
    text = await client.token("repository:acme/app:pull,push")
    bearer = client.with_authorization(f"Bearer {text}")
    location = await bearer.start("acme/app")
    await bearer.put(location, params={"digest": "sha256:" + "0" * 64}, content=b"x")
    await world.client("").get("/token", params={"password": PASSWORD, "scope": token})
    await world.signed_in("writer").get("/token")
    written = lines()
    said = "\n".join(written)
    assert len(written) >= 5
    upload = location.rpartition("/")[2].partition("?")[0]
    for secret in (token, PASSWORD, upload, token[4:20], text):
        assert secret not in said


async def test_a_hostile_header_cannot_forge_a_line(world: World, lines: Lines) -> None:
    agent = 'x", "status": 200}\t\x1b[31m{"id": "forged'
    await world.client().get("/v2/", headers={"User-Agent": agent})
    line = lines()[-1]
    assert json.loads(line)["agent"] == agent
    assert "\x1b" not in line
    assert "\n" not in line


async def test_health_and_readiness_need_no_login(world: World) -> None:
    nobody: Client = world.client("")
    assert (await nobody.get("/healthz")).text == "ok\n"
    ready = await nobody.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"database": "ok"})
    await world.services.database.close()
    gone = await nobody.get("/readyz")
    assert (gone.status_code, gone.json()) == (503, {"database": "unavailable"})
    assert gone.headers["retry-after"] == "5"
    await world.restart()


async def test_a_sign_in_is_logged_with_its_account(world: World, lines: Lines) -> None:
    await world.signed_in("reader").get("/token")
    line = json.loads(lines()[-1])
    assert (line["path"], line["account"]) == ("/token", "reader")


async def test_nothing_is_guessed_about_what_the_site_answers(world: World) -> None:
    nobody = world.client("")
    for path in ("/", "/token", "/healthz", "/nothing", "/a//b"):
        headers = (await nobody.raw("GET", path)).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert "Authorization" in headers["vary"], path


async def test_a_log_that_cannot_be_written_fails_no_request(
    world: World, lines: Lines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert lines() == []
    closed = (tmp_path / "log").open("w")
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    assert (await world.client().get("/v2/")).status_code == 200
