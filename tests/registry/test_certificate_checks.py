"""doctor's look at the certificate that TLS is served with."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from registry.certificate_checks import check_tls, covers
from registry.checks import Check
from registry.config import Config
from registry.self_signed import LIFETIME, make, with_certificate
from tests.clients.server import make_certificate

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
LATER = NOW + datetime.timedelta(hours=1)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    certificate, key = make_certificate(tmp_path)
    return Config(data=str(tmp_path), tls=f"{certificate},{key}", public_url="https://localhost")


def found(config: Config, at: datetime.datetime = LATER) -> dict[str, str]:
    return by_name(list(check_tls(config, at)))


def by_name(checks: Sequence[Check]) -> dict[str, str]:
    return {check.name: f"{check.status}: {check.message}" for check in checks}


def test_a_good_certificate_has_its_days_its_name_and_a_key_of_its_own(config: Config) -> None:
    assert found(config) == {
        "TLS certificate": f"ok: good for 29 days, until {NOW + 30 * DAY:%Y-%m-%d}",
        "TLS name": "ok: localhost is in the certificate",
        "TLS key": f"ok: {config.tls.partition(',')[2]} is not for everybody",
    }


@pytest.mark.parametrize(
    ("days", "said"),
    [(-3, "fail: not good before"), (17, "warn: good for 12 days"), (31, "fail: it ended on")],
)
def test_its_time_is_looked_at(config: Config, days: int, said: str) -> None:
    assert found(config, LATER + days * DAY)["TLS certificate"].startswith(said)


def test_another_name_is_a_warning(config: Config) -> None:
    other = Config(data=config.data, tls=config.tls, public_url="https://packages.example.com:5000")
    said = found(other)["TLS name"]
    assert said.startswith("warn: the certificate is for localhost, 127.0.0.1: ")
    assert "as packages.example.com refuse it" in said


def test_a_key_that_everybody_may_read_is_a_warning(config: Config) -> None:
    key = Path(config.tls.partition(",")[2])
    key.chmod(0o640)
    assert found(config)["TLS key"].startswith("ok: ")
    key.chmod(0o644)
    assert found(config)["TLS key"].endswith(f"may read {key}: chmod 600 it")


def test_a_chain_without_its_issuer_is_a_warning(tmp_path: Path) -> None:
    make(tmp_path / "tls", ["localhost"], NOW)
    file = tmp_path / "tls" / "cert.pem"
    leaf = x509.load_pem_x509_certificate(file.read_bytes())
    config = Config(data=str(tmp_path), tls=f"{file},{tmp_path / 'tls' / 'key.pem'}")
    assert found(config)["TLS certificate"].startswith("ok: ")
    file.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    assert "warn: the file holds no certificate of the issuer" in found(config)["TLS certificate"]


def test_a_certificate_of_our_own_is_looked_at_once_it_is_there(tmp_path: Path) -> None:
    config = Config(data=str(tmp_path), tls="self-signed")
    assert "the start makes one" in found(config)["TLS certificate"]
    with_certificate(config)
    assert found(config)["TLS certificate"].startswith(f"ok: good for {LIFETIME.days - 1} days")
    (tmp_path / "tls" / "key.pem").write_text("broken")
    assert found(config)["TLS certificate"].startswith("fail: tls: ")


def test_plain_serving_has_no_lines_about_it(tmp_path: Path) -> None:
    assert found(Config(data=str(tmp_path))) == {}


@pytest.mark.parametrize(
    ("names", "host", "wanted"),
    [
        (["a.example"], "A.example", True),
        (["*.a.example"], "b.a.example", True),
        (["*.a.example"], "a.example", False),
        (["*.a.example"], "c.b.a.example", False),
        (["*.example"], "192.0.2.1", False),
        (["192.0.2.1"], "192.0.2.1", True),
        (["2001:db8::1"], "2001:0db8::1", True),
        ([], "a.example", False),
    ],
)
def test_a_name_covers_one_host(names: list[str], host: str, wanted: bool) -> None:
    assert covers(names, host) is wanted
