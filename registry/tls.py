"""The certificate and key to serve TLS with: tried before anything starts, and taken anew when they
change.

The supervisor alone looks at the files. What it found good goes to the workers as bytes: a pair is
used exactly as it was tried, by all of them, and by a worker that is replaced while the files are
being written.
"""

import datetime
import logging
import os
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from cryptography import x509

from registry.config import SELF_SIGNED, ConfigError

log = logging.getLogger("packhouse.tls")

_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its chain, and its key: what two PEM files held at one time."""

    certificate: bytes
    key: bytes = field(repr=False)


def check_certificate(tls: str) -> None:
    """Try the files of `CERT,KEY`; uvicorn would fail in every worker instead.

    Nothing is tried for plain serving, nor for a certificate that we make. Raises ConfigError.
    """
    if tls not in ("", SELF_SIGNED):
        read_pair(tls)


def read_pair(tls: str) -> Pair:
    """Return what the files of `CERT,KEY` hold. Raises ConfigError if it cannot be served with."""
    certificate, key = (Path(part) for part in tls.split(","))
    pair = Pair(_read(certificate), _read(key))
    try:
        make_context(pair)
        last_moment(pair)
    except ssl.SSLError as error:
        raise ConfigError(_refusal(certificate, key, error)) from error
    except ValueError as error:  # OpenSSL is less strict
        raise ConfigError(f"tls: {certificate} breaks RFC 5280: {error}") from error
    return pair


def make_context(pair: Pair) -> ssl.SSLContext:
    """Return a context of TLS 1.2 and 1.3 that serves with a pair. Raises ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # each costs us a signature and the client nothing
    context.set_alpn_protocols(["http/1.1"])
    with _hidden_file(pair.certificate) as certificate, _hidden_file(pair.key) as key:
        # With a password at hand OpenSSL does not ask the terminal for one.
        context.load_cert_chain(certificate, key, password="")
    return context


class Certificates:
    """What a worker serves TLS with: each handshake begins with the newest pair.

    OpenSSL calls us in every handshake, with a server name or without, and goes on with the context
    that we name. Loading into the one context in use would leave it without a key where the new one
    does not fit, and a handshake under way with half of each.
    """

    def __init__(self, pair: Pair) -> None:
        self._first = self._newest = make_context(pair)
        self._first.sni_callback = self._choose

    def give(self, *_: object) -> ssl.SSLContext:
        """Return the context to listen with (uvicorn's ssl_context_factory)."""
        return self._first

    def take(self, pair: Pair) -> None:
        """Serve new connections with `pair`; those that are open stay as they are."""
        self._newest = make_context(pair)

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        del name, context
        connection.context = self._newest


class CertificateFiles:
    """The files of `CERT,KEY`, looked at again and again."""

    def __init__(self, tls: str) -> None:
        self._tls = tls
        self._problem = ""
        self.pair = read_pair(tls)

    def look(self, *, asked: bool = False) -> Pair | None:
        """Return what lies there now if it is new and good, else None.

        What cannot be used is said once, and again when an operator asked for the look. The
        contents are compared: certbot and Kubernetes turn symbolic links whose files keep their
        times.
        """
        try:
            found = read_pair(self._tls)
        except (ConfigError, OSError) as error:
            if asked or self._problem != str(error):
                log.warning("%s; the certificate taken before stays in use", error)
            self._problem = str(error)
            return None
        self._problem = ""
        if found == self.pair:
            if asked:
                log.info("tls: the certificate is the one in use (%s)", _described(found))
            return None
        self.pair = found
        log.info("tls: new connections get the certificate %s", _described(found))
        return found


def last_moment(pair: Pair) -> datetime.datetime:
    """Return until when a certificate is good."""
    return x509.load_pem_x509_certificate(pair.certificate).not_valid_after_utc


def _described(pair: Pair) -> str:
    serial = x509.load_pem_x509_certificate(pair.certificate).serial_number
    return f"{serial:x}, good until {last_moment(pair):%Y-%m-%d}"


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as source:
            content = source.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"tls: cannot read {file}: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"tls: {file} is larger than any certificate or key: name another file")
    return content


@contextmanager
def _hidden_file(content: bytes) -> Iterator[str]:
    """Give the path of a file that no directory holds: the ssl module reads from paths alone."""
    if sys.platform == "linux":
        opened: IO[bytes] = os.fdopen(os.memfd_create("tls"), "w+b")
    else:
        opened = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed below
    with opened as file:
        file.write(content)
        file.flush()
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"


def _refusal(certificate: Path, key: Path, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"tls: the key {key} does not belong to the certificate {certificate}"
    return (
        f"tls: {certificate} and {key} are not a certificate and its key without a password, "
        f"both PEM ({error.reason or 'no PEM found'})"
    )
