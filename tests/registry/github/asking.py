"""A client of /api/v3 whose answers are checked against GitHub's own schemas."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs

from tests.registry.client import Client

RECORDED = json.loads(Path(__file__).with_name("schemas.json").read_text("utf-8"))
V3 = "/api/v3"


def validator(reference: str, change: str = "") -> jsonschema_rs.Draft202012Validator:
    """Return what checks one of the schemas; `change` adds a visibility to those of packages."""
    schemas = json.loads(json.dumps(RECORDED["schemas"]))
    if change:
        schemas["package"]["properties"]["visibility"]["enum"].append(change)
    document = {"$ref": f"#/components/schemas/{reference}", "components": {"schemas": schemas}}
    return jsonschema_rs.Draft202012Validator(document, validate_formats=True)


VALIDATORS = {
    # GitHub has packages that are internal, and says so in its answers; its schema does not.
    "package": validator("package", "internal"),
    **{
        name: validator(name)
        for name in ("package-version", "basic-error", "public-user", "organization-full")
    },
}


def shown(response: httpx.Response, schema: str) -> Any:
    """Return the one thing that was answered."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    VALIDATORS[schema].validate(response.json())
    return response.json()


def listed(response: httpx.Response, schema: str) -> list[Any]:
    """Return the things that were answered."""
    assert response.status_code == 200, response.text
    for item in response.json():
        VALIDATORS[schema].validate(item)
    found: list[Any] = response.json()
    return found


def refused(response: httpx.Response, status: int, *words: str) -> dict[str, Any]:
    """Check a refusal in GitHub's dialect; return it."""
    assert response.status_code == status, response.text
    said: dict[str, Any] = response.json()
    VALIDATORS["basic-error"].validate(said)
    assert set(said) == {"message", "documentation_url", "status", "request_id"}
    assert said["status"] == str(status)
    ids = {said["request_id"], *(response.headers[f"x-{by}request-id"] for by in ("", "github-"))}
    assert len(ids) == 1
    for word in words:
        assert word in said["message"]
    return said


def links(response: httpx.Response) -> dict[str, str]:
    """Return the links between pages as octokit reads them, by their names."""
    return {
        name: url.partition("?")[2]
        for url, name in re.findall(
            r'<([^<>]+)>;\s*rel="([^"]+)"', response.headers.get("link", "")
        )
    }


async def names(client: Client, place: str, **query: object) -> list[str]:
    """List containers at a place, by name."""
    asked = {"package_type": "container", **query}
    found = listed(await client.get(f"{V3}/{place}/packages", params=asked), "package")
    return [package["name"] for package in found]
