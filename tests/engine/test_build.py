from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import bas_edge
from bas_edge.engine import bundle
from bas_edge.errors import BackendError, EngineError, InputError


def test_the_bundle_holds_the_graph_and_says_how_it_was_built(
    tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    model = tiny_onnx(tmp_path / "my model.onnx")
    engine = bas_edge.build_engine(model, tmp_path / "birds.engine")
    assert bas_edge.open_engine(tmp_path / "birds.engine") == engine
    assert engine.model_path.read_bytes() == model.read_bytes()
    manifest = engine.manifest
    assert manifest.backend == "onnxruntime"
    assert manifest.precision == "fp32"
    assert manifest.created_by == f"bas-edge {bas_edge.__version__}"
    assert manifest.classes == ("a", "b", "c")
    command = shlex.split(manifest.build_command)
    assert command[:2] == ["bas-edge", "build-engine"]
    assert str(model) in command


def test_what_the_user_typed_is_kept(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> None:
    engine = bas_edge.build_engine(
        tiny_onnx(tmp_path / "m.onnx"), tmp_path / "e.engine", backend="auto", command="make it"
    )
    assert engine.manifest.build_command == "make it"
    assert engine.manifest.backend == "onnxruntime"


@pytest.mark.parametrize("maps", ["all", "selected", "mean"])
def test_every_form_of_maps_builds(
    tmp_path: Path, tiny_onnx: Callable[..., Path], maps: str
) -> None:
    model = tiny_onnx(tmp_path / "m.onnx", maps=maps, classes=("a", "b", "c", "d"))
    assert bas_edge.build_engine(model, tmp_path / "e.engine").manifest.maps == maps


def test_overwrite(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> None:
    first = tiny_onnx(tmp_path / "1.onnx", classes=("a", "b"))
    second = tiny_onnx(tmp_path / "2.onnx", classes=("x", "y"))
    output = tmp_path / "e.engine"
    bas_edge.build_engine(first, output)
    with pytest.raises(InputError, match="already exists"):
        bas_edge.build_engine(second, output)
    assert bas_edge.open_engine(output).manifest.classes == ("a", "b")
    bas_edge.build_engine(second, output, overwrite=True)
    assert bas_edge.open_engine(output).manifest.classes == ("x", "y")


def test_onnx_without_our_metadata(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> None:
    model = tiny_onnx(tmp_path / "m.onnx", metadata=False)
    with pytest.raises(EngineError, match="has no bas-edge metadata") as caught:
        bas_edge.build_engine(model, tmp_path / "e.engine")
    assert "bas-edge export" in str(caught.value.hint)
    assert not (tmp_path / "e.engine").exists()


def test_missing_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot read .*none\.onnx"):
        bas_edge.build_engine(tmp_path / "none.onnx", tmp_path / "e.engine")


def test_unknown_backends_and_precisions_are_refused_not_replaced(
    tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    model = tiny_onnx(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="Unknown backend 'onnx'") as caught:
        bas_edge.build_engine(model, tmp_path / "e.engine", backend="onnx")
    assert caught.value.hint == "Did you mean 'onnxruntime'?"
    with pytest.raises(InputError, match="Unknown precision 'int4'"):
        bas_edge.build_engine(model, tmp_path / "e.engine", precision="int4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx"]


# The graph contract


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "images"
    model.graph.node[0].input[0] = "images"


def float_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def smaller_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 16
    model.graph.output[1].type.tensor_type.shape.dim[2].dim_value = 4


def fixed_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def no_maps(model: onnx.ModelProto) -> None:
    del model.graph.output[1]


def one_more_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["N", 3]))


def half_logits(model: onnx.ModelProto) -> None:
    model.graph.node[7].output[0] = "single"
    model.graph.node.append(
        helper.make_node("Cast", ["single"], ["logits"], to=TensorProto.FLOAT16)
    )
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def infinite_logits(model: onnx.ModelProto) -> None:
    gain = next(value for value in model.graph.initializer if value.name == "gain")
    gain.CopyFrom(onnx.numpy_helper.from_array(np.float32("inf"), "gain"))


DEFECTS = [
    (rename_input, "inputs are images; its metadata asks for frames"),
    (float_input, "'frames' is float32; it must be uint8"),
    (smaller_input, r"'frames' has shape \[\?, 16, 32, 3\]; its metadata says \[\?, 32, 32, 3\]"),
    (fixed_batch, "'frames' has a fixed batch of 1; it must be dynamic"),
    (no_maps, "outputs are logits; its metadata asks for logits, maps"),
    (one_more_output, "outputs are logits, maps, flat; its metadata asks for logits, maps"),
    (half_logits, "'logits' is float16; it must be float32"),
    (infinite_logits, "'logits' holds NaN or infinite values"),
]


@pytest.mark.parametrize(("damage", "message"), DEFECTS, ids=lambda v: getattr(v, "__name__", ""))
def test_a_graph_that_breaks_the_contract_is_refused(
    tmp_path: Path,
    graphs: ModuleType,
    damage: Callable[[onnx.ModelProto], None],
    message: str,
) -> None:
    manifest = graphs.tiny_manifest()
    model = graphs.tiny_model(manifest)
    damage(model)
    path = graphs.save(tmp_path / "m.onnx", model, manifest)
    with pytest.raises(EngineError, match=message):
        bas_edge.build_engine(path, tmp_path / "e.engine")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx"]


def test_the_number_of_classes_must_agree(tmp_path: Path, graphs: ModuleType) -> None:
    model = graphs.tiny_model(graphs.tiny_manifest(classes=("a", "b", "c")))
    path = graphs.save(tmp_path / "m.onnx", model, graphs.tiny_manifest(classes=("a", "b")))
    with pytest.raises(EngineError, match=r"'logits' has shape \[\?, 3\]; .* says \[\?, 2\]"):
        bas_edge.build_engine(path, tmp_path / "e.engine")


def test_the_form_of_maps_must_agree(tmp_path: Path, graphs: ModuleType) -> None:
    model = graphs.tiny_model(graphs.tiny_manifest(maps="all"))
    path = graphs.save(tmp_path / "m.onnx", model, graphs.tiny_manifest(maps="mean"))
    with pytest.raises(EngineError, match=r"are logits, maps; .* asks for logits, foreground"):
        bas_edge.build_engine(path, tmp_path / "e.engine")


def test_selected_classes_must_be_the_best_first(tmp_path: Path, graphs: ModuleType) -> None:
    manifest = graphs.tiny_manifest(maps="selected")
    model = graphs.tiny_model(manifest)
    top_k = next(node for node in model.graph.node if node.op_type == "TopK")
    top_k.attribute.append(helper.make_attribute("largest", 0))
    path = graphs.save(tmp_path / "m.onnx", model, manifest)
    with pytest.raises(EngineError, match="'classes' are not the 2 best of 'logits', best first"):
        bas_edge.build_engine(path, tmp_path / "e.engine")


def test_a_graph_that_the_backend_refuses(tmp_path: Path, graphs: ModuleType) -> None:
    manifest = graphs.tiny_manifest()
    model = graphs.tiny_model(manifest)
    model.graph.node[2].op_type = "NoSuchOperator"
    path = graphs.save(tmp_path / "m.onnx", model, manifest)
    with pytest.raises(BackendError, match=r"ONNX Runtime .* cannot load .*NoSuchOperator"):
        bas_edge.build_engine(path, tmp_path / "e.engine")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx"]


# A build that is stopped


def test_a_full_disk_leaves_nothing(
    tmp_path: Path, tiny_onnx: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_onnx(tmp_path / "m.onnx")

    def full(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(bundle.shutil, "copyfile", full)
    with pytest.raises(EngineError, match="No space left on device") as caught:
        bas_edge.build_engine(model, tmp_path / "e.engine")
    assert "Nothing was left behind" in str(caught.value.hint)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx"]


def test_ctrl_c_while_the_graph_loads_leaves_nothing(
    tmp_path: Path, tiny_onnx: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_onnx(tmp_path / "m.onnx")

    def stop(*_: object, **__: object) -> None:
        assert len(list(tmp_path.iterdir())) == 2, "the hidden folder is there"
        raise KeyboardInterrupt

    monkeypatch.setattr("bas_edge.engine.build.open_backend", stop)
    with pytest.raises(KeyboardInterrupt):
        bas_edge.build_engine(model, tmp_path / "e.engine")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx"]
