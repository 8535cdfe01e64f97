"""Reading and writing the manifest inside an ONNX file, without the `onnx` package.

An ONNX file is one protobuf message, ModelProto: a sequence of (tag, value) fields. Its
metadata is the repeated field 14, each a message of a key (1) and a value (2). Only the
top level is walked and values are skipped by their length, so a large graph is never read.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bas_edge.engine.manifest import (
    MANIFEST_LIMIT_BYTES,
    METADATA_KEY,
    Manifest,
    decode_manifest,
    encode_manifest,
)
from bas_edge.errors import EngineCorruptError, EngineError, InputError

__all__ = ["read_manifest", "read_metadata", "with_manifest", "with_metadata"]

_METADATA_FIELD = 14
_KEY_FIELD, _VALUE_FIELD = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}


@dataclass(frozen=True, slots=True)
class _Field:
    """One top-level field: bytes [start, end) of the stream; its payload begins at `payload`."""

    number: int
    wire_type: int
    start: int
    payload: int
    end: int


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """The manifest that `bas-edge export` put into an ONNX file.

    Raises:
        InputError: No such file.
        EngineError: Not ONNX, or ONNX without our metadata.
        EngineSchemaError, EngineCorruptError: The metadata is of another version or damaged.
    """
    metadata = read_metadata(path)
    if METADATA_KEY not in metadata:
        raise EngineError(
            f"{path} has no bas-edge metadata: its classes, input policy and threshold "
            "are unknown.",
            hint="Export it from a checkpoint: bas-edge export CHECKPOINT -o model.onnx",
        )
    return decode_manifest(metadata[METADATA_KEY], source=str(path))


def read_metadata(path: str | os.PathLike[str]) -> dict[str, bytes]:
    """Every key and value of the file's `metadata_props`.

    Raises:
        InputError: No such file.
        EngineError: Not an ONNX file.
        EngineCorruptError: A metadata entry is larger than a manifest may be.
    """
    entries: dict[str, bytes] = {}
    try:
        with Path(path).open("rb") as stream:
            for item in _fields(stream):
                if item.number == _METADATA_FIELD and item.wire_type == _BYTES:
                    key, value = _entry(stream, item, str(path))
                    entries[key] = value
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.", hint="Check the path.") from None
    except ValueError as error:
        raise EngineError(
            f"{path} is not a readable ONNX file: {error}.",
            hint="Export it again: bas-edge export CHECKPOINT -o model.onnx",
        ) from None
    return entries


def with_manifest(model: bytes, manifest: Manifest) -> bytes:
    """The bytes of an ONNX file with `manifest` as its only bas-edge manifest."""
    return with_metadata(model, METADATA_KEY, encode_manifest(manifest))


def with_metadata(model: bytes, key: str, value: bytes) -> bytes:
    """The bytes of an ONNX file with one entry of metadata set, whatever it was before."""
    stream = io.BytesIO(model)
    kept = bytearray()
    for item in _fields(stream):
        metadata = item.number == _METADATA_FIELD and item.wire_type == _BYTES
        if not (metadata and _entry(stream, item, "the model")[0] == key):
            kept += model[item.start : item.end]
    entry = _bytes_field(_KEY_FIELD, key.encode()) + _bytes_field(_VALUE_FIELD, value)
    return bytes(kept) + _bytes_field(_METADATA_FIELD, entry)


def _fields(stream: BinaryIO) -> Iterator[_Field]:
    """The top-level fields of a protobuf message that fills `stream`."""
    end_of_stream = stream.seek(0, os.SEEK_END)
    at = 0
    while at < end_of_stream:
        stream.seek(at)
        tag = _varint(stream)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("it is not a protobuf message")
        if wire_type == _VARINT:
            payload = stream.tell()
            _varint(stream)
            end = stream.tell()
        elif wire_type == _BYTES:
            length = _varint(stream)
            payload = stream.tell()
            end = payload + length
        elif wire_type in _FIXED_SIZES:
            payload = stream.tell()
            end = payload + _FIXED_SIZES[wire_type]
        else:
            raise ValueError("it is not a protobuf message")
        if end > end_of_stream:
            raise ValueError(f"it ends at byte {end_of_stream}, inside a field that ends at {end}")
        yield _Field(number, wire_type, at, payload, end)
        at = end


def _entry(stream: BinaryIO, item: _Field, source: str) -> tuple[str, bytes]:
    size = item.end - item.payload
    if size > MANIFEST_LIMIT_BYTES:
        raise EngineCorruptError(
            f"A metadata entry of {source} has {size} bytes; the limit is {MANIFEST_LIMIT_BYTES}."
        )
    stream.seek(item.payload)
    encoded = io.BytesIO(stream.read(size))
    parts = {part.number: encoded.getvalue()[part.payload : part.end] for part in _fields(encoded)}
    return parts.get(_KEY_FIELD, b"").decode(), parts.get(_VALUE_FIELD, b"")


def _varint(stream: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            raise ValueError("it ends inside a number")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("it is not a protobuf message")


def _bytes_field(number: int, payload: bytes) -> bytes:
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(len(payload)) + payload


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
