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
    "500": "It failed, such as on a full disk.",
}
_EVERYWHERE = ("400", "401", "429")
_ALSO_BASIC: list[dict[str, list[str]]] = [
    {"bearer": []},
    {"basic": []},
]  # with the token as the password
_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The stream's name, with / as %2F",
    "schema": {"type": "string"},
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
    problem = schema_of[Problem]
    paths["/streams/{name}.mjpeg"] = {"get": _mjpeg(problem)}
    paths["/metrics"] = {"get": _metrics(problem)}
    paths["/api/openapi.json"] = {"get": _itself(problem)}
    paths["/healthz"] = {"get": _health(schema_of[Health])}
    schemes = {each: {"type": "http", "scheme": each} for each in ("bearer", "basic")}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bas-edge",
            "version": __version__,
            "description": "A running bas-edge pipeline: its streams, what they show, its tuning.",
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": schemes},
        "security": [{"bearer": []}],
    }


def _described(each: Operation, schema_of: dict[type, Any]) -> dict[str, Any]:
    parameters = [_NAME] if "{name}" in each.path else []
    for query, meaning in each.query:
        parameters.append(_query(query, meaning, type="integer", minimum=0))
    words = each.path.replace("/api/", "").replace("{name}/", "").replace("{name}", "one")
    described: dict[str, Any] = {
        "operationId": f"{each.method.lower()}-{words.replace('/', '-')}",
        "summary": each.summary,
        "parameters": parameters,
        "responses": {"200": _content("What was asked for.", schema_of[each.answer])}
        | _refused(schema_of[Problem], *_REFUSALS),
    }
    if each.body is not None:
        content = {"application/json": {"schema": schema_of[each.body]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _mjpeg(problem: Any) -> dict[str, Any]:
    full = {"503": _content("As many look already as may.", problem)}
    return {
        "operationId": "get-mjpeg",
        "summary": "Pictures of a stream, with boxes, for as long as somebody looks",
        "security": _ALSO_BASIC,
        "parameters": [
            _NAME,
            _query("width", "In pixels", type="number", minimum=1, maximum=10_000, default=640),
            _query("overlay", "Opacity of the map", type="number", minimum=0, maximum=1, default=0),
        ],
        "responses": {"200": _content("JPEGs.", {"type": "string"}, "multipart/x-mixed-replace")}
        | _refused(problem, *_EVERYWHERE, "404", "422")
        | full,
    }


def _metrics(problem: Any) -> dict[str, Any]:
    return {
        "operationId": "get-metrics",
        "summary": "Numbers for Prometheus",
        "security": _ALSO_BASIC,
        "responses": {"200": _content("Its text format.", {"type": "string"}, "text/plain")}
        | _refused(problem, *_EVERYWHERE),
    }


def _itself(problem: Any) -> dict[str, Any]:
    return {
        "operationId": "get-openapi",
        "summary": "This document",
        "responses": {"200": _content("OpenAPI 3.1.", {"type": "object"})}
        | _refused(problem, *_EVERYWHERE),
    }


def _health(schema: Any) -> dict[str, Any]:
    return {
        "operationId": "get-healthz",
        "summary": "Whether everything works that cannot repair itself",
        "security": [],
        "responses": {
            "200": _content("It does.", schema),
            "503": _content("It does not, and why.", schema),
        },
    }


def _query(name: str, meaning: str, **schema: object) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": meaning, "schema": schema}


def _refused(problem: Any, *codes: str) -> dict[str, Any]:
    return {code: _content(_REFUSALS[code], problem) for code in codes}


def _content(meaning: str, schema: Any, kind: str = "application/json") -> dict[str, Any]:
    return {"description": meaning, "content": {kind: {"schema": schema}}}
