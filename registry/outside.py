"""doctor's look from outside: what arrives of a request that takes the clients' way in.

Three requests to `/-/doctor`: a plain one, one that claims to be another, and the beginning of one
whose body would be too large for a proxy with a limit.
"""

import http.client
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from registry.certificate_checks import SOON
from registry.checks import FAIL, OK, WARN, Check
from registry.config import Config
from registry.reflection import PATH

LARGE = 10 * 1024**3
"""Bytes that are announced, of which hardly any are sent."""

PATIENCE_SECONDS = 10.0
_WAITS_SECONDS = (3.0, *[1.0] * 7)
_PIECE = bytes(16 * 1024)
_CLAIMED_HOST, _CLAIMED_CLIENT = "doctor.invalid", "192.0.2.1"
_CLAIMS = {
    "Forwarded": f"for={_CLAIMED_CLIENT};host={_CLAIMED_HOST}",
    "X-Forwarded-For": _CLAIMED_CLIENT,
    "X-Forwarded-Host": _CLAIMED_HOST,
}
_NGINX_BODY = "client_max_body_size 0"
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, where a redirect leads, and what the server saw if it is ours."""

    status: int
    location: str
    seen: Mapping[str, Any] | None


class Outside:
    """One way in: a URL, and a pass that is good there."""

    def __init__(self, url: str, pass_: str) -> None:
        parts = urlsplit(url)
        self.url = url
        self.scheme = parts.scheme
        self.host = parts.netloc
        self._name = parts.hostname or ""
        self._port = parts.port
        self._pass = pass_
        self._trust = ssl.create_default_context()

    def trust(self, authority: Path) -> None:
        """Trust this machine's own authority too, where there is one."""
        if authority.exists():
            self._trust.load_verify_locations(authority)

    def check_certificate(self) -> Check:
        """Greet the server as clients do; go on without trust where that fails.

        Raises OSError where nobody is there.
        """
        name = "public certificate"
        try:
            with (
                socket.create_connection((self._name, self._port or 443), PATIENCE_SECONDS) as raw,
                self._trust.wrap_socket(raw, server_hostname=self._name) as secured,
            ):
                certificate = secured.getpeercert() or {}
        except ssl.SSLCertVerificationError as error:
            self._trust = ssl.create_default_context()
            self._trust.check_hostname, self._trust.verify_mode = False, ssl.CERT_NONE
            unknown = "self-signed" in error.verify_message or "issuer" in error.verify_message
            about = f"{self.url}: {error.verify_message}"
            if not unknown:
                return Check(name, FAIL, about)
            return Check(name, WARN, f"{about}: clients must be told to trust it")
        ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        days = int(ends - time.time()) // _DAY_SECONDS
        return Check(name, OK if days >= SOON.days else WARN, f"trusted, and good for {days} days")

    def ask(self, headers: Mapping[str, str]) -> Answer:
        """Ask what arrives. Raises OSError, http.client.HTTPException."""
        with self._begin("GET", headers) as connection:
            return _read(connection.getresponse())

    def announce(self, length: int) -> Answer | None:
        """Ask with a body that is not sent to its end; None if that is waited for.

        Raises OSError, http.client.HTTPException.
        """
        with self._begin("POST", {"Content-Length": str(length)}) as connection:
            for seconds in _WAITS_SECONDS:
                connection.sock.settimeout(seconds)
                try:
                    return _read(connection.getresponse())
                except TimeoutError:
                    # Caddy passes an early answer on only when a piece of the body comes.
                    connection.send(_PIECE)
        return None

    @contextmanager
    def _begin(
        self, method: str, headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPConnection]:
        """Send the head of a request."""
        with closing(self._connect()) as connection:
            connection.putrequest(method, PATH)
            for name, value in {"Authorization": f"Bearer {self._pass}", **headers}.items():
                connection.putheader(name, value)
            connection.endheaders()
            yield connection

    def _connect(self) -> http.client.HTTPConnection:
        if self.scheme == "http":
            return http.client.HTTPConnection(self._name, self._port, PATIENCE_SECONDS)
        return http.client.HTTPSConnection(
            self._name, self._port, timeout=PATIENCE_SECONDS, context=self._trust
        )


def _read(response: http.client.HTTPResponse) -> Answer:
    try:
        seen = json.loads(response.read(64 * 1024))["doctor"]
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        seen = None
    if not isinstance(seen, dict) or response.status != 200:
        seen = None
    return Answer(response.status, response.headers.get("Location", ""), seen)


