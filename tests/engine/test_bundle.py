from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import bas_edge
from bas_edge.engine.bundle import Engine, open_engine, write_bundle
from bas_edge.engine.manifest import MANIFEST_LIMIT_BYTES
from bas_edge.errors import EngineCorruptError, EngineSchemaError, InputError


@pytest.fixture
def engine(tmp_path: Path, graphs: ModuleType) -> Engine:
    return write_bundle(
        tmp_path / "birds.engine",
        graphs.tiny_manifest(),
        b"not really a graph",
        files={"report.json": b"{}", "pictures/worst.png": b"png"},
    )


def listing(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def edit_manifest(engine: Engine, change: Callable[[dict[str, Any]], None]) -> None:
    path = engine.path / "manifest.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    change(fields)
    path.write_text(json.dumps(fields), encoding="utf-8")


def test_what_is_written_opens(engine: Engine, graphs: ModuleType) -> None:
    opened = bas_edge.open_engine(engine.path)
    assert opened == engine
    assert opened.is_bundle
    assert opened.model_path.read_bytes() == b"not really a graph"
    assert opened.manifest.classes == graphs.tiny_manifest().classes
    assert [record.path for record in opened.manifest.files] == [
        "report.json",
        "pictures/worst.png",
    ]
    assert listing(engine.path) == [
        "manifest.json",
        "model.onnx",
        "pictures",
        "pictures/worst.png",
        "report.json",
    ]


def test_a_bare_onnx_file_opens(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> None:
    path = tiny_onnx(tmp_path / "m.onnx")
    opened = open_engine(path)
    assert (opened.path, opened.model_path, opened.is_bundle) == (path, path, False)


def test_no_such_engine(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No such engine: .*none\.engine"):
        open_engine(tmp_path / "none.engine")


def test_a_folder_that_is_no_engine(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not an engine: it has no manifest\.json"):
        open_engine(tmp_path)


def test_the_manifest_file_itself_points_to_its_folder(engine: Engine) -> None:
    with pytest.raises(InputError, match="not the engine") as caught:
        open_engine(engine.path / "manifest.json")
    assert caught.value.hint == f"Pass the folder: {engine.path}"


@pytest.mark.parametrize("name", ["model.onnx", "report.json", "pictures/worst.png"])
@pytest.mark.parametrize("position", [0, -1])
def test_one_flipped_bit_is_found_and_named(engine: Engine, name: str, position: int) -> None:
    content = bytearray((engine.path / name).read_bytes())
    content[position] ^= 1
    (engine.path / name).write_bytes(content)
    with pytest.raises(EngineCorruptError, match=f"{name} is damaged: its SHA-256 is"):
        open_engine(engine.path)


@pytest.mark.parametrize("name", ["model.onnx", "report.json"])
def test_a_missing_file_is_named(engine: Engine, name: str) -> None:
    (engine.path / name).unlink()
    with pytest.raises(EngineCorruptError, match=f"is incomplete: {name} is missing"):
        open_engine(engine.path)


def test_a_file_of_another_size_names_both_sizes(engine: Engine) -> None:
    (engine.path / "model.onnx").write_bytes(b"short")
    with pytest.raises(EngineCorruptError, match="has 5 bytes; the manifest records 18"):
        open_engine(engine.path)


def test_an_unknown_schema_names_both_versions(engine: Engine) -> None:
    edit_manifest(engine, lambda fields: fields.update(schema_version=7))
    with pytest.raises(EngineSchemaError, match="manifest schema 7; this version reads 1"):
        open_engine(engine.path)


def test_a_manifest_without_a_model_is_refused(engine: Engine) -> None:
    edit_manifest(engine, lambda fields: fields.update(model=None))
    with pytest.raises(EngineCorruptError, match="names no model"):
        open_engine(engine.path)


@pytest.mark.parametrize("path", ["../secret", "/etc/hostname", "a/../../b", "C:\\x", "..\\x", ""])
def test_a_path_out_of_the_bundle_is_refused(engine: Engine, path: str) -> None:
    edit_manifest(engine, lambda fields: fields["model"].update(path=path))
    with pytest.raises(EngineCorruptError, match="which is outside the engine"):
        open_engine(engine.path)


def test_a_huge_manifest_is_not_read_whole(engine: Engine) -> None:
    with (engine.path / "manifest.json").open("r+b") as stream:
        stream.truncate(MANIFEST_LIMIT_BYTES * 64)  # sparse: no disk is used
    with pytest.raises(EngineCorruptError, match=f"the limit is {MANIFEST_LIMIT_BYTES}"):
        open_engine(engine.path)
