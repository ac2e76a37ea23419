"""No secret leaves in a log line, a metric, a span, an error, a URL or a list of processes."""

import base64
import json
import os
import re
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.formats.npm.hostile import publication
from tests.registry.client import (
    OCI_CONFIG,
    OCI_MANIFEST,
    basic,
    descriptor,
    digest_of,
    image_manifest,
)
from tests.registry.collector import Collector
from tests.registry.processes import PATIENCE, Server, run

PASSWORD, WRONG = "correct-horse-battery-staple", "incorrect-horse-battery-staple"
QUERY = "query-that-is-nobodys-business"
COOKIE = "cookie-that-is-nobodys-business"
STATE = "tracestate-that-is-nobodys-business"
PROVIDER = {
    "name": "corp",
    "issuer": "http://127.0.0.1:9",
    "client_id": "packhouse",
    "client_secret": "client-secret-that-is-nobodys-business",
}


@dataclass
class Secrets:
    """What was used, by what it is."""

    known: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    """The headers of what was answered, and the bodies of what was refused."""

    def keep(self, what: str, text: str) -> str:
        assert len(text) >= 12, what
        self.known[what] = text
        return text

    def listen(self, answer: httpx.Response) -> None:
        """Remember what an answer tells; where an upload goes on is for who began it."""
        answer.read()
        headers = dict(answer.headers)
        if "/blobs/uploads" in answer.request.url.path:
            headers.pop("location", None)
            headers.pop("docker-upload-uuid", None)
        self.told.append(f"{headers} {answer.text if answer.is_error else ''}")

    def found_in(self, text: str) -> list[str]:
        """Which secrets a text holds: as they are, their middle, or in base64."""
        found = []
        for what, secret in self.known.items():
            third = len(secret) // 3
            coded = base64.b64encode(secret.encode()).decode().rstrip("=")
            for form in (secret, secret[third : third + 12], coded):
                if form in text:
                    found.append(what)
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def sign_in(http: httpx.Client, secrets: Secrets) -> str:
    """Sign in in every way, right and wrong; return a bearer token."""
    where = {"service": "packhouse", "scope": "repository:admin/app:pull,push"}
    assert http.get("/token", params=where, auth=("admin", WRONG)).status_code == 401
    answer = http.get("/token", params=where, auth=("admin", PASSWORD))
    bearer = secrets.keep("bearer", answer.json()["token"])
    secrets.keep("signature of the bearer", bearer.rpartition(".")[2])
    token = secrets.known["token"]
    for credentials in (basic("admin", token), f"Bearer {token}", token, f"Bearer {bearer}"):
        assert http.get("/v2/", headers={"Authorization": credentials}).status_code == 200
    for credentials in (basic("admin", token[:-1]), f"Bearer {bearer[:-9]}", f"Digest {token}"):
        assert http.get("/v2/", headers={"Authorization": credentials}).status_code == 401
    make_token(http, secrets)
    return bearer


def make_token(http: httpx.Client, secrets: Secrets) -> None:
    """Make a token by a password, and fail to change that."""
    tokens, password = "/api/v1/users/admin/tokens", "/api/v1/users/admin/password"
    new = {"name": "ci", "scopes": ["read", "admin"]}
    made = http.post(tokens, json=new, auth=("admin", PASSWORD))
    assert made.status_code == 201
    token = secrets.keep("token of the API", made.json()["token"])
    for body in (
        {"password": WRONG, "old": WRONG},
        {"password": PASSWORD[:5]},
        {"password": [WRONG]},
    ):
        assert http.put(password, json=body, auth=("", token)).is_client_error


def npm_door(http: httpx.Client, secrets: Secrets) -> None:
    """Sign in, make tokens, publish and sign out as npm does, and fail to."""
    login, tokens = "/npm/-/user/org.couchdb.user:admin", "/npm/-/npm/v1/tokens"
    as_admin = {"Authorization": f"Bearer {secrets.known['token']}"}
    for password, status in ((WRONG, 401), (PASSWORD, 201)):
        given = {"name": "admin", "password": password}
        entered = http.put(login, json=given)
        made = http.post(tokens, json=given, headers=as_admin)
        assert (entered.status_code, made.status_code) == (status, status)
    entry = secrets.keep("token of npm's login", entered.json()["token"])
    token = secrets.keep("token made by npm", made.json()["token"])
    for status, secret in ((401, token[:-1]), (201, token), (403, token)):
        headers = {"Authorization": f"Bearer {secret}"}
        query = {"_authToken": secret}
        put = http.put("/npm/@acme%2fpad", json=publication(), headers=headers, params=query)
        assert put.status_code == status
    for path in (f"{tokens}/token/{token}", f"/npm/-/user/token/{entry}"):
        for wrong in (path + "x", path.replace("/token/", "/token%2f"), path + "/"):
            assert http.delete(wrong, headers=as_admin).is_client_error
        assert http.delete(path, headers=as_admin).status_code == 200
    gone = {"Authorization": f"Bearer {entry}"}
    assert http.delete(f"/npm/-/user/token/{entry}", headers=gone).status_code == 401


