"""JSON with a schema version, decoded into a struct or refused in one clear sentence."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from bas_edge.errors import EngineCorruptError, EngineSchemaError

__all__ = ["decode_versioned"]

_T = TypeVar("_T")


class _Header(msgspec.Struct):
    """What every schema has, or may have; the rest is not looked at."""

    schema_version: int
    created_by: str = ""


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
        EngineSchemaError: Another schema version, or a field that this one does not have.
        EngineCorruptError: Too large, not JSON, or not a `kind`.
    """
    if len(encoded) > limit_bytes:
        raise EngineCorruptError(
            f"The {what} of {source} has {len(encoded)} bytes; the limit is {limit_bytes}."
        )
    try:
        header = msgspec.json.decode(encoded, type=_Header)
        version = header.schema_version
        if version != schema:
            raise EngineSchemaError(
                f"{source} has {what} schema {version}; this version reads {schema}.",
                hint="Upgrade bas-edge." if version > schema else "Build the engine again.",
            )
        return msgspec.json.decode(encoded, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        unknown = re.match(r"Object contains unknown field `(.*?)`", str(error))
        if unknown:  # by a build of our own between two releases, or by hand
            raise EngineSchemaError(
                f"The {what} of {source} has the field '{unknown[1]}', which this version of "
                f"bas-edge does not know: another one wrote it ({header.created_by or 'unnamed'}).",
                hint="Build the engine again.",
            ) from None
        raise EngineCorruptError(
            f"The {what} of {source} cannot be read: {error}.",
            hint="Build the engine again, or copy it again from where it came.",
        ) from None
