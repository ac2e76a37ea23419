"""docs/operating.md is true: its commands run in their order, its messages are the code's own."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import httpx
import pytest

from registry.config import Config
from tests.clients.server import make_certificate
from tests.registry.client import OCI_MANIFEST, digest_of, image_manifest
from tests.registry.processes import PACKHOUSE, PATIENCE, Server, environment

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operating.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with the packages that the document speaks of."""
    with Server(tmp_path / "data", PACKHOUSE_WORKERS="1") as server:
        with server.client() as client:
            run(server, "packhouse org create acme")
            for name, tag in (("app", "v1"), ("app", "v2"), ("old", "v1")):
                push(client, f"acme/{name}", tag)
        yield server


def push(client: httpx.Client, name: str, tag: str) -> None:
    layer = tag.encode()
    for content in (b"{}", layer):
        begun = client.post(f"/v2/{name}/blobs/uploads/").headers["Location"]
        url = f"{begun}{'&' if '?' in begun else '?'}digest={digest_of(content)}"
        assert client.put(url, content=content).status_code == 201
    manifest = json.dumps(image_manifest(b"{}", layer)).encode()
    headers = {"Content-Type": OCI_MANIFEST}
    done = client.put(f"/v2/{name}/manifests/{tag}", content=manifest, headers=headers)
    assert done.status_code == 201


def run(server: Server, block: str) -> None:
    """Run a block of the document in bash, with this test's server and places in it."""
    home = server.data.parent
    places = {
        "https://packages.example.com": server.url,
        "/var/lib/packhouse": str(server.data),
        "/var/backups/packhouse": str(home / "backup"),
        "/etc/packhouse": str(home / "etc"),
    }
    for ours, theirs in places.items():
        block = block.replace(ours, theirs)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        env=environment(
            PACKHOUSE_DATA=str(server.data),
            PACKHOUSE_RESERVE_BYTES="0",
            PATH=f"{PACKHOUSE.parent}:{os.environ['PATH']}",
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: apt-get install curl")
def test_every_block_runs_in_the_order_of_the_document(server: Server) -> None:
    etc = server.data.parent / "etc"
    etc.mkdir()
    (etc / "bob.txt").write_text("bob's long password\n")
    certificate, key = make_certificate(etc)
    (etc / "tls.yaml").write_text(f"tls: {certificate},{key}\n")
    assert len(BLOCKS) >= 13
    for block in BLOCKS:
        run(server, block)
    with server.client() as client:
        assert client.get("/v2/acme/app/manifests/v2").status_code == 200, "deleted and restored"
        assert client.get("/v2/acme/old/manifests/v1").status_code == 404, "purged"


def test_the_restored_directory_serves_what_was_there(server: Server) -> None:
    backup, restored = [block for block in BLOCKS if "/var/backups/packhouse" in block]
    run(server, backup)
    run(server, restored)
    with Server(server.data.with_name("data-restored")) as second, second.client() as client:
        assert client.get("/v2/acme/app/manifests/v1").status_code == 200


def test_the_fields_of_a_request_s_line_are_all_told(server: Server) -> None:
    server.get("/v2/", headers={"X-Request-Id": "operating-1"})
    line = json.loads(server.wait_for('"operating-1"'))
    rows = TEXT.partition("| field | is |")[2].partition("\n\n")[0]
    told = [
        name
        for row in rows.splitlines()[2:]
        for name in re.findall(r"`([a-z]+)`", row.split("|")[1])
    ]
    assert sorted(told) == sorted(line)


def test_the_messages_it_explains_are_the_code_s_own() -> None:
    rows = TEXT.partition("| symptom | cause | what to do |")[2].splitlines()[2:]
    messages = [
        text for row in rows for text in re.findall(r"`([^`/]+ [^`/]+)`", row.split("|")[1])
    ]
    assert len(messages) >= 8
    code = " ".join(
        (ROOT / "registry" / f).read_text()
        for f in os.listdir(ROOT / "registry")
        if f.endswith(".py")
    )
    assert [text for text in messages if text not in code] == []


def test_the_keys_and_files_it_names_exist() -> None:
    keys = {key.name for key in fields(Config)}
    assert set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", TEXT)) <= keys
    assert set(re.findall(r"`([a-z_]+): ", TEXT)) <= keys
    for path in re.findall(r"\bdeploy/[a-z.]+", TEXT):
        assert (ROOT / path).is_file()
    for link in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / "docs" / link).exists()


# The unit


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is missing")
def test_the_unit_is_valid_and_keeps_the_service_in(tmp_path: Path) -> None:
    unit = tmp_path / "packhouse.service"
    text = (ROOT / "deploy" / "packhouse.service").read_text()
    unit.write_text(text.replace("/opt/packhouse/bin/packhouse", str(PACKHOUSE)))
    for words in (["verify"], ["security", "--offline=true", "--threshold=20"]):
        done = subprocess.run(
            ["systemd-analyze", *words, unit],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert words != ["verify"] or not done.stderr


def test_the_unit_waits_longer_than_transfers_may_finish() -> None:
    text = (ROOT / "deploy" / "packhouse.service").read_text()
    stop = re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) > Config().grace_seconds + 5
    assert "StateDirectory=packhouse\n" in text