def check_outside(config: Config, url: str, pass_: str, *, is_running: bool) -> Iterator[Check]:
    """Look at the server through `url`; it may run elsewhere, or not yet."""
    outside = Outside(url, pass_)
    outside.trust(config.directory / "tls" / "ca.pem")
    try:
        if outside.scheme == "https":
            yield outside.check_certificate()
        answer = outside.ask({})
        if answer.seen is None:
            yield Check("public URL", FAIL, _strange(url, answer))
            return
        yield Check("public URL", OK, f"{url} leads here")
        yield from _check_seen(config, outside, answer.seen)
        yield _check_claims(config, outside, answer.seen)
        yield _check_body(outside)
    except (OSError, http.client.HTTPException) as error:
        about = f"{url}: {error or type(error).__name__}"
        hint = "" if is_running else " (no server runs from this directory)"
        yield Check("public URL", FAIL if is_running else WARN, about + hint)


def _strange(url: str, answer: Answer) -> str:
    if answer.status == 421:
        return f"{url}: its host is not in allowed_hosts"
    if answer.location:
        return f"{url} redirects to {answer.location[:100]!r}: clients need the URL itself"
    if answer.status == 401:
        return f"{url} leads to another Packhouse, or the proxy drops the Authorization header"
    return f"{url} answers {answer.status} without having asked this server"


def _check_seen(config: Config, outside: Outside, seen: Mapping[str, Any]) -> Iterator[Check]:
    name, bad = "proxy headers", WARN if config.public_url else FAIL
    peer = seen["peer"] or seen["client"]
    if not seen["peer"] and (seen["said"] or seen["scheme"] != outside.scheme):
        about = f"the server does not believe the proxy at {peer}: name it in trusted_proxies"
        yield Check(name, bad, about)
        return
    wrong = False
    if seen["scheme"] != outside.scheme:
        wrong = True
        about = f"clients use {outside.scheme}, the server sees {seen['scheme']}"
        yield Check(name, bad, f"{about}: set X-Forwarded-Proto (nginx: $scheme)")
    if not _is_same_host(seen["host"], outside):
        wrong = True
        about = f"clients say {outside.host}, the server sees {seen['host'][:100]!r}"
        yield Check(name, bad, f"{about}: pass Host on (nginx: proxy_set_header Host $http_host)")
    if seen["peer"] and not _names_client(seen["said"]):
        wrong = True
        about = f"the proxy at {peer} does not say for whom: set X-Forwarded-For ($remote_addr)"
        yield Check(name, WARN, about)
    if not wrong:
        through = f"through {peer}" if seen["peer"] else "directly"
        yield Check(name, OK, f"the server sees {outside.url}, and {seen['client']} {through}")


def _names_client(said: Mapping[str, str]) -> bool:
    return "x-forwarded-for" in said or "for=" in said.get("forwarded", "").lower()


def _is_same_host(host: str, outside: Outside) -> bool:
    default = {"http": ":80", "https": ":443"}[outside.scheme]
    return host.lower().removesuffix(default) == outside.host.lower().removesuffix(default)


def _check_claims(config: Config, outside: Outside, seen: Mapping[str, Any]) -> Check:
    """Claim another host and address; the proxy must put its own words in their place."""
    name = "claims of clients"
    answer = outside.ask(_CLAIMS)
    believed = [] if answer.seen is None else [answer.seen["host"]]
    if answer.seen is not None and not _is_trusted(config, seen["client"]):
        believed.append(answer.seen["client"])  # from a trusted address, doctor may say for whom
    if answer.status == 421 or _CLAIMED_HOST in believed or _CLAIMED_CLIENT in believed:
        about = (
            "a client's own Forwarded or X-Forwarded-* header is believed: the proxy must set each "
            'of them, or empty it (nginx: proxy_set_header Forwarded "")'
        )
        return Check(name, FAIL, about)
    return Check(name, OK, "what a client says of its host and address is not believed")


def _is_trusted(config: Config, address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in config.trusted_proxies)


def _check_body(outside: Outside) -> Check:
    """Announce a large body: a proxy with a limit refuses at once, one that buffers waits."""
    name = "large uploads"
    answer = outside.announce(LARGE)
    if answer is None:
        about = (
            "the proxy keeps uploads to itself until they end: they need its disk and cannot be "
            "resumed (nginx: proxy_request_buffering off)"
        )
        return Check(name, WARN, about)
    if answer.seen is not None:
        return Check(name, OK, "a body of 10 GiB passes at once")
    if answer.status == 413:
        about = f"the proxy refuses a body of 10 GiB (413): set {_NGINX_BODY} in nginx"
        return Check(name, FAIL, about)
    return Check(name, WARN, f"a body of 10 GiB is answered {answer.status} on the way")
