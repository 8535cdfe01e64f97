"""JSON with a schema version, decoded into a struct or refused in one clear sentence."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from bas_edge.errors import EngineCorruptError, EngineSchemaError

__all__ = ["decode_versioned"]

_T = TypeVar("_T")


class _Header(msgspec.Struct):
    """The one field that every schema has; the rest is not looked at."""

    schema_version: int


def decode_versioned(
    encoded: bytes, kind: type[_T], *, what: str, source: str, schema: int, limit_bytes: int
) -> _T:
    """Decode and check UTF-8 JSON.

    Args:
        encoded: One object with the key `schema_version`.
        kind: The struct that schema `schema` describes.
        what: What it is called, "manifest" …
        source: Where it came from, for messages.
        schema: The only version that is read.
        limit_bytes: What is longer is not looked at.

    Raises:
        EngineSchemaError: Another schema version.
        EngineCorruptError: Too large, not JSON, or not a `kind`.
    """
    if len(encoded) > limit_bytes:
        raise EngineCorruptError(
            f"The {what} of {source} has {len(encoded)} bytes; the limit is {limit_bytes}."
        )
    try:
        version = msgspec.json.decode(encoded, type=_Header).schema_version
        if version != schema:
            raise EngineSchemaError(
                f"{source} has {what} schema {version}; this version reads {schema}.",
                hint="Upgrade bas-edge." if version > schema else "Build the engine again.",
            )
        return msgspec.json.decode(encoded, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EngineCorruptError(
            f"The {what} of {source} cannot be read: {error}.",
            hint="Build the engine again, or copy it again from where it came.",
        ) from None
