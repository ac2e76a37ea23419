"""Real packages, published again unchanged under their own names, and an application of them."""

import json
import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients import npm, pins
from tests.clients.server import Registry
from tests.clients.shell import Shell, client

LIST = Path(__file__).with_name("npm_packages.txt")
PACKAGES = dict(line.split() for line in LIST.read_text().splitlines())
"""What is published, NAME@VERSION, and the hash that its own registry has for it."""
SCOPES = sorted({name.partition("/")[0] for name in PACKAGES})
KEPT = pins.CACHE / "packages"

WANTED = {
    "@babel/core": "^7.29.13",
    "@babel/preset-react": "^7.29.7",
    "@babel/preset-typescript": "^7.29.7",
    "@floating-ui/dom": "^1.8.0",
    "@isaacs/cliui": "^9.0.0",
    "@octokit/core": "^7.0.8",
    "@opentelemetry/api": "^1.10.0",
    "@rollup/pluginutils": "^5.5.1",
    "@sindresorhus/slugify": "^3.0.1",
    "@tsconfig/node20": "^20.1.10",
    "fast-glob": "^3.3.3",
}
"""What the application depends on. All of PACKAGES are below it; what has no scope comes from
elsewhere."""

PROGRAM = """
import babel from "@babel/core";
import slugify from "@sindresorhus/slugify";
import glob from "fast-glob";
const presets = ["@babel/preset-typescript", ["@babel/preset-react", { runtime: "classic" }]];
const { code } = babel.transformSync("const a: number = <b/>", { filename: "a.tsx", presets });
console.log(code, slugify("Ein Päckchen"), glob.sync("package.json"));
"""


def file_name(package: str) -> str:
    """What npm pack calls a tarball."""
    name, _, version = package.rpartition("@")
    return f"{name[1:].replace('/', '-')}-{version}.tgz"


@pytest.fixture(scope="module")
def machine() -> Mapping[str, str]:
    """The variables of this machine's user: packages of others come from where he gets his."""
    return {**os.environ, "PATH": pins.SEARCH, "npm_config_audit": "false"}


@pytest.fixture(scope="module")
def tarballs(machine: Mapping[str, str]) -> Path:
    """A directory with the tarballs, fetched once a machine."""
    KEPT.mkdir(parents=True, exist_ok=True)
    missing = [package for package in PACKAGES if not (KEPT / file_name(package)).exists()]
    if missing:
        pack = [client("npm"), "pack", "--pack-destination", KEPT, *missing]
        done = subprocess.run(pack, env=machine, capture_output=True, text=True, check=False)
        if done.returncode and not os.environ.get("CI"):
            pytest.skip(f"no registry gives the packages: {done.stderr.strip()[-200:]}")
        assert not done.returncode, done.stderr
    return KEPT


@pytest.fixture(scope="module")
def elsewhere(machine: Mapping[str, str]) -> str:
    """The registry that this machine's npm asks."""
    ask = [client("npm"), "config", "get", "registry"]
    done = subprocess.run(ask, env=machine, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def alice(tmp_path: Path, registry: Registry, elsewhere: str) -> Shell:
    """Alice, whose scopes are here, and whose other packages come from where they always did."""
    for scope in SCOPES:
        registry.admin("org", "create", scope[1:], "--owner", registry.user)
    shell = npm.home(tmp_path / "alice", registry, registry.token)
    shell.env |= {name: text for name, text in os.environ.items() if name.endswith("_proxy")}
    configuration = (shell.home / ".npmrc").read_text().splitlines()[1:]
    scopes = [f"{scope}:registry={registry.url}/npm/" for scope in SCOPES]
    lines = [f"registry={elsewhere}", *scopes, *configuration, "audit=false"]
    (shell.home / ".npmrc").write_text("\n".join(lines) + "\n")
    return shell


def test_an_application_is_installed_from_real_packages(
    alice: Shell, registry: Registry, tarballs: Path, tmp_path: Path
) -> None:
    assert len(PACKAGES) >= 30

    def publish(package: str) -> None:
        where = ("--access", "public", "--provenance=false")
        alice("npm", "publish", tarballs / file_name(package), *where, cwd=tarballs)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish, PACKAGES))

    app = npm.project(tmp_path / "app", **WANTED)
    (app / "index.mjs").write_text(PROGRAM)
    alice("npm", "install", cwd=app, timeout_seconds=600)
    installed = json.loads((app / "package-lock.json").read_text())["packages"]
    here = {
        f"{path.partition('node_modules/')[2]}@{about['version']}": about["integrity"]
        for path, about in installed.items()
        if about.get("resolved", "").startswith(registry.url)
    }
    assert here == PACKAGES, "all of them, of the same bytes, and nothing else"
    said = alice("node", "index.mjs", cwd=app)
    assert 'React.createElement("b"' in said
    assert "ein-paeckchen" in said
