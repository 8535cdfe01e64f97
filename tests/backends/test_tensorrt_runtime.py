"""What a loaded plan says of itself, its contexts, and the cache that TensorRT-RTX keeps."""

from __future__ import annotations

import enum
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bas_edge.backends._tensorrt_common import LoadedPlan
from bas_edge.backends._tensorrt_log import LogLines
from bas_edge.backends._tensorrt_runtime import TensorRTPlan
from bas_edge.errors import BackendError


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


TRT = SimpleNamespace(
    TensorIOMode=TensorIOMode,
    DynamicShapesKernelSpecializationStrategy=SimpleNamespace(EAGER="eager"),
    __version__="1.7.1.116",
    __name__="tensorrt_rtx",
)


class Device:
    """Counts what is asked of it."""

    def __init__(self) -> None:
        self.closed = 0

    def current(self) -> Any:
        return nullcontext()

    def close(self) -> None:
        self.closed += 1


class Cache:
    def __init__(self, kept: list[bytes]) -> None:
        self.kept = kept
        self.content = b""

    def deserialize(self, content: bytes) -> bool:
        self.kept.append(content)
        if content == b"of another GPU":
            return False
        self.content = content
        return True

    def serialize(self) -> bytes:
        return self.content


class Config:
    def __init__(self, cache: Cache) -> None:
        self.create_runtime_cache = lambda: cache
        self.given: list[Cache] = []
        self.dynamic_shapes_kernel_specialization_strategy = "lazy"

    def set_runtime_cache(self, cache: Cache) -> None:
        self.given.append(cache)


class Engine:
    """frames [-1 or n, 4, 5, 3] → logits [.., 7]."""

    num_io_tensors = 2
    kind = "FLOAT"

    def __init__(self, batch: int = -1, profile: int | None = 0) -> None:
        self.batch = batch
        self.context: Any = None
        if profile is not None:
            self.context = SimpleNamespace(active_optimization_profile=profile)
        self.configs: list[Any] = []

    def get_tensor_name(self, at: int) -> str:
        return ("frames", "logits")[at]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == "frames" else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name="UINT8" if name == "frames" else self.kind)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self.batch, 4, 5, 3) if name == "frames" else (self.batch, 7)

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        assert (name, profile, self.batch) == ("frames", 0, -1)
        return [(1, 4, 5, 3), (2, 4, 5, 3), (6, 4, 5, 3)]

    def create_execution_context(self, *config: Any) -> Any:
        self.configs.append(config)
        return self.context


class EngineWithCache(Engine):
    def __init__(self, cache: Cache) -> None:
        super().__init__()
        self.cache = cache

    def create_runtime_config(self) -> Config:
        return Config(self.cache)


def open_plan(engine: Engine, cache: Path | None = None) -> tuple[TensorRTPlan, Any]:
    lines = LogLines()
    lines.add("ERROR", "2: something about memory")
    device: Any = Device()
    loaded = LoadedPlan(engine, object(), lines)
    plan = TensorRTPlan(TRT, loaded, name="tensorrt_rtx", device=device, runtime_cache=cache)
    return plan, device


def test_what_a_plan_says_of_itself() -> None:
    plan, device = open_plan(Engine())
    assert plan.name == "tensorrt_rtx"
    (frames,), (logits,) = plan.inputs, plan.outputs
    assert (frames.name, frames.shape, frames.dtype) == ("frames", (None, 4, 5, 3), np.uint8)
    assert (logits.name, logits.shape, logits.dtype) == ("logits", (None, 7), np.float32)
    assert plan.batches == (1, 2, 6)
    plan.close()
    plan.close()
    assert device.closed == 1
    with pytest.raises(BackendError, match="This plan is closed"):
        plan.context()


def test_a_static_plan_has_one_batch() -> None:
    assert open_plan(Engine(batch=3))[0].batches == (3, 3, 3)


def test_an_unknown_type_is_named() -> None:
    engine = Engine()
    engine.kind = "FP4"
    with pytest.raises(BackendError, match="tensor 'logits' has the type FP4"):
        open_plan(engine)


