"""`--tls self-signed`: a certificate for this machine, by an authority that can sign no other.

The authority is limited to this machine's names (RFC 5280, 4.2.1.10), and its key exists only while
it signs once: whoever trusts `ca.pem` trusts this one server and nothing that comes later. So a new
certificate is a new authority, and `ca.pem` has to be trusted again: a start makes both anew in the
last 30 days, a server that runs on only on the last day, when clients would turn away anyway.
"""

import datetime
import ipaddress
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from registry.config import SELF_SIGNED, Config, ConfigError
from registry.tls import Pair, last_moment, read_pair

log = logging.getLogger("packhouse.tls")

LIFETIME = datetime.timedelta(days=820)
"""Apple's clients refuse server certificates of more than 825 days."""

RENEWAL = datetime.timedelta(days=30)
LAST_DAY = datetime.timedelta(days=1)
_LOOPBACKS = ("127.0.0.1", "::1")
_NETWORKS = ("127.0.0.0/8", "::1/128")


def with_certificate(config: Config) -> Config:
    """Return the configuration with the files to serve TLS with, made now if they are wanted."""
    if config.tls != SELF_SIGNED:
        return config
    directory, at = config.directory / "tls", datetime.datetime.now(datetime.UTC)
    tls = f"{directory / 'cert.pem'},{directory / 'key.pem'}"
    if not _is_good(tls, at + RENEWAL):
        _make_anew(directory, at)
    return replace(config, tls=tls)


def renew_on_last_day(directory: Path, pair: Pair) -> None:
    """Make a new certificate in `directory` where the pair is ours and has a day left."""
    at = datetime.datetime.now(datetime.UTC)
    try:
        authority = (directory / "ca.pem").read_bytes()
        if pair.certificate.endswith(authority) and last_moment(pair) <= at + LAST_DAY:
            _make_anew(directory, at)
    except FileNotFoundError:
        return
    except OSError as error:
        log.error("tls: cannot make a new certificate in %s: %s", directory, error.strerror)


def _make_anew(directory: Path, at: datetime.datetime) -> None:
    again = (directory / "ca.pem").exists()
    make(directory, _names(), at)
    if again:
        log.warning("tls: made a new certificate: clients must trust %s/ca.pem anew", directory)


def make(directory: Path, names: Sequence[str], now: datetime.datetime) -> None:
    """Write ca.pem, cert.pem and key.pem for DNS `names` and the loopback addresses."""
    directory.mkdir(mode=0o700, exist_ok=True)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key, names, now)
    certificate = _certificate(authority, authority_key, key, names, now)
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(directory / "key.pem", secret)
    _write(directory / "ca.pem", authority.public_bytes(pem))
    _write(directory / "cert.pem", certificate.public_bytes(pem) + authority.public_bytes(pem))


def _names() -> list[str]:
    host = socket.gethostname().lower()
    return ["localhost"] if host in ("", "localhost") else ["localhost", host]


def _is_good(tls: str, until: datetime.datetime) -> bool:
    """Whether certificate and key fit each other (a crash may have left two halves), and last."""
    try:
        return last_moment(read_pair(tls)) > until
    except ConfigError:
        return False


def _authority(
    key: ec.EllipticCurvePrivateKey, names: Sequence[str], now: datetime.datetime
) -> x509.Certificate:
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"Packhouse on {names[-1][:40]}, {now:%Y-%m-%d}")]
    )
    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    permitted += [x509.IPAddress(ipaddress.ip_network(network)) for network in _NETWORKS]
    usage = _usage(signs=True)
    return (
        _builder(subject, subject, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _certificate(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    names: Sequence[str],
    now: datetime.datetime,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[-1][:60])])
    answers: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    answers += [x509.IPAddress(ipaddress.ip_address(address)) for address in _LOOPBACKS]
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(subject, authority.subject, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(answers), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _write(file: Path, content: bytes) -> None:
    draft = file.with_suffix(".tmp")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
