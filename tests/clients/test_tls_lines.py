"""The README's lines by which clients trust `--tls self-signed`, each as it stands there.

They run in the directory where the server was started, without a terminal. What they would write
into the machine, below /etc and into Java's own store, goes to a copy.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import server
from tests.clients.server import Registry
from tests.clients.shell import Shell

README = Path(__file__).parents[2] / "README.md"
EXAMPLE = "localhost:5000"
NODE = "fetch(process.argv[1]).then(answer => console.log(answer.status))"
JAVA = """
class Ask {
    public static void main(String[] words) throws Exception {
        var url = new java.net.URI(words[0]).toURL();
        System.out.println(((java.net.HttpURLConnection) url.openConnection()).getResponseCode());
    }
}
"""


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A server that made its own certificate."""
    home = tmp_path_factory.mktemp("signed")
    with server.running(home, PACKHOUSE_TLS="self-signed") as running:
        assert running.url.startswith("https://")
        yield running


@pytest.fixture
def lines(signed: Registry) -> dict[str, str]:
    """What to type, by client."""
    found = re.search(
        r"Clients trust `data/tls/ca.pem`:\n\n```sh\n(.*?)```", README.read_text(), re.S
    )
    assert found is not None
    text = found[1].replace(EXAMPLE, signed.host)
    return dict(line.split(maxsplit=1) for line in text.splitlines())


def program(name: str) -> Path:
    """A program that is used where it is; no test installs it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing: its line was not tried")
    return Path(found)


def test_there_is_a_line_for_each_client(lines: dict[str, str]) -> None:
    assert list(lines) == ["docker", "podman", "node", "java", "bundler"]


@pytest.mark.parametrize("client", ["docker", "podman"])
def test_container_clients_trust_a_directory(
    run: Shell, signed: Registry, lines: dict[str, str], client: str
) -> None:
    """Docker's daemon reads its directory as these clients do; it is given to no daemon here."""
    etc = run.home / "etc"
    assert "/etc/" in lines[client]
    run("bash", "-ec", lines[client].replace("/etc/", f"{etc}/"), cwd=signed.data.parent)
    [folder] = [file.parent for file in etc.rglob("ca.crt")]
    assert folder.relative_to(etc).parts[1:] == ("certs.d", signed.host)
    login = ("login", "-u", signed.user, "-p", signed.token, signed.host)
    for reader in ("podman", "skopeo"):
        assert "certificate" in run.fails(reader, *login)
        assert "Login Succeeded" in run(reader, *login, "--cert-dir", folder)


def test_node_trusts_a_variable(run: Shell, signed: Registry, lines: dict[str, str]) -> None:
    url = f"{signed.url}/v2/"
    assert "certificate" in run.fails("node", "-e", NODE, url)
    run.env["URL"] = url
    asking = f"{lines['node']}\nexec node -e '{NODE}' $URL"
    assert run("bash", "-ec", asking, cwd=signed.data.parent).strip() == "401"


def test_java_trusts_its_store(run: Shell, signed: Registry, lines: dict[str, str]) -> None:
    java, url = program("java"), f"{signed.url}/v2/"
    program("keytool")
    about = subprocess.run(
        [java, "-XshowSettings:properties", "-version"], capture_output=True, text=True, check=True
    )
    [home] = re.findall(r"java\.home = (.*)", about.stderr)
    store, source = run.home / "cacerts", run.home / "Ask.java"
    shutil.copyfile(Path(home) / "lib" / "security" / "cacerts", store)
    source.write_text(JAVA)
    asking = f"{java} -Djavax.net.ssl.trustStore={store} {source} {url}"
    if "PKIX" not in (said := run.fails("bash", "-ec", asking)):
        pytest.skip(f"this java runs no source file, its line was not tried: {said[:200]}")
    assert lines["java"].endswith(" -cacerts")
    typed = lines["java"].replace("-cacerts", f"-keystore {store}")
    run("bash", "-ec", typed, cwd=signed.data.parent)
    assert run("bash", "-ec", asking).strip() == "401"


def test_bundler_trusts_a_file(run: Shell, signed: Registry, lines: dict[str, str]) -> None:
    """Whether it trusts the file is for the day when gems are served; that it keeps it, is here."""
    program("bundle")
    run("bash", "-ec", lines["bundler"], cwd=signed.data.parent)
    said = run("bash", "-ec", "bundle config get ssl_ca_cert")
    assert str(signed.data / "tls" / "ca.pem") in said
