"""What is remembered of bearer tokens: good signatures, in bounded memory."""

import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from auth.jwt import REMEMBERED, Bearers
from auth.principals import Principal
from auth.signing_keys import SigningKeys, make_keys
from storage import migrations
from storage.clock import now
from storage.connect import open_database
from storage.database import Transaction

WHO = Principal(account_id=1, name="somebody", kind="user")


@pytest.fixture
async def bearers(tmp_path: Path) -> AsyncIterator[Bearers]:
    async with await open_database("", tmp_path) as database:
        await database.migrate(migrations.load())

        async def work(tx: Transaction) -> None:
            await make_keys(tx, now())

        await database.write(work)
        yield Bearers(SigningKeys(database), now, 300)


def access(count: int) -> dict[str, frozenset[str]]:
    return {f"repository:owner/image-{n:0>200}": frozenset({"pull"}) for n in range(count)}


async def test_a_signature_is_checked_once(bearers: Bearers) -> None:
    text = await bearers.issue(WHO, access(1))
    assert await bearers.verify(text) is await bearers.verify(text)


async def test_large_tokens_do_not_fill_the_memory(bearers: Bearers) -> None:
    texts = [await bearers.issue(WHO, access(100)) for _ in range(200)]
    assert sum(map(len, texts)) > 5 * REMEMBERED
    tracemalloc.start()
    for text in texts:
        assert len((await bearers.verify(text)).access or ()) == 100
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 4 * REMEMBERED
    assert await bearers.verify(texts[-1]) is await bearers.verify(texts[-1])


async def test_a_token_larger_than_all_that_is_remembered_is_good(bearers: Bearers) -> None:
    text = await bearers.issue(WHO, access(5000))
    assert len(text) > REMEMBERED
    assert len((await bearers.verify(text)).access or ()) == 5000
