"""One benchmark run: its files, its contenders, and the servers that run at the moment."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import httpx

from tests.benchmarks import files, filling
from tests.benchmarks.drive import Load, RunFailed, Sample, load
from tests.benchmarks.servers import Certificate, Contender, Nginx, Server
from tests.clients.server import make_certificate

TAG = "v1"
LAYERS = range(100, 108)
HEADERS_SECONDS = 120
"""How long an Authorization header is used: less than the five minutes that Packhouse gives."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a row's ratio has to reach; None: only reported."""

    floor: float | None = None
    goal: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    `limits` are for the ratio of our figure to that of each contender named, or for our figure
    itself if `absolute`. With `lower` less is better.
    """

    name: str
    unit: str
    limits: Mapping[str, Limits]
    measure: Callable[["Bench", str], Sample]
    lower: bool = False
    absolute: bool = False
    pairs: int = 3
    before: Callable[["Bench"], None] | None = None
    quick: bool = True
    """Whether --quick runs it too."""
    needs: Sequence[str] = ()
    """Contenders that it starts besides."""
    takes: int = 60
    """Seconds of patience it needs: it does not begin with less time left."""
    cpu_per: str = "1,000 requests"
    """What the CPU seconds of the servers are shown per: also "GB", or the word for one run."""


@dataclass(slots=True)
class _Known:
    """An Authorization header and when it was fetched."""

    headers: dict[str, str]
    at: float = field(default_factory=time.monotonic)


class Bench:
    """What the rows measure with."""

    def __init__(
        self,
        home: Path,
        contenders: Mapping[str, Contender],
        repository: str = f"{filling.OWNER}/bench",
        *,
        quick: bool,
        seconds: int,
    ) -> None:
        self.home = home
        self.contenders = contenders
        self.repository = repository
        self.quick = quick
        self.seconds = seconds
        self.fresh: Sequence[files.Piece] = []
        self._running: dict[str, Server] = {}
        self._stack = ExitStack()
        self._tls = False
        self._seeded: set[str] = set()
        self._known: dict[tuple[str, str], _Known] = {}

    # Files, made when the first row needs them

    @cached_property
    def image(self) -> files.Image:
        """A small image whose manifest is read."""
        return files.image(self.home / "image", LAYERS, 2_000)

    @cached_property
    def small(self) -> list[files.Piece]:
        """Blobs of 1 MB."""
        made = (self.home / f"small-{number}" for number in range(16))
        return [files.noise(path, files.MEGABYTE) for path in made]

    @cached_property
    def medium(self) -> files.Piece:
        """A blob of 200 MB (20 MB in a quick run), for many transfers at once."""
        return files.noise(self.home / "medium", (20 if self.quick else 200) * files.MEGABYTE)

    @cached_property
    def large(self) -> files.Piece:
        """A blob of 500 MB."""
        return files.noise(self.home / "large", files.LARGE)

    @cached_property
    def certificate(self) -> Certificate:
        """A certificate of 127.0.0.1 that every server of a TLS row shows."""
        home = self.home / "tls"
        home.mkdir()
        return Certificate(*make_certificate(home))

    # Servers

    def server(self, name: str, *, tls: bool = False) -> Server:
        """Return the running server of a contender, starting and seeding it if need be.

        Raises RunFailed for a contender that is not here.
        """
        if tls and name not in self._seeded:
            self.close()
            self.seed(name)
        server = self.started(name, tls=tls)
        self._seed(name, server)
        return server

    def started(self, name: str, *, tls: bool = False) -> Server:
        """Return the running server of a contender, starting it if need be, with what it holds.

        Raises RunFailed for a contender that is not here.
        """
        if tls != self._tls:
            self.close()
            self._tls = tls
        if name not in self._running:
            entered = self.contender(name).running(self.certificate if tls else None)
            self._running[name] = self._stack.enter_context(entered)
        return self._running[name]

    def contender(self, name: str) -> Contender:
        """Return a contender. Raises RunFailed when it is not here."""
        if name not in self.contenders:
            raise RunFailed(f"{name} is not here")
        return self.contenders[name]

    def seed(self, name: str) -> None:
        """See that a contender, now not running, holds the files."""
        if name not in self._seeded:
            with self.contender(name).running() as server:
                self._seed(name, server)

    def close(self) -> None:
        """Stop what runs."""
        self._stack.close()
        self._running.clear()

    def headers(self, name: str, server: Server, repository: str = "") -> dict[str, str]:
        """The Authorization header for a repository, fetched when the last one gets old."""
        repository = repository or self.repository
        known = self.known_headers(name, repository)
        if known is None:
            known = server.headers(repository)
            self._known[name, repository] = _Known(known)
        return known

    def known_headers(self, name: str, repository: str = "") -> dict[str, str] | None:
        """Return the header as it was fetched, while it is good."""
        known = self._known.get((name, repository or self.repository))
        fresh = known is not None and time.monotonic() < known.at + HEADERS_SECONDS
        return known.headers if known is not None and fresh else None

    # Content

    def blob(self, piece: files.Piece) -> str:
        """The target of a blob."""
        return f"/v2/{self.repository}/blobs/{piece.digest}"

    def manifest(self, reference: str) -> str:
        """The target of a manifest."""
        return f"/v2/{self.repository}/manifests/{reference}"

    def uploads(self) -> str:
        """The target that begins an upload."""
        return f"/v2/{self.repository}/blobs/uploads/"

    def push(self, name: str, server: Server, image: files.Image, tag: str) -> None:
        """Push an image. Raises RunFailed."""
        headers = self.headers(name, server)
        pieces = [piece.job() for piece in image.blobs]
        load(server, Load("push", [self.uploads()], pieces=pieces, headers=headers))
        answer = httpx.put(
            server.url + self.manifest(tag),
            content=image.manifest,
            headers={**headers, "Content-Type": image.media_type},
            timeout=60,
        )
        if answer.status_code != 201:
            raise RunFailed(f"PUT manifest: {answer.status_code} {answer.text[:200]}")

    def _seed(self, name: str, server: Server) -> None:
        if name in self._seeded:
            return
        pieces = [*self.small, self.medium, self.large]
        contender = self.contenders[name]
        if isinstance(contender, Nginx):
            for piece in pieces:
                contender.link(self.blob(piece), piece.path)
        else:
            self.push(name, server, self.image, TAG)
            work = [piece.job() for piece in pieces]
            headers = self.headers(name, server)
            load(server, Load("push", [self.uploads()], pieces=work, headers=headers))
        self._seeded.add(name)
