"""doctor's look at addresses: the server's, that of metrics, the collector's, and host names."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from urllib.parse import urlsplit

from registry.checks import FAIL, OK, WARN, Check
from registry.config import Config, ConfigError
from registry.listening import Listening
from registry.proxies import host_name
from registry.sockets import listen

_PATIENCE_SECONDS = 5.0
_PORTS = {"http": 80, "https": 443}


def check_addresses(config: Config, running: Listening | None) -> Iterator[Check]:
    """Look at what listens, or could, and at what is called; `running` says so of itself."""
    if running is None:
        yield from _check_free(config)
    else:
        yield from _check_running(running)
    if config.tracing:
        yield _check_collector(config.tracing)
    if config.allowed_hosts and config.public_url:
        yield _check_host(config)


def _check_running(running: Listening) -> Iterator[Check]:
    places = [("port", url) for url in running.urls]
    for name, url in [*places, ("metrics", running.metrics)]:
        if not url:
            continue
        if fault := _fault(url):
            yield Check(name, FAIL, f"process {running.pid} should listen on {url}: {fault}")
        else:
            yield Check(name, OK, f"process {running.pid} listens on {url}")


def _check_free(config: Config) -> Iterator[Check]:
    """Listen everywhere at once: two of our own addresses may be one."""
    with ExitStack() as bound:
        yield _try(bound, "port", config.host, config.port)
        if config.metrics:
            host, _, port = config.metrics.rpartition(":")
            yield _try(bound, "metrics", [host.strip("[]")], int(port))


def _try(bound: ExitStack, name: str, hosts: Sequence[str], port: int) -> Check:
    try:
        for made in listen(hosts, port):
            bound.enter_context(made)
    except ConfigError as error:
        return Check(name, FAIL, str(error).partition(" with --port")[0])
    return Check(name, OK, f"no server runs, and port {port} is free")


def _check_collector(url: str) -> Check:
    if fault := _fault(url):
        about = f"nothing listens at {urlsplit(url).netloc} ({fault}): spans are lost"
        return Check("tracing", WARN, about)
    return Check("tracing", OK, f"something listens at {urlsplit(url).netloc}")


def _check_host(config: Config) -> Check:
    name = host_name(urlsplit(config.public_url).netloc).lower()
    if name in config.allowed_hosts:
        return Check("allowed_hosts", OK, f"{name} of public_url is among them")
    about = f"{name} of public_url is not among them, and its clients get 421: add it"
    return Check("allowed_hosts", FAIL, about)


def _fault(url: str) -> str:
    """Return why nobody can connect there; "" if one can."""
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS[parts.scheme]
        socket.create_connection((parts.hostname, port), timeout=_PATIENCE_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # a port or a name that cannot be
        return str(error)
    return ""
