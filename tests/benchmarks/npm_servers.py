"""What Packhouse is measured against with npm packages: verdaccio, and itself with few packages."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks import npm_filling, programs
from tests.benchmarks.servers import (
    VERDACCIO,
    Certificate,
    Packhouse,
    Server,
    accepts,
    finish,
    free_port,
    serving,
)
from tests.clients import pins

TEN_PACKAGES = "packhouse of 10 packages"
MANY_PACKAGES = "packhouse of 100,000 packages"

CONFIGURATION = """
storage: {home}/storage
auth: {{htpasswd: {{file: {home}/htpasswd}}}}
uplinks: {{}}
packages: {{"**": {{access: $all, publish: $all, unpublish: $all}}}}
web: {{enable: false}}
max_body_size: 100mb
log: {{type: file, path: {home}/verdaccio.log, level: warn}}
"""


class Verdaccio:
    """verdaccio on files, without authentication."""

    name = VERDACCIO

    def __init__(self, home: Path) -> None:
        about = pins.load()["verdaccio"]
        found = pins.find(about)
        if found is None:
            raise programs.Missing(f"verdaccio is missing: {pins.cure(about)}")
        self._path = found.path
        self._home = home / "verdaccio"
        self._home.mkdir()

    @property
    def storage(self) -> Path:
        """Where its packages lie."""
        return self._home / "storage"

    @contextmanager
    def running(self, certificate: Certificate | None = None) -> Iterator[Server]:
        """Serve on a free port, over plain HTTP."""
        del certificate
        port, path = free_port(), self._home / "config.yaml"
        path.write_text(CONFIGURATION.format(home=self._home))
        command = [self._path, "--config", path, "--listen", f"http://127.0.0.1:{port}"]
        environment = {**os.environ, "PATH": pins.SEARCH, "NODE_ENV": "production"}
        log = self._home / "out"
        with serving(command, log, lambda: accepts(port), environment) as server:
            finish(server, self.name, port, None)
            yield server


class ManyPackages(Packhouse):
    """Packhouse whose packages are all of npm."""

    name = MANY_PACKAGES
    packages = npm_filling.PACKAGES

    def __init__(self, home: Path) -> None:
        super().__init__(home / f"npm-{self.packages}")

    def fill(self) -> None:
        """Copy a database of npm packages."""
        npm_filling.copy_filled(self._data, self.packages)


class TenPackages(ManyPackages):
    """The same with ten of them."""

    name = TEN_PACKAGES
    packages = 10
