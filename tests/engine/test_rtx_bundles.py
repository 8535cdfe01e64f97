"""Bundles with real plans of TensorRT for RTX, which needs no GPU to build them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import bas_edge
from bas_edge.backends._plan_header import read_header
from bas_edge.engine.plans import check_plan, find_plan
from bas_edge.engine.rebuild import rebuild_plan
from bas_edge.errors import BackendError, EngineMismatchError, InputError

pytestmark = pytest.mark.rtx


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("maps", ["all", "selected", "mean"])
def test_a_bundle_with_a_plan_still_runs_on_onnxruntime(
    tmp_path: Path,
    tiny_onnx: Callable[..., Path],
    graphs: ModuleType,
    maps: str,
    precision: str,
) -> None:
    model = tiny_onnx(tmp_path / "m.onnx", maps=maps)
    engine = bas_edge.build_engine(
        model,
        tmp_path / "e.engine",
        backend="tensorrt_rtx",
        precision=precision,
        targets="sm_89,sm_86",
        min_batch=2,
        max_batch=2,
    )
    assert bas_edge.open_engine(engine.path) == engine
    (plan,) = engine.manifest.plans
    version = plan.library_version
    assert plan.file.path == f"plans/tensorrt_rtx-{version}-sm_86-sm_89.plan"
    assert (plan.targets, plan.precision) == (("sm_86", "sm_89"), precision)
    assert (plan.min_batch, plan.max_batch) == (2, 2)
    content = (engine.path / plan.file.path).read_bytes()
    assert read_header(content).version == version
    with bas_edge.Localizer(engine.path, backend="onnxruntime") as localizer:
        frame = graphs.coloured_frame((32, 32), (8, 8, 24, 24), (0, 255, 0))
        assert localizer.run(frame).class_name == "b"


def test_the_plan_is_checked_before_it_is_loaded(
    tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    engine = bas_edge.build_engine(
        tiny_onnx(tmp_path / "m.onnx"),
        tmp_path / "e.engine",
        backend="tensorrt_rtx",
        targets="sm_86",
    )
    plan = find_plan(engine, "tensorrt_rtx", (8, 6))
    version = plan.library_version
    path = check_plan(engine, plan, library_version=version, compute_capability=(8, 6))
    assert path.is_file()
    with pytest.raises(EngineMismatchError, match=r"was built for sm_86; this machine is sm_90"):
        check_plan(engine, plan, library_version=version, compute_capability=(9, 0))
    with pytest.raises(
        EngineMismatchError, match=rf"for TensorRT-RTX {version}; .* running TensorRT-RTX 1\.0\.0"
    ):
        check_plan(engine, plan, library_version="1.0.0", compute_capability=(8, 6))


def test_rebuild_for_other_targets_adds_a_plan(
    tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    model = tiny_onnx(tmp_path / "m.onnx")
    built = bas_edge.build_engine(model, tmp_path / "e.engine", backend="tensorrt_rtx")
    usual = ("sm_80", "sm_86", "sm_89", "sm_120+")
    assert built.manifest.plans[0].targets == usual
    assert built.manifest.plans[0].file.path.endswith("-sm_80-sm_86-sm_89-sm_120plus.plan")
    again = rebuild_plan(built.path)
    assert [plan.targets for plan in again.manifest.plans] == [usual]
    more = rebuild_plan(built.path, targets="sm_75")
    assert [plan.targets for plan in more.manifest.plans] == [usual, ("sm_75",)]
    assert bas_edge.open_engine(built.path) == more


def test_a_graph_that_only_onnxruntime_takes_leaves_nothing(
    tmp_path: Path, graphs: ModuleType
) -> None:
    manifest = graphs.tiny_manifest()
    model = graphs.tiny_model(manifest)
    cast, transpose = model.graph.node[0], model.graph.node[1]
    cast.op_type, transpose.op_type = transpose.op_type, cast.op_type
    attributes = (list(transpose.attribute), list(cast.attribute))
    for node, own in zip((cast, transpose), attributes, strict=True):
        del node.attribute[:]
        node.attribute.extend(own)
    path = graphs.save(tmp_path / "m.onnx", model, manifest)
    bas_edge.build_engine(path, tmp_path / "cpu.engine")  # ONNX Runtime has no such rule
    with pytest.raises(BackendError, match=r"node 0 \(Transpose\): .*UInt8") as caught:
        bas_edge.build_engine(path, tmp_path / "e.engine", backend="tensorrt_rtx")
    assert "into a Cast first" in str(caught.value.hint)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cpu.engine", "m.onnx"]


def test_a_target_that_rtx_lacks_leaves_nothing(
    tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    model = tiny_onnx(tmp_path / "m.onnx")
    with pytest.raises(InputError, match="cannot build for sm_90; it can for sm_75"):
        bas_edge.build_engine(model, tmp_path / "e.engine", backend="tensorrt_rtx", targets="sm_90")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
