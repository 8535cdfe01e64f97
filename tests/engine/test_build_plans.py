"""Bundles with plans, around a TensorRT that is pretended; real ones are in test_rtx_bundles."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

import bas_edge
from bas_edge.backends import tensorrt_backend
from bas_edge.backends._driver import Gpu
from bas_edge.engine import bundle
from bas_edge.engine.manifest import FileRecord, PlanRecord
from bas_edge.engine.onnx_metadata import read_manifest
from bas_edge.engine.plan_options import plan_options
from bas_edge.engine.plans import PlanJob, rebuild_command
from bas_edge.engine.rebuild import rebuild_plan
from bas_edge.errors import BackendError, EngineCorruptError, EngineError, InputError

ORIN = Gpu("NVIDIA Orin", (8, 7), "540.4.0", "12.6")
FIRST, SECOND = b"ftrt" + bytes(96) + b"1", b"ftrt" + bytes(96) + b"22"


@pytest.fixture
def script(fakes: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """TensorRT 10.3 on an Orin; `script.outcomes` are the plans that it builds."""
    script = fakes.Script(outcomes=[FIRST, SECOND])
    monkeypatch.setitem(sys.modules, "tensorrt", fakes.make("10.3.0", script))
    monkeypatch.setattr(tensorrt_backend, "require_gpu", lambda *_, **__: ORIN)
    return script


@pytest.fixture
def model(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> Path:
    return tiny_onnx(tmp_path / "m.onnx")


def build(model: Path, **options: Any) -> bundle.Engine:
    return bas_edge.build_engine(model, model.parent / "e.engine", backend="tensorrt", **options)


def plan_files(engine: bundle.Engine) -> list[str]:
    return sorted(path.name for path in (engine.path / "plans").iterdir())


def test_the_manifest_says_for_what_the_plan_was_built(script: Any, model: Path) -> None:
    engine = build(model, max_batch=4, workspace="512MiB")
    assert bas_edge.open_engine(engine.path) == engine
    assert engine.manifest.backend == "tensorrt"
    (plan,) = engine.manifest.plans
    assert plan.file.path == "plans/tensorrt-10.3.0-sm_87.plan"
    assert (engine.path / plan.file.path).read_bytes() == FIRST  # pristine
    assert (plan.backend, plan.library_version) == ("tensorrt", "10.3.0")
    assert (plan.device_name, plan.compute_capability) == ("NVIDIA Orin", "8.7")
    assert (plan.driver, plan.cuda, plan.targets) == ("540.4.0", "12.6", ("sm_87",))
    assert (plan.min_batch, plan.opt_batch, plan.max_batch) == (1, 1, 4)
    assert (plan.workspace_bytes, plan.precision, plan.layers) == (512 << 20, "fp32", 3)
    assert (plan.hardware_compat, plan.build_seconds >= 0) == ("none", True)
    words = shlex.split(engine.manifest.build_command)
    assert words[-4:] == ["--max-batch", "4", "--workspace", "512MiB"]


FLAGS = {"fp32": [], "fp16": ["FP16", "PREFER_PRECISION_CONSTRAINTS"], "int8": ["INT8"]}


@pytest.mark.parametrize("precision", FLAGS)
def test_tensorrt_8_6_is_told_the_precision_of_the_manifest(
    script: Any, model: Path, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch, precision: Any
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", fakes.make("8.6.1", script))
    job = PlanJob.prepare("tensorrt", plan_options(), lambda _: None)
    manifest = msgspec.structs.replace(read_manifest(model), precision=precision)
    assert job.build(model, manifest).record.precision == precision
    assert script.builder_flags == FLAGS[precision]


def test_fp16_is_in_the_graph_of_the_bundle(script: Any, model: Path) -> None:
    engine = build(model, precision="fp16")
    assert engine.manifest.precision == "fp16"
    assert engine.manifest.plans[0].precision == "fp16"
    assert b"_fp16" in engine.model_path.read_bytes()
    again = model.parent / "again.engine"
    script.outcomes = [FIRST]
    same = bas_edge.build_engine(engine.model_path, again, backend="tensorrt", precision="fp16")
    assert same.model_path.read_bytes() == engine.model_path.read_bytes()
    with pytest.raises(InputError, match="is a graph in fp16; precision fp32 needs one in fp32"):
        bas_edge.build_engine(engine.model_path, model.parent / "c.engine")


def test_fp16_for_onnxruntime_works_and_says_that_it_is_slow(model: Path) -> None:
    notes: list[str] = []
    engine = bas_edge.build_engine(
        model, model.parent / "e.engine", precision="fp16", note=notes.append
    )
    assert any("gains nothing from float16" in note for note in notes)
    with bas_edge.Localizer(engine.path) as localizer:
        assert localizer.backend_name == "onnxruntime"


def test_layers_that_overflow_float16_stay_in_float32_and_are_named(
    tmp_path: Path, graphs: ModuleType
) -> None:
    manifest = graphs.tiny_manifest()
    graph = graphs.tiny_model(manifest)
    for value in graph.graph.initializer:
        if value.name == "w_class":
            array = np.full((3, 3, 1, 1), 6e4, np.float32)
            value.CopyFrom(onnx.numpy_helper.from_array(array, "w_class"))
    path = graphs.save(tmp_path / "m.onnx", graph, manifest)
    notes: list[str] = []
    plain = bas_edge.build_engine(path, tmp_path / "plain.engine")
    half = bas_edge.build_engine(path, tmp_path / "e.engine", precision="fp16", note=notes.append)
    assert any(re.search("'response' reaches .* ends at 65504", note) for note in notes)
    frame = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    with bas_edge.Localizer(plain.path) as exact, bas_edge.Localizer(half.path) as rounded:
        np.testing.assert_allclose(rounded.run(frame).scores, exact.run(frame).scores, atol=1e-2)


# Refusals: before any work


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": "sm_86"}, "for the GPU of this machine only; --target is sm_86"),
        ({"hardware_compat": "turing"}, "'turing' is not known to TensorRT 10.3.0"),
        ({"hardware_compat": "same_compute_capability"}, "it knows none, ampere_plus"),
        ({"min_batch": 9, "max_batch": 8}, "they must be at least 1 and ascending"),
        ({"workspace": "much"}, "'much' is not a size"),
        ({"precision": "int8"}, "needs real images"),
    ],
)
def test_refused_options_touch_nothing(
    script: Any, model: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build(model, **options)
    assert script.network is None
    assert [path.name for path in model.parent.iterdir()] == ["m.onnx"]


def test_no_driver_is_said_before_tensorrt_is_touched(
    monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    monkeypatch.setattr("bas_edge.backends._driver.find_gpu", lambda: "There is no driver.")
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # importing it would fail otherwise
    with pytest.raises(BackendError, match=r"needs an NVIDIA GPU\. There is no driver\.") as caught:
        build(model)
    assert "--backend tensorrt_rtx builds without a GPU" in str(caught.value.hint)


@pytest.mark.parametrize(
    "options",
    [{"max_batch": 4}, {"workspace": "1GiB"}, {"targets": "sm_86"}, {"timing_cache": "t"}],
)
def test_options_of_plans_are_refused_without_plans(model: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="is about plans, and the backend 'onnxruntime' has none"):
        bas_edge.build_engine(model, model.parent / "e.engine", **options)


# Builds that stop


def test_a_failed_build_leaves_nothing(script: Any, model: Path) -> None:
    script.outcomes = [["Error Code 2: Internal Error"]]
    with pytest.raises(BackendError, match="Error Code 2: Internal Error"):
        build(model)
    assert [path.name for path in model.parent.iterdir()] == ["m.onnx"]


def test_ctrl_c_while_tensorrt_builds_leaves_nothing(script: Any, model: Path) -> None:
    script.phases = [("Building", None, 100_000)]
    seen: list[float] = []

    def interrupt(_: str, share: float) -> None:
        assert len(list(model.parent.iterdir())) == 2, "the hidden folder is there"
        seen.append(share)
        if len(seen) == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        build(model, on_progress=interrupt)
    assert len(seen) < 100_000
    assert [path.name for path in model.parent.iterdir()] == ["m.onnx"]


# Building a plan again


def test_rebuild_replaces_the_plan_and_nothing_else(script: Any, model: Path) -> None:
    engine = build(model, max_batch=4, workspace="64MiB")
    kept = bundle.update_manifest(engine.path, min_score=0.3)
    (engine.path / "notes.txt").write_text("mine", encoding="utf-8")
    rebuilt = rebuild_plan(engine.path)
    assert bas_edge.open_engine(engine.path) == rebuilt
    assert rebuilt.manifest.min_score == 0.3
    assert rebuilt.manifest.model == kept.manifest.model
    (plan,) = rebuilt.manifest.plans
    assert (plan.max_batch, plan.workspace_bytes) == (4, 64 << 20)  # as it was built before
    assert (engine.path / plan.file.path).read_bytes() == SECOND
    assert plan_files(engine) == [Path(plan.file.path).name]
    assert (engine.path / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("damage", ["lost", "changed"])
def test_rebuild_cures_a_damaged_plan(script: Any, model: Path, damage: str) -> None:
    engine = build(model)
    path = engine.path / engine.manifest.plans[0].file.path
    path.unlink() if damage == "lost" else path.write_bytes(FIRST[:-1] + b"x")
    with pytest.raises(EngineCorruptError) as caught:
        bas_edge.open_engine(engine.path)
    command = f"bas-edge build-engine {shlex.quote(str(engine.path))} --rebuild"
    assert caught.value.hint == f"Build it again: {command}"
    assert bas_edge.open_engine(rebuild_plan(engine.path).path).manifest.plans


def test_rebuild_for_another_gpu_adds_a_plan(
    script: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = build(model)
    thor = Gpu("NVIDIA Thor", (11, 0), "", "13.0")
    monkeypatch.setattr(tensorrt_backend, "require_gpu", lambda *_, **__: thor)
    rebuilt = rebuild_plan(engine.path, max_batch=2)
    assert [plan.targets for plan in rebuilt.manifest.plans] == [("sm_87",), ("sm_110",)]
    assert plan_files(engine) == ["tensorrt-10.3.0-sm_110.plan", "tensorrt-10.3.0-sm_87.plan"]
    assert rebuilt.manifest.plans[1].max_batch == 2


def test_rebuild_gives_an_engine_of_onnxruntime_its_first_plan(script: Any, model: Path) -> None:
    engine = bas_edge.build_engine(model, model.parent / "e.engine")
    with pytest.raises(InputError, match="The backend 'onnxruntime' has no plans"):
        rebuild_plan(engine.path)
    rebuilt = rebuild_plan(engine.path, backend="tensorrt")
    assert rebuilt.manifest.backend == "tensorrt"
    assert len(rebuilt.manifest.plans) == 1


def test_the_command_of_a_rebuild_follows_that_of_the_build(script: Any, model: Path) -> None:
    engine = build(model)
    made = engine.manifest.build_command
    again = rebuild_command(engine, "tensorrt")
    rebuilt = rebuild_plan(engine.path, workspace="64MiB")
    assert rebuilt.manifest.build_command == f"{made} && {again} --workspace 64MiB"
    script.outcomes = [FIRST]
    rebuilt = rebuild_plan(engine.path, workspace="32MiB")
    assert rebuilt.manifest.build_command == f"{made} && {again} --workspace 32MiB"


def test_rebuilds_side_by_side_lose_nothing(script: Any, model: Path) -> None:
    """Each finds what the other wrote while it built."""
    engine = build(model)
    record = engine.manifest.plans[0]

    def add(target: str) -> None:
        file = FileRecord(path=f"plans/{target}.plan", sha256="", size_bytes=0)
        new = msgspec.structs.replace(record, file=file, targets=(target,))
        bundle.add_plan(
            engine, bundle.NewPlan(new, FIRST), replaces=lambda old: old.targets == (target,)
        )

    targets = [f"sm_{number}" for number in (75, 80, 86, 89)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, targets * 4))
    opened = bas_edge.open_engine(engine.path)
    found = sorted(target for plan in opened.manifest.plans for target in plan.targets)
    assert found == sorted([*targets, "sm_87"])
    assert len(plan_files(engine)) == 5


def test_rebuild_wants_a_bundle(model: Path) -> None:
    with pytest.raises(InputError, match="is a bare ONNX file; only a bundle has plans"):
        rebuild_plan(model)


def test_a_rebuild_that_fails_leaves_the_engine_as_it_was(script: Any, model: Path) -> None:
    engine = build(model)
    script.outcomes = [["Error Code 2: Internal Error"]]
    with pytest.raises(BackendError):
        rebuild_plan(engine.path)
    assert bas_edge.open_engine(engine.path) == engine


@pytest.mark.parametrize("stage", ["_write_file", "_replace_manifest"])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_rebuild_that_cannot_be_written_leaves_the_engine_as_it_was(
    script: Any,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    failure: BaseException,
) -> None:
    engine = build(model)
    files = sorted(engine.path.rglob("*"))

    def fail(*_: Any, **__: Any) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(bundle, stage, fail)
        expected = EngineError if isinstance(failure, OSError) else KeyboardInterrupt
        with pytest.raises(expected):
            rebuild_plan(engine.path)
    assert sorted(engine.path.rglob("*")) == files
    assert bas_edge.open_engine(engine.path) == engine


def test_a_manifest_of_schema_1_without_the_new_fields_still_loads(
    script: Any, model: Path
) -> None:
    import msgspec

    engine = build(model)
    path = engine.path / "manifest.json"
    fields = msgspec.json.decode(path.read_bytes())
    old = {"backend", "file", "library_version", "compute_capability", "device_name", "cuda"}
    fields["plans"] = [{k: v for k, v in plan.items() if k in old} for plan in fields["plans"]]
    path.write_bytes(msgspec.json.encode(fields))
    (plan,) = bas_edge.open_engine(engine.path).manifest.plans
    assert (plan.targets, plan.max_batch, plan.workspace_bytes) == ((), 8, None)


def test_a_record_with_impossible_batches_is_refused(script: Any, model: Path) -> None:
    record = build(model).manifest.plans[0]
    with pytest.raises(ValueError, match="batches are 1, 9, 8"):
        PlanRecord(
            backend=record.backend, file=record.file, library_version="1", opt_batch=9, max_batch=8
        )
