"""The OpenAPI document of an API, made from its operations: what is not declared is not there."""

from collections.abc import Sequence
from typing import Any

import msgspec

from registry.rest.names import path_name
from registry.rest.needs import FOR_ALL, On
from registry.rest.operation import NoQuery, Operation
from registry.rest.problem import MEDIA_TYPE, Problem

_REF = "#/components/schemas/{name}"


def describe(operations: Sequence[Operation], title: str, version: str) -> dict[str, Any]:
    """Return an OpenAPI 3.1 document."""
    types = [Problem]
    for operation in operations:
        types += [kind for kind in (operation.answer, operation.body) if kind is not None]
    queries = [operation.query for operation in operations if operation.query is not NoQuery]
    schemas, components = msgspec.json.schema_components([*types, *queries], ref_template=_REF)
    refs = dict(zip([*types, *queries], schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _describe(operation, refs, components)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "security": [{"basic": []}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _describe(
    operation: Operation, refs: dict[Any, Any], components: dict[str, Any]
) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": operation.summary}
    if operation.answer is not None:
        answer["content"] = {"application/json": {"schema": refs[operation.answer]}}
    if operation.lines:
        answer["content"]["application/x-ndjson"] = {"schema": {"type": "string"}}
    problem = {MEDIA_TYPE: {"schema": refs[Problem]}}
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.segments[2]],
        "parameters": [*_path(operation), *_query(operation, refs, components)],
        "responses": {
            str(operation.status): answer,
            "default": {"description": "What is wrong, in words", "content": problem},
        },
    }
    if operation.need.on is On.NOTHING:
        described["security"] = []
    elif operation.need.on in FOR_ALL and operation.method == "GET":
        described["security"] = [{}, {"basic": []}, {"token": []}]  # public ones are for everybody
    if operation.body is not None:
        content = {"application/json": {"schema": refs[operation.body]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _path(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": path_name(name).schema()}
        for name in operation.parameters
    ]


def _query(
    operation: Operation, refs: dict[Any, Any], components: dict[str, Any]
) -> list[dict[str, Any]]:
    if operation.query is NoQuery:
        return []
    schema = components[refs[operation.query]["$ref"].rpartition("/")[2]]
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": part}
        for name, part in schema["properties"].items()
    ]
