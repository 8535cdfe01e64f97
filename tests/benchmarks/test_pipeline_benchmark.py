"""The pipeline case: what it computes, what it compares, and a run on a tiny engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.harness import WrongAnswerError
from benchmarks.pipeline import agreement, pipeline_row, times_s
from benchmarks.pipeline_variants import RUNS, STAGES, Measured, Seen, measure
from benchmarks.rows import Provenance

SEEN = Seen((1.0, 2.0, 3.0, 4.0), 5, 0.5)
CLOSE = Seen((1.0, 2.0, 3.0, 4.001), 5, 0.50001)


def run(*seen: Seen) -> Measured:
    return Measured(frames=len(seen), cpu_s=1.0, wall_s=1.0, seen=seen)


@pytest.fixture
def engine(tiny_onnx: Callable[..., Path], tmp_path: Path) -> Path:
    return tiny_onnx(tmp_path / "tiny.onnx")


@pytest.fixture
def clip(clips: ModuleType, graphs: ModuleType, tmp_path: Path) -> Path:
    frames = [graphs.coloured_frame((64, 64), (4 * at, 16, 4 * at + 24, 40), (255, 0, 0))
              for at in range(9)]  # fmt: skip
    path: Path = clips.write_clip(tmp_path / "a.mp4", frames)
    return path


def test_boxes_may_differ_by_the_order_of_sums() -> None:
    said = agreement(run(SEEN, SEEN), run(SEEN, CLOSE), [0.0, 0.1], [0.0, 0.1])
    assert said.startswith("1 of 2 results bit for bit the same, the others within 0.01 px")


@pytest.mark.parametrize(
    "other", [Seen((1.0, 2.0, 3.0, 4.1), 5, 0.5), Seen(SEEN.box, 6, 0.5), Seen(SEEN.box, 5, 0.6)]
)
def test_boxes_labels_and_scores_must_be_the_same(other: Seen) -> None:
    with pytest.raises(WrongAnswerError, match="Frame 1: "):
        agreement(run(SEEN, SEEN), run(SEEN, other), [0.0, 0.1], [0.0, 0.1])


@pytest.mark.parametrize("theirs", [[0.0], [0.0, 0.2]])
def test_videos_must_have_the_same_frames_at_the_same_times(theirs: list[float]) -> None:
    with pytest.raises(WrongAnswerError, match="annotated videos differ"):
        agreement(run(SEEN, SEEN), run(SEEN, SEEN), [0.0, 0.1], theirs)


def test_without_frames_nothing_agrees() -> None:
    with pytest.raises(WrongAnswerError, match="0 frames against 0"):
        agreement(run(), run(), [], [])


def test_ratios_are_of_neighbouring_blocks(
    engine: Path, clip: Path, provenance: Provenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr("benchmarks.pipeline.times_s", lambda _: [0.0, 0.1])
    jobs: list[str] = []

    def spawn(name: str, _engine: Path, _video: Path, _output: Path) -> Measured:
        jobs.append(name)
        block = (len(jobs) - 2) // 7 if len(jobs) > 2 else 0  # two were verified first
        wall_s = {"ours": (0.022, 0.024, 0.033), "naive": (0.044, 0.048, 0.033)}
        seconds = wall_s[name][min(block, 2)] if name in RUNS else 0.0
        return Measured(
            frames=2, cpu_s=0.008, wall_s=seconds, encoder="x", workers=2, seen=(SEEN, SEEN)
        )

    row = pipeline_row(engine, clip, 3, provenance, spawn)
    assert jobs == [*RUNS, *([*RUNS, *STAGES] * 3)]
    assert row.wall_ms == {"ours": (11.0, 12.0, 16.5), "naive": (22.0, 24.0, 16.5)}
    assert (row.ratio.low, row.ratio.median, row.ratio.high) == (1.0, 2.0, 2.0)
    # the floor is 5 stages of 4 ms on 2 cores
    assert (row.over_floor.low, row.over_floor.median, row.over_floor.high) == (1.1, 1.2, 1.65)
    assert (row.precision, row.asked_ratio) == ("fp32", None)


def test_every_process_on_a_tiny_engine(engine: Path, clip: Path, tmp_path: Path) -> None:
    """Here in one process: what each measures, and that both runs do the same."""
    found = {
        name: measure(name, engine, clip, tmp_path / f"{name}.mp4") for name in (*RUNS, *STAGES)
    }
    assert {one.frames for one in found.values()} == {9}
    assert all(one.cpu_s > 0 for one in found.values())
    times = [times_s(tmp_path / f"{name}.mp4") for name in RUNS]
    assert times[0] == pytest.approx([at / 25 for at in range(9)])
    said = agreement(found["ours"], found["naive"], *times)
    assert said.startswith("9 of 9 results")
    assert len(times_s(tmp_path / "encode.mp4")) == 9
