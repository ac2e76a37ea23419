"""doctor's look at the certificate: how long it is good, for which names, who reads its key."""

import datetime
import ipaddress
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from registry.checks import FAIL, OK, WARN, Check
from registry.config import SELF_SIGNED, Config, ConfigError
from registry.tls import read_pair

SOON = datetime.timedelta(days=14)
_CERTIFICATE, _NAME, _KEY = "TLS certificate", "TLS name", "TLS key"


def check_tls(config: Config, at: datetime.datetime) -> Iterator[Check]:
    """Look at the files that TLS is served with, if it is."""
    tls = config.tls
    if tls == SELF_SIGNED:
        directory = config.directory / "tls"
        tls = f"{directory / 'cert.pem'},{directory / 'key.pem'}"
        if not (directory / "cert.pem").exists():
            yield Check(_CERTIFICATE, OK, "the start makes one for this machine")
            return
    if not tls:
        return
    try:
        chain = x509.load_pem_x509_certificates(read_pair(tls).certificate)
    except (ConfigError, ValueError) as error:
        yield Check(_CERTIFICATE, FAIL, str(error))
        return
    yield _check_time(chain[0], at)
    yield from _check_chain(chain)
    if config.public_url.startswith("https://"):
        yield _check_name(chain[0], config.public_url)
    yield _check_key(Path(tls.partition(",")[2]))


def _check_time(certificate: x509.Certificate, at: datetime.datetime) -> Check:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if at < start:
        return Check(_CERTIFICATE, FAIL, f"not good before {start:%Y-%m-%d %H:%M} UTC")
    if at >= end:
        return Check(_CERTIFICATE, FAIL, f"it ended on {end:%Y-%m-%d}: renew it")
    about = f"good for {(end - at).days} days, until {end:%Y-%m-%d}"
    if end - at < SOON:
        return Check(_CERTIFICATE, WARN, f"{about}: renew it; no restart is needed")
    return Check(_CERTIFICATE, OK, about)


def _check_chain(chain: list[x509.Certificate]) -> Iterator[Check]:
    leaf = chain[0]
    if len(chain) == 1 and leaf.issuer != leaf.subject:
        about = "the file holds no certificate of the issuer: most clients want the full chain"
        yield Check(_CERTIFICATE, WARN, about)


def _check_name(certificate: x509.Certificate, public_url: str) -> Check:
    host = urlsplit(public_url).hostname or ""
    names = names_in(certificate)
    if covers(names, host):
        return Check(_NAME, OK, f"{host} is in the certificate")
    shown = ", ".join(names[:5]) or "no name"
    about = f"the certificate is for {shown}: clients that reach it as {host} refuse it"
    return Check(_NAME, WARN, about)


def names_in(certificate: x509.Certificate) -> list[str]:
    """Return the host names and addresses a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def covers(names: list[str], host: str) -> bool:
    """Whether one of the names is this host's (RFC 6125: a star stands for one first label)."""
    known = {name.lower() for name in names}
    try:
        return str(ipaddress.ip_address(host)) in known
    except ValueError:
        return host.lower() in known or f"*.{host.lower().partition('.')[2]}" in known


def _check_key(key: Path) -> Check:
    if key.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        return Check(_KEY, WARN, f"everybody on this machine may read {key}: chmod 600 it")
    return Check(_KEY, OK, f"{key} is not for everybody")
