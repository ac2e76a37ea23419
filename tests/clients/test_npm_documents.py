"""The lines for npm's clients in the README and in docs/npm.md, as a newcomer copies them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import npm, server
from tests.clients.server import PACKHOUSE, Registry
from tests.clients.shell import Shell

ROOT = Path(__file__).parents[2]
EXAMPLE = "localhost:5000"


def block(page: str, language: str, holding: str) -> str:
    """The one block of a page that holds a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    [found] = [text for text in blocks if holding in text]
    return str(found)


@pytest.fixture
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A server that was started just now."""
    with server.running(tmp_path_factory.mktemp("newcomer")) as running:
        yield running


@pytest.fixture
def newcomer(registry: Registry, tmp_path: Path) -> Shell:
    shell = Shell(tmp_path / "home", logs=[registry.log])
    shell.env["PATH"] = f"{PACKHOUSE.parent}:{shell.env['PATH']}"
    shell.env["PACKHOUSE_DATA"] = str(registry.data)
    shell.env["npm_config_update_notifier"] = "false"
    return shell


def here(text: str, registry: Registry) -> str:
    assert EXAMPLE in text
    return text.replace(EXAMPLE, f"localhost:{registry.host.rpartition(':')[2]}")


def test_the_lines_of_the_readme_publish_and_install(
    newcomer: Shell, registry: Registry, tmp_path: Path
) -> None:
    """Each in a directory of its own, as clients do not share one."""
    registry.admin("owner", "rename", registry.owner, "before")  # its name is made anew
    registry.admin("owner", "release", registry.owner)
    text = here(block("README.md", "sh", "npm publish"), registry)
    lines = [line.partition("  #")[0].strip() for line in text.splitlines()]
    script = []
    for number, line in enumerate(lines):
        directory = tmp_path / f"line-{number}"
        npm.package(directory, "@acme/pad" if line == "npm publish" else "app")
        script += [f"cd {directory}", line]
    newcomer("bash", "-exc", "\n".join(script))
    for number, line in enumerate(lines):
        if line.endswith("@acme/pad"):
            assert npm.says(newcomer, tmp_path / f"line-{number}", "@acme/pad") == "1.0.0"
        if line.startswith("oras pull"):
            assert (tmp_path / f"line-{number}" / "pad-1.0.0.tgz").exists()
    assert {line.split()[0] for line in lines} >= {"npm", "pnpm", "yarn", "oras"}


@pytest.mark.parametrize("client", npm.CLIENTS, ids=str)
def test_the_configuration_in_the_page_is_all_a_client_needs(
    newcomer: Shell, registry: Registry, client: npm.Client, tmp_path: Path
) -> None:
    npmrc = here(block("docs/npm.md", "ini", "registry"), registry)
    yarnrc = here(block("docs/npm.md", "yaml", "npmScopes"), registry)
    (newcomer.home / ".npmrc").write_text(npmrc)
    (newcomer.home / ".yarnrc.yml").write_text(yarnrc)
    newcomer.env["NPM_TOKEN"] = registry.token
    newcomer.env["YARN_ENABLE_IMMUTABLE_INSTALLS"] = "false"  # on where CI is set
    npm.published(newcomer, client, npm.package(tmp_path / "pad", "@acme/pad"))
    app = npm.project(tmp_path / "app")
    newcomer(client.name, *client.add, "@acme/pad", cwd=app)
    node = ["berry", "node"] if client is npm.BERRY else ["node"]  # yarn 4 keeps it in an archive
    assert newcomer(*node, "-p", 'require("@acme/pad")', cwd=app).strip() == "1.0.0"
