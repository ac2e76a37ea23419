"""What all clients share: layers, and a repository whose one tag they all move."""

from dataclasses import dataclass, field
from random import Random

import httpx

from tests.durability.model import Made, Race
from tests.registry.client import digest_of

SIZES = (10, 100, 5_000, 40_000, 70_000, 300_000, 700_000)
"""Bytes; no chunk of them is of one byte, for `Range: 0-0` is said of none and of one."""

LAYERS = 12
"""Layers that all clients share."""

SHARED = "admin/shared"
KEPT = 8
"""Manifests of the shared repository that stay from round to round."""


@dataclass(slots=True)
class Shared:
    """What all clients know: layers, the repository they fight over, and who else there is."""

    seed: str
    engine: str
    race: Race = field(default_factory=Race)
    raced: dict[str, Made] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    repositories: list[str] = field(default_factory=list)
    layers: list[bytes] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number in range(LAYERS):
            self.layers.append(Random(f"{self.seed} {number}").randbytes(SIZES[number % 7]))

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1


async def look_at_shared(http: httpx.AsyncClient, shared: Shared) -> None:
    """Check the repository that all clients wrote to at once, and keep it small."""
    base = f"/v2/{SHARED}"
    response = await http.get(f"{base}/manifests/race")
    assert response.status_code in (200, 404), response.text
    found = response.headers["docker-content-digest"] if response.status_code == 200 else None
    shared.race.settle(found)
    for digest, made in list(shared.raced.items()):
        response = await http.get(f"{base}/manifests/{digest}")
        if response.status_code == 404:
            assert digest not in shared.acknowledged, f"{digest} was acknowledged and is gone"
            assert digest != found
            del shared.raced[digest]
        else:
            assert response.content == made.data, response.text
    for blob in {blob for made in shared.raced.values() for blob in made.blobs}:
        response = await http.get(f"{base}/blobs/{blob}")
        assert digest_of(response.content) == blob, response.text
    for digest in [digest for digest in shared.raced if digest != found][:-KEPT]:
        response = await http.delete(f"{base}/manifests/{digest}")
        assert response.status_code == 202, response.text
        del shared.raced[digest]
        shared.acknowledged.discard(digest)
