"""One holder at a time, and whoever overslept changes nothing."""

import pytest

from registry.gc import LEASE, Step
from registry.leases import LeaseLost, Term
from storage.database import Transaction
from storage.errors import PackhouseError
from tests.registry.gc.depot import DAY, HOUR, Depot

MARK = "update packages set revision = revision + 100 where id > $1"


async def mark(tx: Transaction) -> None:
    """Something that must not happen outside a term."""
    await tx.execute(MARK, 0)


async def marks(depot: Depot) -> int:
    return sum(row[1] >= 100 for row in (await depot.rows("packages"))["packages"])  # type: ignore[operator]


async def test_a_lease_is_held_by_one_until_it_is_released(depot: Depot) -> None:
    first = await depot.services.leases.acquire("work", 60)
    assert first is not None
    assert await depot.services.leases.acquire("work", 60) is None
    assert await depot.services.leases.acquire("other work", 60) is not None
    await first.release()
    second = await depot.services.leases.acquire("work", 60)
    assert second is not None
    assert second.fence > first.fence


async def test_a_lease_runs_out_and_every_write_begins_it_anew(depot: Depot) -> None:
    first = await depot.services.leases.acquire("work", 60)
    assert first is not None
    depot.clock.advance(59)
    await first.renew()
    depot.clock.advance(59)
    assert await depot.services.leases.acquire("work", 60) is None
    depot.clock.advance(2)
    assert await depot.services.leases.acquire("work", 60) is not None


async def test_a_term_that_ran_out_writes_nothing_though_nobody_followed(depot: Depot) -> None:
    await depot.push_blob(b"layer")
    term = await depot.services.leases.acquire("work", 60)
    assert term is not None
    await term.write(mark)
    assert await marks(depot) == 1
    await depot.database.execute("update packages set revision = 0 where id > 0")
    depot.clock.advance(61)
    with pytest.raises(LeaseLost):
        await term.write(mark)
    assert await marks(depot) == 0


async def test_a_term_that_was_taken_over_writes_nothing(depot: Depot) -> None:
    await depot.push_blob(b"layer")
    first = await depot.services.leases.acquire("work", 60)
    second = await depot.services.leases.acquire("work", 60, steal=True)
    assert first is not None
    assert second is not None
    with pytest.raises(LeaseLost):
        await first.write(mark)
    assert await marks(depot) == 0
    await first.release()  # not his any more
    assert await depot.services.leases.acquire("work", 60) is None
    await second.write(mark)
    assert await marks(depot) == 1


async def test_a_write_that_fails_under_a_lease_leaves_the_term_good(depot: Depot) -> None:
    async def fail(_: Transaction) -> None:
        raise PackhouseError("no")

    term = await depot.services.leases.acquire("work", 60)
    assert term is not None
    with pytest.raises(PackhouseError):
        await term.write(fail)
    await term.write(mark)


async def prepare_everything(depot: Depot) -> None:
    """Leave something due for every step of gc."""
    await depot.push_image(b"kept layer", tag="kept")
    await depot.push_image(b"old layer", tag="old")
    old = await depot.read("old")
    assert old is not None
    await depot.delete("old")
    await depot.push_image(b"older layer", tag="")
    await depot.push_blob(b"never named")
    await depot.push_blob(b"linked nowhere", "admin/gone")
    await depot.database.execute(
        "delete from repository_blobs where repository_id in "
        "(select id from packages where repository = 'admin/gone')"
    )
    upload = await depot.begin()
    await depot.append(upload, b"half")
    for row in await depot.database.fetch("select digest from manifest_contents"):
        if await depot.read(row["digest"]) != await depot.read("kept"):
            await depot.delete(row["digest"])
    await depot.database.execute(
        "insert into trash (store, key, due_at) values (0, $1, 0)", "ab" * 16
    )
    await depot.database.execute(
        "insert into audit (at, kind, result, subject, detail, address, request_id, times) "
        "values (0, 'sign-in', 'failed', '', '', '', '', 1)"
    )
    await depot.database.execute(
        "insert into tokens (kind, account_id, hash, scopes, created_at, expires_at) "
        "select 'refresh', min(id), 'ended', 1, 0, 0 from accounts"
    )
    await depot.database.execute(
        "insert into sessions (hash, account_id, password_version, way, address, agent, "
        "created_at, last_used_at, expires_at, ends_at) "
        "select 'ended', min(id), 0, '', '', '', 0, 0, 0, 0 from accounts"
    )
    depot.clock.advance(31 * DAY)


async def run(step: Step, term: Term, depot: Depot) -> None:
    """Do a step to its end."""
    while await step(term, depot.collector.retention, depot.clock()) is not None:
        pass


async def test_a_sleeper_destroys_nothing_at_any_step(depot: Depot) -> None:
    await prepare_everything(depot)
    for step in depot.collector.steps:
        sleeper = await depot.term()
        before, files = await depot.rows(), depot.objects()
        await depot.services.leases.acquire(LEASE, HOUR, steal=True)
        with pytest.raises(LeaseLost):
            await run(step, sleeper, depot)
        after = await depot.rows()
        before.pop("leases"), after.pop("leases")
        assert after == before
        assert depot.objects() == files
    await depot.collector.sweep.close()
    assert set(await depot.gc()) >= {
        *(
            "uploads",
            "manifests",
            "deletions",
            "links",
            "blobs",
            "audit lines",
            "sign-ins",
            "sessions",
        )
    }
