"""Which plan a Localizer loads, what it refuses, and how it builds one again."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bas_edge import Localizer
from bas_edge.backends import _cuda_driver, tensorrt_backend
from bas_edge.backends._tensorrt_runtime import TensorRTPlan
from bas_edge.engine.bundle import Engine
from bas_edge.errors import (
    BackendError,
    EngineCorruptError,
    EngineError,
    EngineMismatchError,
    InputError,
    KernelError,
    MissingExtraError,
)
from bas_edge.ops import cuda_module


@pytest.fixture
def engine(gpu: Any, tmp_path: Path, tiny_onnx: Callable[..., Path]) -> Engine:
    return gpu.bundle(tiny_onnx(tmp_path / "m.onnx"), tmp_path / "birds.engine")


def frame() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def plan_path(engine: Engine) -> Path:
    return engine.path / engine.manifest.plans[0].file.path


def test_a_damaged_plan(engine: Engine) -> None:
    content = bytearray(plan_path(engine).read_bytes())
    content[100] ^= 1
    plan_path(engine).write_bytes(content)
    with pytest.raises(EngineCorruptError, match=r"is damaged: its SHA-256") as caught:
        Localizer(engine.path)
    assert "--rebuild" in str(caught.value.hint)


@pytest.mark.parametrize("gpu", [{"capability": (8, 9)}], indirect=True)
def test_another_gpu(engine: Engine) -> None:
    with pytest.raises(EngineMismatchError, match=r"sm_87; this machine is sm_89") as caught:
        Localizer(engine.path)
    assert f"bas-edge build-engine {engine.path} --rebuild" in str(caught.value.hint)


def test_another_version(gpu: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.trt, "__version__", "10.7.0")
    with pytest.raises(EngineMismatchError, match=r"10\.3\.0.*10\.7\.0"):
        Localizer(engine.path)


def test_a_plan_that_tensorrt_refuses(
    gpu: Any, tmp_path: Path, tiny_onnx: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    header = gpu.plan(tiny_onnx(tmp_path / "m.onnx"))[:64]
    monkeypatch.setattr(gpu, "plan", lambda *_: header + b"nonsense")
    engine = gpu.bundle(tiny_onnx(tmp_path / "m.onnx"), tmp_path / "birds.engine")
    with pytest.raises(BackendError, match="2: the plan does not make sense"):
        Localizer(engine.path)
    assert gpu.script.runtime.engine_host_code_allowed is False


@pytest.mark.parametrize("gpu", [{"capability": (8, 9)}], indirect=True)
@pytest.mark.parametrize("damage", [False, True])
def test_rebuild_makes_the_plan_that_fits(
    gpu: Any,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    damage: bool,
) -> None:
    if damage:
        plan_path(engine).write_bytes(b"broken")
    built = gpu.plan(engine.model_path)
    gpu.script.outcomes[:] = [built]
    monkeypatch.setattr("bas_edge.engine.memory.available_bytes", lambda: 1 << 40, raising=False)
    with Localizer(engine.path, rebuild=True) as localizer:
        again = localizer.run(frame())
    assert "Building the plan" in caplog.text
    with (
        Localizer(engine.path) as reopened,  # now without rebuild
        Localizer(engine.path, backend="onnxruntime") as on_cpu,
    ):
        assert reopened.run(frame()).box == again.box == on_cpu.run(frame()).box
    assert gpu.script.outcomes == []


def test_rebuild_leaves_a_plan_that_fits_alone(gpu: Any, engine: Engine) -> None:
    before = plan_path(engine).stat().st_mtime_ns
    with Localizer(engine.path, rebuild=True) as localizer:
        localizer.run(frame())
    assert plan_path(engine).stat().st_mtime_ns == before


def test_rebuild_does_not_hide_a_missing_device(engine: Engine) -> None:
    with pytest.raises(BackendError, match="Device 3 does not exist: this machine has 1"):
        Localizer(engine.path, rebuild=True, device=3)


@pytest.mark.parametrize("gpu", [{"devices": 2, "capability": (8, 9)}], indirect=True)
def test_rebuild_for_a_second_gpu_says_how(engine: Engine) -> None:
    with pytest.raises(BackendError, match="again for GPU 1, but plans are built for GPU 0") as e:
        Localizer(engine.path, rebuild=True, device=1)
    assert e.value.hint == "Start with CUDA_VISIBLE_DEVICES=1, and device=0."


def test_a_bare_graph_has_no_plan(gpu: Any, tmp_path: Path, tiny_onnx: Callable[..., Path]) -> None:
    model = tiny_onnx(tmp_path / "m.onnx")
    with pytest.raises(EngineError, match="is a bare ONNX file, but the backend 'tensorrt' runs"):
        Localizer(model, backend="tensorrt")
    with Localizer(model) as localizer:
        assert localizer.backend_name == "onnxruntime"


def test_without_a_driver_auto_is_the_cpu_and_says_so(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def absent() -> None:
        raise OSError("libcuda.so.1: no such file")

    monkeypatch.setattr(_cuda_driver, "driver", absent)
    with caplog.at_level(logging.WARNING), Localizer(engine.path) as localizer:
        assert localizer.backend_name == "onnxruntime"
    assert "was built for 'tensorrt', but runs with ONNX Runtime on the CPU" in caplog.text
    with pytest.raises(BackendError, match="There is no NVIDIA driver here"):
        Localizer(engine.path, backend="tensorrt")


def test_without_the_library_its_extra_is_named(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise MissingExtraError("tensorrt", extra="tensorrt", purpose="The TensorRT backend")

    monkeypatch.setattr(tensorrt_backend, "_tensorrt", missing)
    with pytest.raises(MissingExtraError) as caught:
        Localizer(engine.path)
    assert caught.value.hint == "pip install 'bas-edge[tensorrt]'"


def test_without_kernels_no_plan_is_loaded(
    gpu: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_module, "_module", None)
    monkeypatch.setitem(sys.modules, "bas_edge.ops._cuda", None)
    with pytest.raises(KernelError, match="has no CUDA kernels"):
        Localizer(engine.path)
    assert gpu.script.loaded == []


def test_a_graph_that_breaks_the_contract(
    gpu: Any, tmp_path: Path, tiny_onnx: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny_onnx(tmp_path / "other.onnx", classes=("a", "b", "c", "d"))
    content = gpu.plan(other)
    monkeypatch.setattr(gpu, "plan", lambda *_: content)
    engine = gpu.bundle(tiny_onnx(tmp_path / "m.onnx"), tmp_path / "birds.engine")
    with pytest.raises(EngineError, match="logits"):
        Localizer(engine.path)


def test_a_batch_outside_the_profile_names_the_flags(gpu: Any, engine: Engine) -> None:
    with Localizer(engine.path) as localizer:
        plan = localizer._open_runner()._plan
        assert isinstance(plan, TensorRTPlan)
        context, stream = plan.context(), plan.device.stream()
        with pytest.raises(
            InputError, match=r"The batch is 9, but the plan's profile is 1 to 4"
        ) as e:
            context.enqueue({}, 9, stream)
        assert e.value.hint == "Build the engine with --min-batch 1 --max-batch 9."
        context.close()
        context.close()
        with pytest.raises(BackendError, match="closed"):
            context.enqueue({}, 1, stream)
        stream.free()
