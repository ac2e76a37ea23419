"""What was taken away is refused by every worker: real processes, each asked by itself."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.registry.client import OCI_EMPTY, OCI_MANIFEST, basic, descriptor
from tests.registry.processes import Server, run
from tests.registry.test_shared_limits import stopped

PASSWORD, OTHER = "a long password of nobody", "another long password"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("workers") / "data"
    # A worker that is stopped here holds no lock: it has nothing to do in the background.
    with Server(data, "--workers", 2, PACKHOUSE_GC_INTERVAL_SECONDS="86400") as running:
        yield running


@dataclass(frozen=True)
class Site:
    """A private package, somebody who may read it, and an administrator to take that away."""

    server: Server
    admin: httpx.Client
    user: str
    package: str

    @property
    def image(self) -> str:
        return f"/v2/admin/{self.package}/manifests/v1"

    def make(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = self.admin.request(method, path, **options)
        assert answer.is_success, answer.text
        return answer

    def bearer(self, name: str, secret: str) -> str:
        """What docker sends once it has followed the challenge."""
        scope = f"repository:admin/{self.package}:pull"
        answer = self.server.get("/token", params={"scope": scope}, auth=(name, secret))
        assert answer.status_code == 200, answer.text
        return f"Bearer {answer.json()['token']}"

    def at_each(self, authorization: str) -> list[int]:
        """Ask every worker, on a connection of its own and while the others stand still."""
        headers = {"Authorization": authorization} if authorization else {}
        workers, found = self.server.workers(), []
        assert len(workers) == 2
        for worker in workers:
            with ExitStack() as stack:
                for other in set(workers) - {worker}:
                    stack.enter_context(stopped(other))
                found.append(self.server.get(self.image, headers=headers).status_code)
        return found


@pytest.fixture
def site(server: Server) -> Iterator[Site]:
    with server.client() as admin:
        made = Site(server, admin, f"u-{uuid4().hex[:12]}", f"p-{uuid4().hex[:12]}")
        made.make("POST", "/api/v1/users", json={"name": made.user, "password": PASSWORD})
        config = descriptor(b"{}", OCI_EMPTY)
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}
        uploads = f"/v2/admin/{made.package}/blobs/uploads/"
        made.make("POST", uploads, params={"digest": config["digest"]}, content=b"{}")
        made.make("PUT", made.image, json=manifest, headers={"Content-Type": OCI_MANIFEST})
        grants = f"/api/v1/packages/admin/{made.package}/grants/{made.user}"
        made.make("PUT", grants, json={"role": "read"})
        yield made


def token(site: Site) -> tuple[str, int]:
    """The text and the id of a token of the user's."""
    path = f"/api/v1/users/{site.user}/tokens"
    made = site.make("POST", path, json={"scopes": ["read"]}).json()
    return made["token"], made["id"]


def revoke(site: Site, token_id: int) -> None:
    site.make("DELETE", f"/api/v1/tokens/{token_id}")


def disable(site: Site, _: int) -> None:
    site.make("PATCH", f"/api/v1/users/{site.user}", json={"disabled": True})


def set_password(site: Site, _: int) -> None:
    site.make("PUT", f"/api/v1/users/{site.user}/password", json={"password": OTHER})


def take_role(site: Site, _: int) -> None:
    site.make("DELETE", f"/api/v1/packages/admin/{site.package}/grants/{site.user}")


@pytest.mark.parametrize(
    ("sent", "take", "status"),
    [
        ("token", revoke, 401),
        ("bearer", revoke, 401),
        ("token", disable, 401),
        ("bearer", disable, 401),
        ("password's bearer", set_password, 401),
        ("token", take_role, 404),
        ("bearer", take_role, 404),
    ],
)
def test_what_was_taken_away_is_refused_by_the_next_request_at_every_worker(
    site: Site, sent: str, take: Callable[[Site, int], None], status: int
) -> None:
    text, token_id = token(site)
    authorization = {
        "token": lambda: basic("x", text),
        "bearer": lambda: site.bearer("x", text),
        "password's bearer": lambda: site.bearer(site.user, PASSWORD),
    }[sent]()
    assert site.at_each(authorization) == [200, 200], "each worker has seen it before"
    take(site, token_id)
    assert site.at_each(authorization) == [status, status]


def test_what_is_closed_is_closed_at_every_worker(site: Site) -> None:
    change = f"/api/v1/packages/admin/{site.package}"
    for visibility, status in (("public", 200), ("private", 401), ("public", 200)):
        site.make("PATCH", change, json={"visibility": visibility})
        assert site.at_each("") == [status, status]


def test_keys_are_rotated_under_live_tokens(site: Site, tmp_path: Path) -> None:
    """The command of another process; each worker learns of the keys when it needs them."""
    old = site.bearer(site.user, PASSWORD)
    assert site.at_each(old) == [200, 200]
    rotated = run("key", "rotate", "--data", site.server.data)
    assert rotated.returncode == 0, rotated.stderr
    new = site.bearer(site.user, PASSWORD)
    for authorization in (old, new, basic("x", token(site)[0])):
        assert site.at_each(authorization) == [200, 200]
    ended = run("key", "rotate", "--end-old", "--data", site.server.data)
    assert ended.returncode == 0, ended.stderr
    assert site.at_each(basic("x", token(site)[0])) == [200, 200], "tokens are no matter of keys"
