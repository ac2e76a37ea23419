"""The certificate and key to serve TLS with, tried before anything starts."""

import ssl
from pathlib import Path

from registry.config import SELF_SIGNED, ConfigError


def check_certificate(tls: str) -> None:
    """Try the files of `CERT,KEY`; uvicorn would fail in every worker instead.

    Nothing is tried for plain serving, nor for a certificate that we make. Raises ConfigError.
    """
    if tls in ("", SELF_SIGNED):
        return
    certificate, key = (Path(part) for part in tls.split(","))
    for file in (certificate, key):
        try:
            file.read_bytes()
        except OSError as error:
            raise ConfigError(f"tls: cannot read {file}: {error.strerror}") from error
    try:
        # With a password at hand OpenSSL does not ask the terminal for one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        raise ConfigError(_refusal(certificate, key, error)) from error


def _refusal(certificate: Path, key: Path, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"tls: the key {key} does not belong to the certificate {certificate}"
    return (
        f"tls: {certificate} and {key} are not a certificate and its key without a password, "
        f"both PEM ({error.reason or 'no PEM found'})"
    )