def push(client: httpx.Client, secrets: Secrets) -> None:
    """Push an image by an upload of two chunks, and fail to."""
    blob = b"a layer"
    location = client.post("/v2/admin/app/blobs/uploads/").headers["location"]
    secrets.keep("upload id", location.rpartition("/")[2])
    assert client.patch(location, content=blob[:3]).status_code == 202
    wrong = client.patch(location, content=b"x", headers={"Content-Range": "9-9"})
    assert wrong.status_code == 416
    assert client.get(location + "x").status_code == 404
    done = client.put(location, params={"digest": digest_of(blob)}, content=blob[3:])
    assert done.status_code == 201
    other = client.post("/v2/admin/app/blobs/uploads/").headers["location"]
    secrets.keep("id of an upload that failed", other.rpartition("/")[2])
    assert client.put(other, params={"digest": digest_of(b"y")}, content=b"x").status_code == 400
    config = b"{}"
    where = {"digest": digest_of(config)}
    client.post("/v2/admin/app/blobs/uploads/", params=where, content=config)
    manifest = image_manifest(config, blob)
    manifest["config"] = descriptor(config, OCI_CONFIG)
    put = client.put(
        "/v2/admin/app/manifests/v1",
        content=json.dumps(manifest),
        headers={"Content-Type": OCI_MANIFEST},
    )
    assert put.status_code == 201
    assert client.get("/v2/admin/app/manifests/v1").status_code == 200
    assert client.get(f"/v2/admin/app/blobs/{digest_of(blob)}").content == blob


def go_wrong(server: Server, client: httpx.Client, secrets: Secrets) -> None:
    """Ask for what is not there, in ways that clients should not; end with failures of ours."""
    token = secrets.known["token"]
    headers = {
        "Cookie": secrets.keep("cookie", COOKIE),
        "tracestate": f"x={secrets.keep('tracestate', STATE)}",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    query = {"access_token": token, "q": secrets.keep("query", QUERY), "password": PASSWORD}
    for path in (
        *("/v2/admin/none/manifests/v1", "/v2/_catalog", "/token", "/nothing", "/v2//x"),
        *("/api/v1/user", "/api/v1/packages", "/api/v3/user", "/-/ui/sign-in"),
    ):
        for method in ("GET", "PUT", "DELETE", "OPTIONS"):
            client.request(method, path, params=query, headers=headers)
    with sqlite3.connect(server.data / "packhouse.db") as database:  # a damaged database: 5xx
        database.execute("alter table tags rename to tags_elsewhere")
    failed = client.get("/v2/admin/app/tags/list", params=query, headers=headers)
    database.close()
    assert failed.status_code >= 500


def command_line(pid: int) -> str:
    """What every user of the machine sees of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text()


def signing_keys(data: Path) -> Iterator[str]:
    database = sqlite3.connect(data / "packhouse.db")
    for (text,) in database.execute("select secret from signing_keys"):
        yield re.sub(r"-----[A-Z ]+-----|\n", "", text)
    database.close()


def test_no_secret_is_told_to_anybody(tmp_path: Path, collector: Collector) -> None:
    secrets, data = Secrets(), tmp_path / "data"
    settings = {
        "PACKHOUSE_LOG_LEVEL": "debug",
        "PACKHOUSE_METRICS": "127.0.0.1:0",
        "PACKHOUSE_TRACING": collector.url,
        "PACKHOUSE_GC_INTERVAL_SECONDS": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "PACKHOUSE_OPENID": json.dumps([PROVIDER]),
    }
    secrets.keep("secret of a provider", PROVIDER["client_secret"])
    with Server(data, "--workers", 2, **settings) as server:
        secrets.keep("first password", (data / "first-login.txt").read_text().strip())
        run("user", "password", "admin", "--data", data, "--password-stdin", stdin=PASSWORD)
        secrets.keep("password", PASSWORD)
        secrets.keep("wrong password", WRONG)
        secrets.keep("token", server.token())
        run("org", "create", "acme", "--owner", "admin", "--data", data)
        hooks = {"response": [secrets.listen]}
        options = {"base_url": server.url, "event_hooks": hooks, "timeout": PATIENCE}
        with httpx.Client(**options) as http:
            bearer = sign_in(http, secrets)
            npm_door(http, secrets)
        for number, key in enumerate(signing_keys(data)):
            secrets.keep(f"signing key {number}", key)
        authorization = {"Authorization": basic("admin", secrets.known["token"])}
        with httpx.Client(**options, headers=authorization) as client:
            push(client, secrets)
            go_wrong(server, client, secrets)
        server.get("/v2/admin/app/tags/list", headers={"Authorization": f"Bearer {bearer}"})
        where = json.loads((data / "listening.json").read_text())["metrics"]
        page = httpx.get(where, timeout=PATIENCE).text
        collector.wait_for(lambda span: span.name == "PUT /v2/{name}/manifests/{reference}")
        collector.wait_for(lambda span: span.error)  # the last of them: a killed worker sends none
        listed = [command_line(pid) for pid in (server.pid, *server.workers())]
        os.kill(server.workers()[0], signal.SIGKILL)  # what its end says is looked at too
        server.wait_for("ended with")
        server.stop()
    spans = b"".join(collector.bodies).decode("latin-1")
    assert 'code="500"' in page
    assert '"status": 500' in server.text
    assert len(secrets.known) >= 12
    assert "exception.message" not in spans, "a message may hold what a client sent"
    assert len(listed) == 3
    assert len(secrets.told) > 50
    for text in (server.text, page, spans, *listed, *secrets.told):
        assert secrets.found_in(text) == [], text[-600:]


def test_the_search_finds_what_is_there() -> None:
    secrets = Secrets()
    secrets.keep("password", PASSWORD)
    assert secrets.found_in(f"x {PASSWORD} y") != []
    assert secrets.found_in(basic("admin", PASSWORD)) != []
    assert secrets.found_in(PASSWORD[5:]) != []
    assert secrets.found_in("nothing") == []
