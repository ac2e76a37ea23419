"""What is owed: the limit's arithmetic against its definition, and the table of fixed size."""

import multiprocessing
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.debts import TICKS, Debts
from registry.rate_limits import Allowance, Caller, Limit, network_of

LIMITS = st.builds(Limit, st.integers(1, 8), st.integers(1, 4))
STEPS = st.lists(st.integers(0, 2 * TICKS), max_size=60)


class Time:
    """A clock in seconds that is told what to say."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def fits(limit: Limit, admitted: list[int]) -> bool:
    """The definition: no stretch of time holds more than its length and the room pay for."""
    last, count = admitted[-1], len(admitted)
    return all(
        (count - number) * limit.interval <= last - at + limit.room
        for number, at in enumerate(admitted)
    )


@given(LIMITS, STEPS)
def test_what_is_let_in_is_all_that_the_definition_allows(limit: Limit, steps: list[int]) -> None:
    now, until, admitted = 0, 0, list[int]()
    for step in steps:
        now += step
        until, wait = limit.spend(until, now)
        assert (wait == 0) == fits(limit, [*admitted, now])
        if wait == 0:
            admitted.append(now)


@given(LIMITS, STEPS)
def test_who_comes_again_when_told_is_let_in_and_not_before(limit: Limit, steps: list[int]) -> None:
    now, until = 0, 0
    for step in steps:
        now += step
        until, wait = limit.spend(until, now)
        if wait:
            assert limit.spend(until, now + wait - 1)[1] == 1
            assert limit.spend(until, now + wait)[1] == 0
            assert limit.left(until, now) == 0


@given(LIMITS, STEPS)
def test_what_is_left_can_be_spent_and_no_more(limit: Limit, steps: list[int]) -> None:
    now, until = 0, 0
    for step in steps:
        now += step
        until, _ = limit.spend(until, now)
        spent, left = until, limit.left(until, now)
        for _ in range(left):
            spent, wait = limit.spend(spent, now)
            assert wait == 0
        assert limit.spend(spent, now)[1] > 0


@given(LIMITS, st.integers(0, 2**43), st.integers(0, 2**43))
def test_a_clock_that_goes_back_shuts_nobody_out(limit: Limit, until: int, now: int) -> None:
    until, _ = limit.spend(until, now)
    _, wait = limit.spend(until, now)
    assert wait <= limit.room + limit.interval
    assert limit.spend(until, now + limit.room + limit.interval)[1] == 0
    assert limit.charge(until, now) <= now + 2 * limit.room


def test_an_overdraft_is_as_much_again() -> None:
    limit, until, now = Limit(3, 60), 0, 0
    for _ in range(6):
        until, wait = limit.spend(until, now, overdraft=True)
        assert wait == 0
    assert limit.spend(until, now, overdraft=True)[1] > 0
    assert limit.spend(until, now)[1] == limit.room + limit.interval


def test_a_table_knows_each_key_by_itself() -> None:
    debts = Debts.alone()
    keys = [b"key %d" % number for number in range(200)]
    for number, key in enumerate(keys):
        debts.owe(debts.find(key), number + 1)
    assert [debts.find(key).until for key in keys] == list(range(1, 201))
    assert debts.find(b"another").until == 0


def test_two_servers_do_not_put_a_key_at_the_same_place() -> None:
    one, other = Debts.alone(), Debts.alone()
    keys = [b"key %d" % number for number in range(20)]
    assert [one.find(key).index for key in keys] != [other.find(key).index for key in keys]


def test_a_full_table_forgets_the_smallest_debts_and_keeps_the_large() -> None:
    debts, large = Debts.alone(), 10**9
    keys = [b"large %d" % number for number in range(2000)]
    for key in keys:
        debts.owe(debts.find(key), large)
    for number in range(200_000):  # three times as many as there are words
        debts.owe(debts.find(b"small %d" % number), number + 1)
    # All but those that have seven or more large neighbours in a set of eight.
    assert sum(debts.find(key).until == large for key in keys) >= 1990
    assert sum(debts.find(b"small %d" % number).until > 0 for number in range(1000)) < 1000


def test_time_comes_from_the_clock_and_is_never_before_the_start() -> None:
    time = Time()
    debts = Debts.alone(time)
    assert debts.now() == 0
    time.seconds += 1.5
    assert debts.now() == TICKS * 3 // 2
    time.seconds -= 100
    assert debts.now() == 0


def test_a_table_of_one_process_stays_there() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Debts.alone())


@pytest.mark.parametrize("memory", ["memfd", "temporary file"])
def test_what_a_spawned_process_writes_is_in_the_table(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if memory == "temporary file":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    debts, limit = Debts.shared(), Limit(1, 3600)
    before, allowance = debts.now(), Allowance(debts, limit, "pulls")
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=allowance.charge, args=(Caller(b"key", "key"),))
    process.start()
    process.join()
    assert process.exitcode == 0
    until = debts.find(b"pulls key").until
    assert before + limit.interval <= until <= debts.now() + limit.interval


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        ("2001:db8:1:2::1", "2001:DB8:1:2::2%eth0"),
        ("192.0.2.7", "::ffff:192.0.2.7"),
        ("", "unknown"),
        ("unix:", "256.0.0.1"),
        ("a" * 5000, "\udc80\0\n"),
    ],
)
def test_addresses_that_are_one_clients_count_together(one: str, other: str) -> None:
    assert network_of(one) == network_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:3::1"),
        ("192.0.2.7", "192.0.2.8"),
        ("192.0.2.7", "unknown"),
        ("::c000:207", "192.0.2.7"),
    ],
)
def test_addresses_of_two_clients_count_apart(one: str, other: str) -> None:
    assert network_of(one)[0] != network_of(other)[0]


def test_an_account_is_no_address() -> None:
    names = ("alice", "192.0.2.7", "unknown", "v4")
    assert len({Caller.of(name, "192.0.2.7").key for name in (*names, "")}) == len(names) + 1
    assert Caller.of("abcd", "").key != Caller.of("", "97.98.99.100").key
    assert Caller.of("abcdefgh", "").key != Caller.of("", "6162:6364:6566:6768::").key


@given(st.text())
def test_any_text_counts_as_some_address(client: str) -> None:
    key, name = network_of(client)
    assert key
    assert name.isprintable()
