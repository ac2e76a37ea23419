"""Rows of somebody with a role on 50 packages: among 100,000 they take the time of those 50."""

import base64

from tests.benchmarks import filling
from tests.benchmarks.bench import Bench, Limits, Row
from tests.benchmarks.drive import RunFailed, Sample, rate
from tests.benchmarks.servers import FEW_PACKAGES, Packhouse

CONNECTIONS = 1
LISTS = {"catalog": "/v2/_catalog?n=100", "packages": "/api/v1/packages?n=100"}


class Lists:
    """Measures a whole list; the token of each server is made once."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._headers: dict[str, str] = {}

    def __call__(self, bench: Bench, name: str) -> Sample:
        """Lists a second. Raises RunFailed."""
        server, contender = bench.server(name), bench.contender(name)
        if not isinstance(contender, Packhouse):
            raise RunFailed("the packages are made for servers started here alone")
        if name not in self._headers:
            pair = f"{filling.FEW_USER}:{contender.mint(filling.FEW_USER)}"
            self._headers[name] = "Basic " + base64.b64encode(pair.encode()).decode()
        headers = {"Authorization": self._headers[name]}
        return rate(server, self._target, CONNECTIONS, bench.seconds, **headers)


ROWS = [
    Row(f"few-{name}", "lists/s", {FEW_PACKAGES: Limits(floor=0.8, goal=0.95)}, Lists(target))
    for name, target in LISTS.items()
]
