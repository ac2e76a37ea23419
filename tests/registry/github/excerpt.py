"""Makes schemas.json: what /api/v3 answers with, out of the npm package @octokit/openapi.

    npm pack @octokit/openapi@23.0.2 && tar xzf octokit-openapi-23.0.2.tgz
    python tests/registry/github/excerpt.py package/generated/api.github.com.json

The package is 400 MB unpacked: this is what we need of it. It is as it was but for two things:
OpenAPI 3.0's `nullable` stands as JSON Schema writes it, and what is only for people is left out.
"""

import json
import sys
from pathlib import Path
from typing import Any

VERSION = "23.0.2"
WANTED = ("package", "package-version", "basic-error", "simple-user", "public-user")
ALSO = ("organization-full", "nullable-minimal-repository", "root")
PREFIX = "#/components/schemas/"


def excerpt(document: dict[str, Any]) -> dict[str, Any]:
    """Return the schemas that are wanted, and those that they refer to."""
    schemas, found = document["components"]["schemas"], {}
    waiting = [*WANTED, *ALSO]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = plain(schemas[name])
            waiting += refs(found[name])
    return {"from": f"@octokit/openapi {VERSION}", "schemas": dict(sorted(found.items()))}


def operations(document: dict[str, Any]) -> list[str]:
    """Return every operation of GitHub's description that is about packages."""
    return sorted(
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method, said in methods.items()
        if said["operationId"].startswith("packages/")
    )


def plain(schema: Any) -> Any:
    """Return a schema of OpenAPI 3.0 as JSON Schema, without its examples."""
    if isinstance(schema, list):
        return [plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        name: {key: plain(value) for key, value in part.items()}
        if name == "properties"
        else plain(part)
        for name, part in schema.items()
        if name not in ("example", "examples", "nullable", "description")
        and not name.startswith("x-")
    }
    if "$ref" in kept:
        return {"$ref": kept["$ref"]}
    return {"anyOf": [kept, {"type": "null"}]} if schema.get("nullable") is True else kept


def refs(schema: Any) -> list[str]:
    """Return the names of the schemas that one refers to."""
    if isinstance(schema, list):
        return [name for part in schema for name in refs(part)]
    if not isinstance(schema, dict):
        return []
    if "$ref" in schema:
        return [schema["$ref"].removeprefix(PREFIX)]
    return [name for part in schema.values() for name in refs(part)]


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    made = excerpt(given) | {"operations": operations(given)}
    text = json.dumps(made, indent=1, ensure_ascii=False)
    Path(__file__).with_name("schemas.json").write_text(f"{text}\n", "utf-8")
