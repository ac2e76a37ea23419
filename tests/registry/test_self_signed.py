"""`--tls self-signed`: one authority that signs one certificate, for this machine alone."""

import datetime
import ipaddress
import signal
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from registry.config import Config
from registry.self_signed import LIFETIME, make, renew_on_last_day, with_certificate
from registry.tls import last_moment, read_pair
from tests.registry.processes import Server

NOW = datetime.datetime.now(datetime.UTC)


def load(file: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(file.read_bytes())


def test_the_certificate_is_good_for_this_machine_and_no_other(tmp_path: Path) -> None:
    make(tmp_path / "tls", ["localhost", "builder"], NOW)
    (authority,) = load(tmp_path / "tls" / "ca.pem")
    certificate = load(tmp_path / "tls" / "cert.pem")[0]
    policy = PolicyBuilder().store(Store([authority])).time(NOW)
    for name in ("localhost", "builder"):
        policy.build_server_verifier(x509.DNSName(name)).verify(certificate, [])
    for address in ("127.0.0.1", "::1"):
        host = x509.IPAddress(ipaddress.ip_address(address))
        policy.build_server_verifier(host).verify(certificate, [])
    with pytest.raises(VerificationError):
        policy.build_server_verifier(x509.DNSName("example.com")).verify(certificate, [])


def test_the_authority_may_sign_for_this_machine_only_and_its_key_is_gone(tmp_path: Path) -> None:
    make(tmp_path / "tls", ["localhost"], NOW)
    (authority,) = load(tmp_path / "tls" / "ca.pem")
    limits = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    permitted = {str(name.value) for name in limits.value.permitted_subtrees or ()}
    assert permitted == {"localhost", "127.0.0.0/8", "::1/128"}
    assert sorted(file.name for file in (tmp_path / "tls").iterdir()) == [
        "ca.pem",
        "cert.pem",
        "key.pem",
    ]
    keys = [file for file in (tmp_path / "tls").iterdir() if b"PRIVATE" in file.read_bytes()]
    assert [(file.name, file.stat().st_mode & 0o777) for file in keys] == [("key.pem", 0o600)]
    assert authority.public_key() != load(tmp_path / "tls" / "cert.pem")[0].public_key()


def test_it_is_kept_until_its_end_is_near(tmp_path: Path) -> None:
    config = Config(data=str(tmp_path), tls="self-signed")
    tls = with_certificate(config).tls
    first = (tmp_path / "tls" / "cert.pem").read_bytes()
    assert with_certificate(config).tls == tls
    assert (tmp_path / "tls" / "cert.pem").read_bytes() == first
    long_ago = NOW - LIFETIME + datetime.timedelta(days=20)
    make(tmp_path / "tls", ["localhost"], long_ago)
    old = (tmp_path / "tls" / "cert.pem").read_bytes()
    with_certificate(config)
    assert (tmp_path / "tls" / "cert.pem").read_bytes() != old


def test_two_halves_that_a_crash_left_are_made_anew(tmp_path: Path) -> None:
    config = Config(data=str(tmp_path), tls="self-signed")
    with_certificate(config)
    make(tmp_path / "other", ["localhost"], NOW)
    (tmp_path / "other" / "key.pem").replace(tmp_path / "tls" / "key.pem")
    read_pair(with_certificate(config).tls)


def test_a_server_that_runs_on_makes_it_anew_on_its_last_day_alone(tmp_path: Path) -> None:
    directory = tmp_path / "tls"
    config = replace(Config(data=str(tmp_path)), tls=f"{directory}/cert.pem,{directory}/key.pem")
    for left, kept in ((datetime.timedelta(days=2), True), (datetime.timedelta(hours=23), False)):
        make(directory, ["localhost"], NOW - LIFETIME + left)
        pair = read_pair(config.tls)
        renew_on_last_day(directory, pair)
        assert (read_pair(config.tls) == pair) is kept
    assert last_moment(read_pair(config.tls)) > NOW + datetime.timedelta(days=800)


def test_a_certificate_of_the_operator_s_own_is_never_replaced(tmp_path: Path) -> None:
    directory = tmp_path / "tls"
    make(directory, ["localhost"], NOW - LIFETIME)
    pair = read_pair(f"{directory}/cert.pem,{directory}/key.pem")
    for put in (lambda: make(directory, ["other"], NOW), (directory / "ca.pem").unlink):
        put()
        before = {file: file.read_bytes() for file in directory.iterdir()}
        renew_on_last_day(directory, pair)
        assert {file: file.read_bytes() for file in directory.iterdir()} == before


def test_a_running_server_serves_the_one_made_anew(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    with Server(data, "--workers", "1", "--tls", "self-signed") as server:
        make(data / "tls", ["localhost"], NOW - LIFETIME + datetime.timedelta(hours=1))
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("clients must trust")
        until = datetime.datetime.now(datetime.UTC) + LIFETIME
        server.wait_for(f"good until {until:%Y-%m-%d}")


def test_a_server_is_trusted_through_its_authority(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server(data, "--workers", "1", "--tls", "self-signed") as server:
        trusting = ssl.create_default_context(cafile=data / "tls" / "ca.pem")
        assert server.get("/v2/", verify=trusting).status_code == 401
        for name in ("localhost", "127.0.0.1"):
            with (
                socket.create_connection(("127.0.0.1", server.port)) as raw,
                trusting.wrap_socket(raw, server_hostname=name) as secured,
            ):
                assert secured.version() == "TLSv1.3"
