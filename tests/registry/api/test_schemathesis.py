"""The document of /api/v1 against a real server: schemathesis finds nothing."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.registry.api.schemathesis_hooks import OWN_NAME, OWN_TOKEN
from tests.registry.client import Client
from tests.registry.processes import Server, environment

ROOT = Path(__file__).parents[3]
PROGRAM = Path(sys.executable).with_name("schemathesis")
CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 300 if os.environ.get("SOAK") else 5
"""For each operation, besides the borders of everything that the document bounds."""

NAME = "tester"
"""An administrator of the site made for this, whom nothing here may disable or rename."""

NO_LIMITS = {
    f"PACKHOUSE_{key}": "0"
    for key in ("PULLS_PER_MINUTE", "WRITES_PER_MINUTE", "TOKENS_PER_MINUTE", "WRONG_PASSWORDS")
}
"""429 is no answer to learn from here; limits have tests of their own."""


async def furnish(url: str, text: str) -> None:
    """Make what schemathesis.toml names, so that requests reach something."""
    client = Client(None, f"Bearer {text}", url)
    async with client.http:
        await _furnish(client)


async def _furnish(client: Client) -> None:
    await client.post("/api/v1/users", json={"name": NAME, "admin": True})
    v1 = "/api/v1"
    for name in ("ann", "bob"):
        await client.post(f"{v1}/users", json={"name": name})
    for name in ("acme", "globex"):
        await client.post(f"{v1}/organizations", json={"name": name, "owner": "ann"})
    await client.put(f"{v1}/organizations/acme/members/bob", json={})
    for name in ("core", "docs"):
        await client.post(f"{v1}/organizations/acme/teams", json={"name": name})
    for name in ("widget", "gadget"):
        await client.post(f"{v1}/owners/acme/projects", json={"name": name})
    await client.post(f"{v1}/projects/acme/widget/tokens", json={"kind": "robot"})
    for name in ("acme/app", "acme/app/web"):
        await client.push_image(name, "v1")


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    with Server(tmp_path / "data", **NO_LIMITS) as server:
        asyncio.run(furnish(server.url, server.token()))
        text = server.token("--user", NAME)
        headers = {"Authorization": f"Bearer {text}"}
        own = httpx.get(f"{server.url}/api/v1/user", headers=headers).json()
        command = [
            *(PROGRAM, "--no-color", "--config-file", CONFIG, "run"),
            *("--url", server.url, "--header", f"Authorization: Bearer {text}"),
            *("--checks", "all", "--max-examples", str(EXAMPLES)),
            *("--phases", "examples,coverage,fuzzing,stateful"),
            *("--generation-database", "none"),
            f"{server.url}/api/v1/openapi.json",
        ]
        its = {OWN_NAME: NAME, OWN_TOKEN: str(own["token"]["id"]), "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment(**its),
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            pytest.fail(ran.stdout.replace(text, "TOKEN")[-20_000:] + ran.stderr)
        after = httpx.get(f"{server.url}/api/v1/user", headers=headers)
        assert after.json() == own, "it has shut itself out"
        assert "request failed" not in server.text
