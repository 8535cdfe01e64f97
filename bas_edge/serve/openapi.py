"""The OpenAPI 3.1 document, made of the table of operations and their types."""

from __future__ import annotations

from typing import Any

import msgspec

from bas_edge import __version__
from bas_edge.serve.operations import OPERATIONS, Operation
from bas_edge.serve.schema import Health, Problem

__all__ = ["openapi"]

_REFUSALS = {
    "400": "The body is no JSON, or the Host header names another server.",
    "401": "The token is missing or wrong.",
    "403": "The request comes from a page of another server.",
    "404": "There is no such stream.",
    "413": "The body is too large.",
    "422": "A value is out of range.",
    "429": "Too many requests, or too many wrong tokens.",
}


def openapi() -> dict[str, Any]:
    """The document, ready for JSON."""
    bodies = [each.body for each in OPERATIONS if each.body is not None]
    types = list(dict.fromkeys([*(each.answer for each in OPERATIONS), *bodies, Problem, Health]))
    references, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    schema_of = dict(zip(types, references, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method.lower()] = _described(each, schema_of)
    paths["/healthz"] = {"get": _health(schema_of[Health])}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bas-edge",
            "version": __version__,
            "description": "A running bas-edge pipeline: its streams, what they show, its tuning.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _described(each: Operation, schema_of: dict[type, Any]) -> dict[str, Any]:
    parameters = []
    if "{name}" in each.path:
        name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
        parameters.append(name | {"description": "The stream's name, with / as %2F"})
    for query, meaning in each.query:
        number = {"type": "integer", "minimum": 0}
        parameters.append({"name": query, "in": "query", "description": meaning, "schema": number})
    words = each.path.replace("/api/", "").replace("{name}/", "").replace("{name}", "one")
    described: dict[str, Any] = {
        "operationId": f"{each.method.lower()}-{words.replace('/', '-')}",
        "summary": each.summary,
        "parameters": parameters,
        "responses": {"200": _json("What was asked for.", schema_of[each.answer])}
        | {code: _json(why, schema_of[Problem]) for code, why in _REFUSALS.items()},
    }
    if each.body is not None:
        content = {"application/json": {"schema": schema_of[each.body]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _health(schema: Any) -> dict[str, Any]:
    return {
        "operationId": "get-healthz",
        "summary": "Whether the pipeline lives and no stream has failed for ever",
        "security": [],
        "responses": {
            "200": _json("It does.", schema),
            "503": _json("It does not, and why.", schema),
        },
    }


def _json(meaning: str, schema: Any) -> dict[str, Any]:
    return {"description": meaning, "content": {"application/json": {"schema": schema}}}
