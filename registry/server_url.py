"""URLs of servers that commands ask, and what is trusted there."""

import ipaddress
import os
import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from storage.errors import Invalid

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """Scheme and host of a server, in one spelling.

    `ca` is a file of authorities that are trusted besides the system's; "" for none.
    """

    url: str
    host: str
    ca: str = ""

    @property
    def loopback(self) -> bool:
        """Whether it is this machine itself, so that nobody else hears what is said."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def overheard(self) -> bool:
        """Whether a token goes to another machine without TLS."""
        return self.url.startswith("http:") and not self.loopback

    def trust(self) -> ssl.SSLContext:
        """Return what decides about certificates. Raises Invalid for a `ca` that is none."""
        context = ssl.create_default_context()
        try:
            if self.ca:
                context.load_verify_locations(self.ca)
        except ssl.SSLError as error:
            raise Invalid(f"{self.ca} holds no certificate in PEM") from error
        except OSError as error:
            raise Invalid(f"cannot read {self.ca}: {error.strerror}") from error
        return context


def parse_server_url(text: str, ca: str | None = None) -> ServerUrl:
    """Read the URL of a server, whichever way it is written. Raises Invalid."""
    parts = _split(text)
    scheme, host = parts.scheme, (parts.hostname or "").rstrip(".")
    name = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _PORTS[scheme]) else f":{parts.port}"
    return ServerUrl(f"{scheme}://{name}{port}", host, os.path.abspath(ca) if ca else "")


def _split(text: str) -> SplitResult:
    wrong = Invalid(
        f"{text[:200]!a} is no URL of a server: write https://HOST or https://HOST:PORT"
    )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise wrong
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise wrong from error
    if parts.username is not None or parts.password is not None:
        raise Invalid("a URL of a server holds no user and no password: use 'packhouse login'")
    beyond = parts.path not in ("", "/") or parts.query or parts.fragment
    if parts.scheme not in _PORTS or not parts.hostname or port == 0 or beyond:
        raise wrong
    return parts
