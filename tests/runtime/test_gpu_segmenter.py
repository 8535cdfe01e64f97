"""Segmenter on a GPU: on a pretended machine everywhere, on a real one where there is one."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from bas_edge import Segmentation, Segmenter
from bas_edge.engine.bundle import Engine
from bas_edge.errors import BackendError, EngineMismatchError, InputError, KernelError
from bas_edge.video.pipeline_engine import open_for_pipeline

Open = Callable[[Path], Segmenter]


@pytest.fixture
def model(tiny_segmenter: Callable[..., Path], tmp_path: Path) -> Path:
    return tiny_segmenter(tmp_path / "m.onnx", size=(32, 48), resize="letterbox")


@pytest.fixture
def engine(gpu: Any, model: Path, tmp_path: Path) -> Engine:
    bundle: Engine = gpu.bundle(model, tmp_path / "m.engine")
    return bundle


@pytest.fixture(params=["pretended", pytest.param("real", marks=pytest.mark.gpu)])
def open_on_gpu(
    request: pytest.FixtureRequest, segmentation_graph: ModuleType, tmp_path: Path
) -> Open:
    if request.param == "pretended":
        machine = request.getfixturevalue("gpu")
        return lambda model: Segmenter(machine.bundle(model, tmp_path / "p.engine").path)
    real_gpu: ModuleType = request.getfixturevalue("real_gpu")
    probe = request.getfixturevalue("graphs").tiny_onnx(tmp_path / "probe.onnx")
    serving = real_gpu.find_serving(probe, tmp_path)
    graph = segmentation_graph

    def open_model(model: Path) -> Segmenter:
        network = real_gpu.TinySegmenter(graph.COLOURS, graph.BIAS, "cuda")
        opened: Segmenter = real_gpu.open_segmenter(serving, model, network)
        return opened

    return open_model


def street(size: tuple[int, int], colour: int = 0) -> NDArray[np.uint8]:
    """A rectangle of one colour on black, in the middle."""
    height, width = size
    frame = np.zeros((height, width, 3), np.uint8)
    frame[height // 4 : height // 2, width // 4 : width // 2, colour] = 255
    return frame


FRAMES = [street((64, 96)), street((50, 40), 1), street((33, 71), 2), np.zeros((9, 9, 3), np.uint8)]


def assert_same(got: list[Segmentation], expected: list[Segmentation]) -> None:
    for one, other in zip(got, expected, strict=True):
        assert one.mask.shape == other.mask.shape
        assert (one.mask == other.mask).mean() > 0.999  # sums of a GPU may differ in the last bit
        assert [found.label for found in one.objects] == [found.label for found in other.objects]


def test_masks_are_those_of_the_cpu(open_on_gpu: Open, model: Path) -> None:
    with open_on_gpu(model) as on_gpu, Segmenter(model, backend="onnxruntime") as on_cpu:
        expected = on_cpu.run_batch(FRAMES)
        assert [[found.label for found in one.objects] for one in expected] == [[0], [1], [2], []]
        for _ in range(3):
            assert_same(on_gpu.run_batch(FRAMES), expected)
            assert_same([on_gpu.run(frame) for frame in FRAMES], expected)
    with pytest.raises(BackendError, match="This Segmenter is closed"):
        on_gpu.run(FRAMES[0])


@pytest.mark.parametrize(
    "gpu", [{"version": "8.6.1"}, {"seed": 3}, {"integrated": True}], indirect=True
)
def test_every_version_order_of_work_and_kind_of_memory(gpu: Any, engine: Engine) -> None:
    with Segmenter(engine.path) as on_gpu, Segmenter(engine.path, backend="onnxruntime") as on_cpu:
        assert (on_gpu.backend_name, on_cpu.backend_name) == ("tensorrt", "onnxruntime")
        got = on_gpu.run_batch(FRAMES)
        for one, other in zip(got, on_cpu.run_batch(FRAMES), strict=True):
            np.testing.assert_array_equal(one.mask, other.mask)
    assert gpu.runs == [1] * len(FRAMES)


def test_a_plan_of_larger_batches_runs_them(gpu: Any, model: Path, tmp_path: Path) -> None:
    engine = gpu.bundle(model, tmp_path / "four.engine", batches=(4, 4, 4))
    with Segmenter(engine.path) as on_gpu, Segmenter(model) as on_cpu:
        assert_same([on_gpu.run(FRAMES[0])], [on_cpu.run(FRAMES[0])])
    assert gpu.runs == [4]


def test_a_pipeline_has_two_frames_at_work(gpu: Any, engine: Engine, model: Path) -> None:
    opened, workers = open_for_pipeline(engine.path)
    assert isinstance(opened, Segmenter)
    with opened, Segmenter(model) as on_cpu:
        assert (opened.backend_name, workers) == ("tensorrt", 2)
        expected = on_cpu.run_batch(FRAMES)
        twins = [opened.clone() for _ in range(workers)]
        with ThreadPoolExecutor(workers) as pool:
            for found in pool.map(lambda twin: [twin.run(frame) for frame in FRAMES], twins):
                assert_same(found, expected)
        for twin in twins:
            twin.close()
    assert len(gpu.runs) == workers * len(FRAMES)


def test_no_kernels_are_needed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def native() -> None:
        raise KernelError("no kernels here")

    monkeypatch.setattr("bas_edge.open_runner.native", native)
    with Segmenter(engine.path) as segmenter:
        assert segmenter.run(FRAMES[0]).found


def test_results_stay_as_they_are(engine: Engine) -> None:
    """The memory that they came back in is used again."""
    with Segmenter(engine.path) as segmenter:
        backend = segmenter._backend
        assert backend is not None
        first = backend.run({"frames": np.full((1, 32, 48, 3), 255, np.uint8)})["scores"]
        kept = first.copy()
        backend.run({"frames": np.zeros((1, 32, 48, 3), np.uint8)})
        np.testing.assert_array_equal(first, kept)
        with pytest.raises(InputError, match="The batch is 5, but this plan takes at most 4"):
            backend.run({"frames": np.zeros((5, 32, 48, 3), np.uint8)})
        twin = backend.clone()
    with pytest.raises(BackendError, match="This plan is closed"):
        backend.run({"frames": np.zeros((1, 32, 48, 3), np.uint8)})
    white = twin.run({"frames": np.full((1, 32, 48, 3), 255, np.uint8)})["scores"]
    np.testing.assert_array_equal(white, kept)
    twin.close()


def test_one_that_is_dropped_gives_all_back(gpu: Any, engine: Engine) -> None:
    segmenter = Segmenter(engine.path)
    segmenter.run(FRAMES[0])
    del segmenter
    gc.collect()
    assert gpu.cuda.contexts() == []
    assert gpu.cuda.heap.live == {}


def test_scores_that_are_not_finite_are_told(gpu: Any, engine: Engine) -> None:
    gpu.poison["scores"] = np.float32("nan")
    with Segmenter(engine.path) as segmenter, pytest.raises(BackendError, match="not finite"):
        segmenter.run(FRAMES[0])


@pytest.mark.parametrize("gpu", [{"capability": (8, 9)}], indirect=True)
def test_the_rules_are_those_of_localizer(gpu: Any, engine: Engine, model: Path) -> None:
    with pytest.raises(EngineMismatchError, match="sm_87; this machine is sm_89"):
        Segmenter(engine.path)
    with pytest.raises(InputError, match="threads is 2, but the backend 'tensorrt' computes on"):
        Segmenter(engine.path, threads=2)
    with pytest.raises(InputError, match="rebuild and device are about plans"):
        Segmenter(engine.path, backend="onnxruntime", rebuild=True)
    with pytest.raises(InputError, match="Unknown backend 'tensort'"):
        Segmenter(engine.path, backend="tensort")
    with Segmenter(model) as bare:
        assert bare.backend_name == "onnxruntime"


@pytest.mark.parametrize("gpu", [{"capability": (8, 9)}], indirect=True)
def test_rebuild_makes_the_plan_that_fits(
    gpu: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu.script.outcomes[:] = [gpu.plan(engine.model_path)]
    monkeypatch.setattr("bas_edge.engine.memory.available_bytes", lambda: 1 << 40)
    with Segmenter(engine.path, rebuild=True) as segmenter:
        assert segmenter.backend_name == "tensorrt"
        again = segmenter.run(FRAMES[0])
    with Segmenter(engine.path) as reopened, Segmenter(engine.model_path) as on_cpu:
        assert_same([again, reopened.run(FRAMES[0])], [on_cpu.run(FRAMES[0])] * 2)


def test_the_segmenter_of_torch_is_that_of_the_graph(
    real_gpu: ModuleType, segmentation_graph: ModuleType, model: Path
) -> None:
    network = real_gpu.TinySegmenter(segmentation_graph.COLOURS, segmentation_graph.BIAS, "cpu")
    given = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)
    (expected,) = onnxruntime.InferenceSession(model).run(None, {"frames": given})
    got = network(torch.from_numpy(given))["scores"].numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
