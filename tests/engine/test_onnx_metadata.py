from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bas_edge.engine import onnx_metadata
from bas_edge.engine.manifest import METADATA_KEY, encode_manifest
from bas_edge.engine.onnx_metadata import read_manifest, read_metadata, with_manifest
from bas_edge.errors import EngineCorruptError, EngineError, EngineSchemaError, InputError


def test_reads_what_the_onnx_package_wrote(tmp_path: Path, graphs: ModuleType) -> None:
    model = graphs.tiny_model(graphs.tiny_manifest())
    for key, value in {"author": "näme", "empty": "", METADATA_KEY: "{}"}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    path = graphs.save(tmp_path / "m.onnx", model, None)
    assert read_metadata(path) == {"author": "näme".encode(), "empty": b"", METADATA_KEY: b"{}"}


def test_the_onnx_package_reads_what_we_wrote(tmp_path: Path, graphs: ModuleType) -> None:
    old, new = graphs.tiny_manifest(), graphs.tiny_manifest(top_k=2)
    model = graphs.tiny_model(old)
    entry = model.metadata_props.add()
    entry.key, entry.value = "author", "somebody"
    path = graphs.save(tmp_path / "m.onnx", model, old)

    written = with_manifest(path.read_bytes(), new)

    again = onnx.load_from_string(written)
    assert {p.key: p.value for p in again.metadata_props} == {
        "author": "somebody",
        METADATA_KEY: encode_manifest(new).decode(),
    }
    assert again.graph == model.graph
    assert again.opset_import == model.opset_import
    path.write_bytes(written)
    assert read_manifest(path) == new


def test_a_graph_without_our_metadata_names_the_export(
    tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    path = tiny_onnx(tmp_path / "foreign.onnx", metadata=False)
    with pytest.raises(EngineError, match="has no bas-edge metadata") as caught:
        read_manifest(path)
    assert "bas-edge export" in str(caught.value.hint)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot read .*none\.onnx: No such file"):
        read_manifest(tmp_path / "none.onnx")


def test_metadata_of_another_schema(tmp_path: Path, graphs: ModuleType) -> None:
    manifest = graphs.tiny_manifest()
    path = graphs.save(tmp_path / "m.onnx", graphs.tiny_model(manifest), manifest)
    path.write_bytes(path.read_bytes().replace(b'"schema_version":1', b'"schema_version":9'))
    with pytest.raises(EngineSchemaError, match=r"m\.onnx has manifest schema 9"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello, this is text", "not a protobuf message|inside a"),
        (b"\x00\x00", "not a protobuf message"),
        (b"\x72\xff\xff\xff\xff\x0f", "inside a field that ends at"),
        (b"\x08" + b"\xff" * 20, "not a protobuf message"),
        (b"\x08", "inside a number"),
        (b"\x72\x04\x0a\x02\xff\xfe", "can't decode byte"),
    ],
)
def test_not_an_onnx_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(EngineError, match="not a readable ONNX file") as caught:
        read_manifest(path)
    assert caught.match(message)


def test_a_truncated_file_says_where(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> None:
    path = tiny_onnx(tmp_path / "m.onnx")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(EngineError, match=f"it ends at byte {len(content) // 2}"):
        read_manifest(path)


def test_a_huge_entry_is_refused_before_it_is_read(
    tmp_path: Path, tiny_onnx: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_onnx(tmp_path / "m.onnx")
    monkeypatch.setattr(onnx_metadata, "MANIFEST_LIMIT_BYTES", 100)
    with pytest.raises(EngineCorruptError, match="the limit is 100"):
        read_manifest(path)


@given(content=st.binary(max_size=64))
def test_any_bytes_give_a_typed_error_or_metadata(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(content)
    try:
        metadata = read_metadata(path)
    except EngineError:
        return
    assert all(isinstance(value, bytes) for value in metadata.values())
