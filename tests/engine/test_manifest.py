from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bas_edge.engine.manifest import (
    MANIFEST_LIMIT_BYTES,
    SCHEMA_VERSION,
    InputPolicy,
    ThresholdPolicy,
    decode_manifest,
    encode_manifest,
)
from bas_edge.errors import EngineCorruptError, EngineSchemaError


@pytest.mark.parametrize("indent", [0, 2])
def test_manifest_survives_json(graphs: ModuleType, indent: int) -> None:
    manifest = graphs.tiny_manifest(maps="selected", classes=("é", "鳥", "c"))
    encoded = encode_manifest(manifest, indent=indent)
    assert encoded.endswith(b"\n") == bool(indent)
    assert decode_manifest(encoded, source="test") == manifest


def test_a_manifest_from_before_there_were_bounds_opens(graphs: ModuleType) -> None:
    fields = json.loads(encode_manifest(graphs.tiny_manifest()))
    for later in ("bound", "quantization", "stages"):
        del fields[later]
    assert decode_manifest(json.dumps(fields).encode(), source="test").bound is None


def changed(graphs: ModuleType, **changes: Any) -> bytes:
    fields = json.loads(encode_manifest(graphs.tiny_manifest()))
    return json.dumps({**fields, **changes}).encode()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": []}, "there are 0"),
        ({"classes": ["a", "b", "b"]}, "all different"),
        ({"classes": ["a", "b"]}, "k is 3 with maps 'all' and 2 classes"),
        ({"maps": "mean"}, "k is 3 with maps 'mean'"),
        ({"maps": "selected", "k": 4}, "k is 4 with maps 'selected' and 3 classes"),
        ({"maps": "some"}, "Invalid enum value 'some'"),
        ({"top_k": 0}, "top_k is 0, but must be 1 to k, which is 3"),
        ({"top_k": 4}, "top_k is 4"),
        ({"min_score": 1.5}, "min_score is 1.5"),
        ({"input": {"height": 0, "width": 32}}, "input is 0 × 32"),
        ({"threshold": {"rule": "fixed", "value": -0.1}}, "threshold value is -0.1"),
        ({"threshold": {"rule": "otsu", "value": 0.1}}, "Invalid enum value 'otsu'"),
        ({"k": "three"}, "Expected `int`, got `str`"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    graphs: ModuleType, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineCorruptError, match="The manifest of birds cannot be read") as caught:
        decode_manifest(changed(graphs, **changes), source="birds")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "encoded", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"schema_version": 1}']
)
def test_what_is_no_manifest_is_refused(encoded: bytes) -> None:
    with pytest.raises(EngineCorruptError, match="The manifest of birds cannot be read"):
        decode_manifest(encoded, source="birds")


def test_another_schema_names_both_versions(graphs: ModuleType) -> None:
    encoded = changed(graphs, schema_version=2, field_of_the_future=[1, 2])
    with pytest.raises(EngineSchemaError, match="schema 2; this version reads 1") as caught:
        decode_manifest(encoded, source="birds")
    assert caught.value.hint == "Upgrade bas-edge."
    with pytest.raises(EngineSchemaError, match="schema 0") as caught:
        decode_manifest(changed(graphs, schema_version=0), source="birds")
    assert caught.value.hint == "Build the engine again."


@pytest.mark.parametrize("changes", [{"colour": "blue"}, {"training": {"colour": "blue"}}])
def test_an_unknown_field_is_of_another_version(
    graphs: ModuleType, changes: dict[str, Any]
) -> None:
    encoded = changed(graphs, created_by="bas-edge 0.0.9", **changes)
    with pytest.raises(EngineSchemaError, match=r"field 'colour'.*another one wrote it") as caught:
        decode_manifest(encoded, source="birds")
    assert str(caught.value).endswith("(bas-edge 0.0.9).")
    assert caught.value.hint == "Build the engine again."


def test_engines_of_this_schema_stay_readable() -> None:
    """manifest_1.json holds every field of schema 1, and engines like it are in use.

    If this fails, a field was renamed, removed or given another meaning: raise SCHEMA_VERSION and
    write the next example. A new field with a default is added to the example, which otherwise
    never changes.
    """
    example = Path(__file__).parent / f"manifest_{SCHEMA_VERSION}.json"
    manifest = decode_manifest(example.read_bytes(), source=example.name)
    assert json.loads(encode_manifest(manifest)) == json.loads(example.read_bytes())


def test_a_huge_manifest_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(EngineCorruptError, match=f"the limit is {MANIFEST_LIMIT_BYTES}"):
        decode_manifest(b"[" * (MANIFEST_LIMIT_BYTES + 1), source="birds")


def test_policies_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="32 × 20000"):
        InputPolicy(height=32, width=20000)
    with pytest.raises(ValueError, match="nan"):
        ThresholdPolicy(rule="mean", value=float("nan"))


def test_a_manifest_without_stages_opens(graphs: ModuleType) -> None:
    fields = json.loads(encode_manifest(graphs.tiny_manifest()))
    del fields["stages"]
    assert decode_manifest(json.dumps(fields).encode(), source="older").stages == ()
