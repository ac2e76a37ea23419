"""Rows that read: manifests, blobs, lists of tags."""

from collections.abc import Callable, Iterator

from tests.benchmarks import filling
from tests.benchmarks.bench import TAG, Bench, Limits, Row
from tests.benchmarks.drive import Load, RunFailed, Sample, load, rate
from tests.benchmarks.servers import NGINX, PACKHOUSE, REGISTRY, Elsewhere, Server
from tests.clients.images import DOCKER_MANIFEST

MANIFEST_LIMITS = {1: Limits(3, 5), 8: Limits(4, 8), 64: Limits()}
PAGE, PAGES = 100, 1_000
Measure = Callable[[Bench, str], Sample]


def manifests(method: str, connections: int, *, by_digest: bool) -> Measure:
    """Requests per second of one manifest."""

    def measure(bench: Bench, name: str) -> Sample:
        server = bench.server(name)
        target = bench.manifest(bench.image.digest if by_digest else TAG)
        headers = {**bench.headers(name, server), "Accept": DOCKER_MANIFEST}
        if method == "GET":
            return rate(server, target, connections, bench.seconds, **headers)
        work = Load("head", [target], connections, bench.seconds, headers=headers)
        return load(server, work).rate()

    return measure


def blobs(connections: int, *, large: bool, tls: bool = False) -> Measure:
    """Megabytes per second of whole blobs."""

    def measure(bench: Bench, name: str) -> Sample:
        server = bench.server(name, tls=tls)
        targets = [bench.blob(piece) for piece in ([bench.large] if large else bench.small)]
        headers = bench.headers(name, server)
        work = Load("get", targets, connections, bench.seconds, headers=headers)
        return load(server, work).speed()

    return measure


def first_page(bench: Bench, name: str) -> Sample:
    """The first 100 tags a second; of another registry its whole answer."""
    server, target = tags(bench, name, PAGE)
    headers = bench.headers(name, server, filling.TAGGED)
    return rate(server, target, 1, bench.seconds, **headers)


def all_pages(bench: Bench, name: str) -> Sample:
    """All tags in pages of 1,000; of another registry its whole answer."""
    server, target = tags(bench, name, PAGES)
    headers = bench.headers(name, server, filling.TAGGED)
    return load(server, Load("pages", [target], 1, bench.seconds, headers=headers)).rate()


def tags(bench: Bench, name: str, page: int) -> tuple[Server, str]:
    """Return the server and the target of the list. Raises RunFailed where it has not the tags."""
    if isinstance(bench.contender(name), Elsewhere):
        raise RunFailed(f"the {filling.MANY_TAGS:,} tags are made for servers started here alone")
    query = f"?n={page}" if name == PACKHOUSE else ""
    return bench.server(name), f"/v2/{filling.TAGGED}/tags/list{query}"


def _manifest_rows() -> Iterator[Row]:
    for connections in (1, 8, 64):
        limits = {REGISTRY: MANIFEST_LIMITS[connections]}
        for method in ("GET", "HEAD"):
            for by in ("tag", "digest"):
                measure = manifests(method, connections, by_digest=by == "digest")
                name = f"manifest-{method.lower()}-{by}-{connections}"
                yield Row(name, "requests/s", limits, measure)


ROWS = [
    *_manifest_rows(),
    Row(
        "blob-1mb-8",
        "MB/s",
        {REGISTRY: Limits(3, 4), NGINX: Limits(0.7, 0.95)},
        blobs(8, large=False),
        cpu_per="GB",
    ),
    Row(
        "blob-500mb-1",
        "MB/s",
        {REGISTRY: Limits(1.2, 1.5), NGINX: Limits(0.95, 1)},
        blobs(1, large=True),
        cpu_per="GB",
    ),
    Row("tags-first-page", "lists/s", {REGISTRY: Limits(20, 100)}, first_page),
    Row("tags-all", "lists/s", {REGISTRY: Limits(1, 2)}, all_pages),
]

TLS_ROWS = [
    Row(
        name,
        "MB/s",
        {REGISTRY: Limits(), NGINX: Limits()},
        blobs(connections, large=large, tls=True),
        pairs=2,
        cpu_per="GB",
    )
    for name, connections, large in (("tls-1mb-8", 8, False), ("tls-500mb-1", 1, True))
]
