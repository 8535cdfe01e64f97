"""Frames to boxes on a GPU: baselines, parts and rows, on a pretended one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest

from bas_edge import Localizer
from benchmarks import gpu_network
from benchmarks.__main__ import main
from benchmarks.cases import CASES, comparison
from benchmarks.cases.frame_to_box_gpu import (
    COMPARISONS,
    EAGER,
    MANY,
    SAME_PLAN,
    Parts,
    example_batches,
    measure,
    require_close_boxes,
)
from benchmarks.gpu_baselines import PlanNetwork, published_call
from benchmarks.gpu_rows import GpuFrameRow
from benchmarks.gpu_stages import BatchStages
from benchmarks.harness import Settings, WrongAnswerError
from benchmarks.rows import append_row, missed_targets, read_rows
from benchmarks.tables import page_with_rows, row_line
from benchmarks.timings import timing_of

BATCH = 2


@pytest.fixture
def work(gpu: Any, tmp_path: Path, tiny_onnx: Callable[..., Path]) -> Path:
    """A folder as `prepare` leaves it, where TensorRT serves."""
    model = tiny_onnx(tmp_path / "m.onnx", maps="selected", classes=tuple("abcd"), top_k=2)
    path = gpu_network.engine_for(tmp_path, "tensorrt", BATCH)
    gpu.bundle(model, path, batches=(BATCH, BATCH, BATCH))
    chosen = gpu_network.GpuNetwork(backend="tensorrt", version=gpu.version, said="")
    (tmp_path / "gpu-network.json").write_bytes(msgspec.json.encode(chosen))
    return tmp_path


@pytest.fixture
def frames(graphs: ModuleType) -> list[np.ndarray]:
    red = graphs.coloured_frame((48, 64), (16, 12, 48, 36), (250, 20, 20))
    green = graphs.coloured_frame((48, 64), (8, 24, 32, 48), (20, 250, 20))
    return [red, green]


def test_the_same_plan_without_us_gives_our_boxes(
    gpu: Any, work: Path, frames: list[np.ndarray]
) -> None:
    plan, manifest = gpu_network.open_network_plan(work, BATCH)
    network = PlanNetwork(plan, BATCH)
    call = published_call(network, manifest, [frames, frames[::-1]])
    with gpu_network.open_ours(work, BATCH) as ours:
        for turn in range(6):
            given = [frames, frames[::-1]][turn % 2]
            expected = np.array([found.box for found in ours.run_batch(given)])
            answer = call(turn % 2)
            assert set(answer.stages_ms) == {"pre", "infer", "post"}
            both = {"ours": expected, "theirs": np.array(answer.values)}
            assert require_close_boxes(both) == "boxes of 2 frames agree (lowest IoU 1.000)"
    network.close()


def test_the_parts_of_a_batch_are_its_whole(gpu: Any, work: Path, frames: list[np.ndarray]) -> None:
    plan, manifest = gpu_network.open_network_plan(work, BATCH)
    stages = BatchStages(plan, manifest, frames, flush_bytes=64)
    taken = stages.medians_us(seconds=0.0)
    assert list(taken) == ["upload", "pre", "network", "post", "download"]
    assert min(taken.values()) > 0
    records = stages.records()
    engine = gpu_network.engine_for(work, "tensorrt", BATCH)
    with Localizer(engine, backend="onnxruntime") as on_cpu:
        expected = on_cpu.run_batch(frames)
    assert records.labels.tolist() == [found.label for found in expected]
    for at, found in enumerate(expected):
        scale = np.array([64 / 32, 48 / 32] * 2)
        assert (records.boxes.boxes[at, 0] * scale).tolist() == list(found.box)
    stages.close()


def test_boxes_that_disagree_are_never_timed() -> None:
    ours = np.tile([0.0, 0.0, 10.0, 10.0], (4, 1, 1))
    theirs = ours.copy()
    theirs[2, 0, 2] = 5.0
    with pytest.raises(WrongAnswerError, match=r"theirs: 3 of 4 boxes .* frame 2"):
        require_close_boxes({"ours": ours, "theirs": theirs})


def test_every_part_of_the_case_can_be_found_by_a_worker() -> None:
    assert len(COMPARISONS) == 6
    for name in COMPARISONS:
        assert comparison(name).name == name
        assert "/" not in name  # it is part of a file's name
    assert [len(batch) for batch in example_batches("720p", 4)] == [4] * 8
    assert example_batches("1080p", 1)[0][0].shape == (1080, 1920, 3)


def parts(*_: Any) -> Parts:
    return Parts(
        device="Toy GPU",
        runner="torch 2.0",
        said="tensorrt: not installed.",
        graph="one CUDA graph a batch",
        stages_us={"upload": 50.0, "pre": 100.0, "network": 500.0, "post": 150.0, "download": 5.0},
    )


@pytest.fixture
def frame_row(spawner: type, settings: Settings) -> GpuFrameRow:
    """Ours 2 ms, eager 8 ms."""
    names = ["ours", MANY, EAGER, SAME_PLAN]
    answers = dict.fromkeys(names, 1)
    times = dict(zip(names, [[2.0], [8.0], [8.0], [3.0]], strict=True))

    class FourCorners(spawner):
        def __call__(self, case: Any, variant: str, given: Any, job: str) -> str:
            said: str = super().__call__(case, variant, given, job)
            if job == "answer":
                path = given.work / f"answers-{case.name}-{variant}.npy"
                np.save(path, np.array([[[0, 0, 4, 4]]]))
            return said

    return measure(settings, "720p", 1, FourCorners(answers, times), parts)


def test_a_row_of_frames(frame_row: GpuFrameRow, tmp_path: Path) -> None:
    assert frame_row.kernel_share == pytest.approx(0.125)
    assert frame_row.frames_per_s("ours") == 500
    assert frame_row.frames_per_s(MANY) == 1000  # eight batches in 8 ms
    assert set(frame_row.ratios) == {EAGER, SAME_PLAN}
    assert missed_targets(frame_row) == [
        "frame_to_box_gpu: 1280x720, batch 1: 4x over PyTorch eager fp16, 10x asked",
        "frame_to_box_gpu: 1280x720, batch 1: our kernels are 12 % of the total, under 10 % asked",
    ]
    append_row(frame_row, tmp_path)
    assert read_rows(tmp_path) == [frame_row]
    assert row_line(frame_row).startswith("1280x720, batch 1: ours 2.00 ms; 4.0× (4.0–4.0) over")


def test_the_tables_of_frames(frame_row: GpuFrameRow) -> None:
    page = "<!-- rows: gpu_frames -->\n<!-- end of rows -->"
    shown = page_with_rows(page, [frame_row])
    assert "| 1280x720 | 1 | ours | 2.00 (p90 2.00) | 500 | – | – |" in shown
    assert f"| {EAGER} | 8.00 (p90 8.00) | 125 | 4.0× (4.0–4.0) | ≥ 10× |" in shown
    assert "| 1280x720 | 1 | 50 | 100 | 500 | 150 | 5 | 12.5 % | < 10 % |" in shown
    assert "- Not TensorRT: tensorrt: not installed." in shown
    assert "\nNot measured yet: no GPU was at hand.\n" in page_with_rows(page, [])


def test_other_shares_are_of_our_median(frame_row: GpuFrameRow) -> None:
    faster = {**frame_row.timings, "ours": timing_of([[1.0]], [])}
    assert msgspec.structs.replace(frame_row, timings=faster).kernel_share == 0.25


@pytest.mark.parametrize("name", ["cuda_ops", "frame_to_box_gpu"])
def test_without_a_gpu_a_case_says_so_in_a_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fakes.cuda_driver import FakeCuda
    from fakes.libcuda import libcuda

    from bas_edge.backends import _cuda_driver

    driver = _cuda_driver.Driver(libcuda(FakeCuda(devices=0)))
    monkeypatch.setattr(_cuda_driver, "driver", lambda: driver)
    assert main(["run", name, "--results", str(tmp_path)]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"{name}: {CASES[name].summary}",
        "  skipped: it needs a GPU. The NVIDIA driver shows no GPU to this process "
        "(CUDA_ERROR_NO_DEVICE, 100).",
    ]
    assert read_rows(tmp_path) == []


def test_without_kernels_a_case_says_so(
    gpu: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import gpu_device

    monkeypatch.setattr(gpu_device, "cuda_build", lambda: None)
    assert main(["run", "cuda_ops", "--results", str(tmp_path)]) == 0
    assert "skipped: there are no CUDA kernels here" in capsys.readouterr().err
