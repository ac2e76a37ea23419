"""Connections within this machine are not paced; all others have the kernel's default."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry import congestion
from registry.accepting import FairListener, Shares

ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
FAR = ("198.51.100.7", 40000)

pytestmark = pytest.mark.skipif(
    not (hasattr(socket, "TCP_CONGESTION") and ALLOWED.exists()),
    reason="congestion control is chosen for a connection on Linux alone",
)


def chosen(connection: socket.socket) -> bytes:
    value: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    return value.rstrip(b"\0")


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The kernel's default, taken for one that paces, with another in Reno's place."""
    with socket.socket() as fresh:
        found = chosen(fresh)
    others = [name for name in ALLOWED.read_bytes().split() if name != found]
    if not others:
        pytest.skip(f"this kernel allows {found!r} alone")
    monkeypatch.setattr(congestion, "PACING", found)
    monkeypatch.setattr(congestion, "UNPACED", others[0])
    return found


@contextmanager
def listening(address: str) -> Iterator[FairListener]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with FairListener(socket.create_server((address, 0), family=family), Shares([0], 0)) as bound:
        yield bound


def own_address() -> str:
    """An address of this machine that is not the loopback's; no packet is sent for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(FAR)
        except OSError:
            pytest.skip("this machine has no address but the loopback's")
        address: str = asked.getsockname()[0]
        return address


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9", "::1", "own"])
def test_who_comes_from_this_machine_is_not_paced(address: str, default: bytes) -> None:
    if address == "::1" and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    at = own_address() if address == "own" else address
    with listening(at) as bound, socket.create_connection(bound.getsockname()[:2]):
        taken, _ = bound.accept()
        with taken:
            assert chosen(taken) == congestion.UNPACED != default


def test_who_comes_from_elsewhere_has_the_kernels_default(default: bytes) -> None:
    with listening("127.0.0.1") as bound, socket.create_connection(bound.getsockname()):
        taken, _ = bound.accept()
        with taken:
            congestion.settle(taken, FAR, default)
            assert chosen(taken) == default


def test_a_default_that_does_not_pace_stays(
    default: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(congestion, "PACING", b"another")
    with listening("127.0.0.1") as bound, socket.create_connection(bound.getsockname()):
        taken, _ = bound.accept()
        with taken:
            assert chosen(bound) == chosen(taken) == default


def test_what_an_administrator_does_not_allow_is_left(
    default: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(congestion, "UNPACED", b"not-there")
    with listening("127.0.0.1") as bound, socket.create_connection(bound.getsockname()):
        taken, _ = bound.accept()
        with taken:
            assert chosen(taken) == default


def test_a_connection_that_has_ended_is_nobodys_fault(default: bytes) -> None:
    with listening("127.0.0.1") as bound, socket.create_connection(bound.getsockname()):
        taken, peer = bound.accept()
        taken.close()
        congestion.settle(taken, FAR, default)
        congestion.settle(taken, peer, default)
