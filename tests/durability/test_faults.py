"""System calls that fail: the answer says so, nothing is half there, and it recovers by itself."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.durability.faults import TRACEABLE, Fault
from tests.durability.model import Made, image
from tests.durability.site import IMAGE, PUSHES, SIZE, Push, Site, push_whole
from tests.registry.client import digest_of
from tests.registry.processes import Server, wait_for_end

RENAME = "?rename,?renameat,?renameat2"
MIB = 1024 * 1024
WAVE = 8


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A registry of one worker, with an image in it."""
    with Server(tmp_path / "data", "--workers", 1, **TRACEABLE) as server, Site(server) as made:
        made.keep_image()
        yield made
        made.check_kept()


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace"


def worker(site: Site) -> int:
    (pid,) = site.server.workers()
    return pid


def wal(site: Site) -> Path:
    return site.server.data / "packhouse.db-wal"


@pytest.mark.parametrize(("calls", "size"), [("fsync", SIZE), ("fsync", MIB), (RENAME, MIB)])
@pytest.mark.parametrize(
    ("error", "status"), [("EIO", 500), ("ENOSPC", 507), ("EDQUOT", 507), ("EROFS", 500)]
)
def test_a_push_whose_bytes_cannot_be_kept_is_refused_and_leaves_nothing(
    site: Site, trace: Path, calls: str, size: int, error: str, status: int
) -> None:
    before, pushed = site.files(), [(push, site.new(size)) for push in PUSHES]
    with Fault(worker(site), calls, error, trace) as fault:
        for push, data in pushed:
            site.refused(push(site, data), status)
        site.check_kept()
    assert fault.injected >= len(PUSHES)
    assert site.files() == before
    check_all_can_be_repeated(site, pushed)


@pytest.mark.parametrize(("error", "status"), [("EIO", 500), ("ENOSPC", 507)])
def test_a_large_body_is_refused_at_its_first_sync_that_fails(
    site: Site, trace: Path, error: str, status: int
) -> None:
    before, pushed = site.files(), [(push, site.new(40 * MIB)) for push in PUSHES]
    with Fault(worker(site), "fdatasync", error, trace):
        for push, data in pushed:
            site.refused(push(site, data), status)
    assert site.files() == before
    check_all_can_be_repeated(site, pushed)


@pytest.mark.parametrize(
    ("calls", "error", "status"),
    [("fdatasync", "EIO", 503), ("pwrite64", "EIO", 503), ("pwrite64", "ENOSPC", 507)],
)
def test_rows_that_cannot_be_kept_are_refused_and_are_not_there_later(
    site: Site, trace: Path, calls: str, error: str, status: int
) -> None:
    pushed = [(push, site.new()) for push in PUSHES]
    config = site.new()
    site.acknowledged(push_whole(site, config), f"{IMAGE}/blobs/{digest_of(config)}", config)
    made = image(config)
    with Fault(worker(site), calls, error, trace, path=wal(site)) as fault:
        for push, data in pushed:
            site.refused(push(site, data), status)
        site.refused(site.put_manifest(made, "lost"), status)
        site.refused(site.http.delete(f"{IMAGE}/manifests/v1"), status)
        site.check_kept()
    assert fault.injected >= len(PUSHES) + 2
    assert not any(site.has(data) for _, data in pushed)
    assert site.http.get(f"{IMAGE}/manifests/lost").status_code == 404
    check_all_can_be_repeated(site, pushed)
    assert site.http.get(f"{IMAGE}/manifests/lost").status_code == 404
    assert site.put_manifest(made, "lost").status_code == 201


@pytest.mark.parametrize("when", ["1", "1..2", "2", "1+2"])
async def test_what_a_failed_sync_took_along_is_neither_acknowledged_nor_there(
    tmp_path: Path, trace: Path, when: str
) -> None:
    """Works are committed in groups, and each alone when a group fails: all get their own fate."""
    data = tmp_path / "data"
    with Server(data, "--workers", 1, **TRACEABLE) as server, Site(server) as site:
        config = site.new()
        site.acknowledged(push_whole(site, config), f"{IMAGE}/blobs/{digest_of(config)}", config)
        made = [image(config, n=number) for number in range(24)]
        with Fault(worker(site), "fdatasync", "EIO", trace, path=wal(site), when=when) as fault:
            statuses = await put_all(site, made)
        assert fault.injected >= 1
        assert set(statuses) <= {201, 503}
        assert 201 in statuses
        check_told(site, made, statuses)
        site.keep_image("after")
        check_told(site, made, statuses)
        worker_pids = server.workers()
        server.stop(signal.SIGKILL)
        wait_for_end(worker_pids)
    with Server(data, "--workers", 1) as server, Site(server, token=site.token) as again:
        again.kept = site.kept
        again.check_kept()
        check_told(again, made, statuses)


async def put_all(site: Site, made: list[Made]) -> list[int]:
    """Push manifests in waves, each under a tag of its own; return the statuses."""
    headers = {**site.http.headers, "Content-Type": made[0].media_type}
    answers: list[httpx.Response] = []
    async with httpx.AsyncClient(base_url=site.server.url, headers=headers, timeout=60) as http:
        for first in range(0, len(made), WAVE):
            wave = enumerate(made[first : first + WAVE], first)
            answers += await asyncio.gather(
                *(http.put(f"{IMAGE}/manifests/n{n}", content=each.data) for n, each in wave)
            )
    for answer in answers:
        if answer.status_code != 201:
            site.refused(answer, 503)
    return [answer.status_code for answer in answers]


def check_told(site: Site, made: list[Made], statuses: list[int]) -> None:
    """What was acknowledged is there, and nothing else."""
    for number, (each, status) in enumerate(zip(made, statuses, strict=True)):
        answer = site.http.get(f"{IMAGE}/manifests/n{number}")
        assert answer.status_code == (200 if status == 201 else 404), (number, status)
        assert status != 201 or answer.content == each.data


def check_all_can_be_repeated(site: Site, pushed: list[tuple[Push, bytes]]) -> None:
    for push, data in pushed:
        assert not site.has(data)
        site.acknowledged(push(site, data), f"{IMAGE}/blobs/{digest_of(data)}", data)