def test_no_context_is_an_error_with_the_last_words() -> None:
    plan, _ = open_plan(Engine(profile=None))
    with pytest.raises(BackendError, match="2: something about memory") as caught:
        plan.context()
    assert "--max-batch" in str(caught.value.hint)


def test_a_context_without_a_profile_is_refused() -> None:
    plan, _ = open_plan(Engine(profile=-1))
    with pytest.raises(BackendError, match="one execution context only: its profile cannot be"):
        plan.context()


@pytest.mark.parametrize(("answer", "reason"), [(True, ""), (False, "allocates memory")])
def test_whether_a_run_can_be_captured_is_asked(answer: bool, reason: str) -> None:
    engine = Engine()
    engine.context.is_stream_capturable = lambda _: answer
    stream: Any = SimpleNamespace(handle=7)
    said = open_plan(engine)[0].context().refuses_capture(stream)
    assert bool(said) == bool(reason)
    assert reason in said
    assert open_plan(Engine())[0].context().refuses_capture(stream) == ""  # an older library


def test_the_cache_is_read_given_to_each_context_and_written_when_it_grew(tmp_path: Path) -> None:
    path = tmp_path / "x.runtimecache"
    path.write_bytes(b"old")
    kept: list[bytes] = []
    cache = Cache(kept)
    engine = EngineWithCache(cache)
    plan, _ = open_plan(engine, path)
    assert kept == [b"old"]
    plan.context()
    ((config,),) = engine.configs
    assert config.given == [cache]
    assert config.dynamic_shapes_kernel_specialization_strategy == "eager"
    cache.content = b"old and new"
    plan.close()
    assert path.read_bytes() == b"old and new"
    assert [each.name for each in tmp_path.iterdir()] == ["x.runtimecache"]


def test_a_cache_of_another_gpu_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.runtimecache"
    path.write_bytes(b"of another GPU")
    cache = Cache([])
    plan, _ = open_plan(EngineWithCache(cache), path)
    cache.content = b"of this one"
    plan.close()
    assert path.read_bytes() == b"of this one"


def test_a_cache_that_did_not_grow_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.runtimecache"
    path.write_bytes(b"old")
    before = path.stat().st_mtime_ns
    open_plan(EngineWithCache(Cache([])), path)[0].close()
    assert path.stat().st_mtime_ns == before


def test_a_folder_that_cannot_be_written_costs_the_cache_only(tmp_path: Path) -> None:
    cache = Cache([])
    plan, device = open_plan(EngineWithCache(cache), tmp_path / "none" / "x.runtimecache")
    cache.content = b"new"
    plan.close()
    assert device.closed == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.rtx
def test_the_real_library_has_these_names() -> None:
    import tensorrt_rtx as trt

    assert hasattr(trt.ICudaEngine, "create_runtime_config")
    for name in ("create_runtime_cache", "set_runtime_cache"):
        assert hasattr(trt.IRuntimeConfig, name)
    assert hasattr(trt.IRuntimeConfig, "dynamic_shapes_kernel_specialization_strategy")
    assert hasattr(trt.DynamicShapesKernelSpecializationStrategy, "EAGER")
    for name in ("serialize", "deserialize"):
        assert hasattr(trt.IRuntimeCache, name)
    for name in ("set_input_shape", "set_tensor_address", "execute_async_v3"):
        assert hasattr(trt.IExecutionContext, name)
    for name in ("get_tensor_profile_shape", "get_tensor_mode", "get_tensor_dtype"):
        assert hasattr(trt.ICudaEngine, name)


@pytest.mark.parametrize("engine", [Engine(), EngineWithCache(Cache([]))])
def test_without_a_cache_there_is_no_file(tmp_path: Path, engine: Engine) -> None:
    path = tmp_path / "x.runtimecache"
    plan, _ = open_plan(engine, path if type(engine) is Engine else None)
    plan.context()
    assert engine.configs == [()]
    plan.close()
    assert not path.exists()
