"""The benchmark of smoothing: its planted motion, its figures, its row and its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np
import pytest

from bas_edge import Localizer
from bas_edge.video import Smoothing, VideoFrame
from benchmarks.rows import Provenance, append_row, missed_targets, read_rows
from benchmarks.steady import LONGEST, Scene, cut_places, figures_of, shaken
from benchmarks.steady_rows import SteadyFigures, SteadyRow
from benchmarks.steady_tables import steady_table

FRAMES = 60


@pytest.fixture(scope="module")
def localizer(
    tiny_onnx: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Localizer]:
    model = tiny_onnx(tmp_path_factory.mktemp("engine") / "tiny.onnx")
    with Localizer(model, threads=1) as opened:
        yield opened


def scene(localizer: Localizer, graphs: ModuleType, colour: tuple[int, int, int]) -> Scene:
    """A square that moves by two pixels a frame over 64 × 160."""
    frames = [
        VideoFrame(i, i / 30, graphs.coloured_frame((64, 160), (2 * i, 16, 2 * i + 32, 48), colour))
        for i in range(FRAMES)
    ]
    seen = [localizer.run(frame.pixels) for frame in frames]
    return Scene(frames, seen, [(0, 0)] * FRAMES)


def test_latency_and_wait_after_a_cut_are_seen(localizer: Localizer, graphs: ModuleType) -> None:
    red = scene(localizer, graphs, (255, 0, 0))
    still = Scene(red.frames, [red.seen[0]] * FRAMES, red.camera)
    plain = figures_of(localizer, red, Smoothing.named("off"), still)
    assert (plain.latency_frames, plain.cut_frames, plain.false_cuts) == (0, 0, 0)
    assert (plain.same_frame_iou, plain.label_changes) == (1, 0)
    assert plain.jitter_px_mean == pytest.approx(2, abs=1)
    slow = Smoothing(map_time_s=0.3, motion=False, cut=0.0)
    late = figures_of(localizer, red, slow, still)
    assert 2 < late.latency_frames < LONGEST
    assert late.cut_frames > 5
    assert late.same_frame_iou < 0.9


def test_planted_motion_is_taken_back() -> None:
    whole = np.arange(80 * 120 * 3).reshape(80, 120, 3).astype(np.uint8)
    frames, camera = shaken([VideoFrame(i, i / 30, whole) for i in range(100)])
    places = np.array(camera)
    assert np.ptp(places, axis=0).min() > 5
    for frame, (x, y) in zip(frames, camera, strict=True):
        np.testing.assert_array_equal(frame.pixels, whole[y : y + 60, x : x + 90])
    assert np.abs(np.diff(places, axis=0)).max() < 10


def test_cuts_lie_inside(localizer: Localizer, graphs: ModuleType) -> None:
    places = cut_places(scene(localizer, graphs, (255, 0, 0)))
    assert min(places) >= 1
    assert max(places) + LONGEST <= FRAMES


FIGURES = SteadyFigures(
    iou_mean=0.9, iou_p10=0.8, jitter_px_mean=20, jitter_px_p50=10, jitter_px_p90=40,
    latency_frames=0, same_frame_iou=1, label_changes=9, cut_frames=0, false_cuts=0,
    ms_per_frame=0.5,
)  # fmt: skip


def row(**light: float) -> SteadyRow:
    better = {"iou_mean": 0.95, "jitter_px_mean": 10, "latency_frames": 1, "cut_frames": 2}
    return SteadyRow(
        provenance=Provenance(date="2026-01-01", commit="abc", command="x", conditions={}),
        video="dog.mp4",
        model="edge.engine",
        camera="as filmed",
        frame="1280 × 720",
        frames=289,
        cuts=10,
        figures={
            "off": FIGURES,
            "light": msgspec.structs.replace(FIGURES, **{**better, **light}),
        },
        presets=("light",),
    )


def test_a_row_is_written_read_and_shown(tmp_path: Path) -> None:
    append_row(row(), tmp_path)
    rows = read_rows(tmp_path)
    assert rows == [row()]
    table = steady_table([row(), row(iou_mean=0.96)])
    assert "| as filmed | `light` | 0.960 | 0.800 | 10.0 |" in table
    assert "0.950" not in table  # the newest row of a video only
    assert steady_table([]) == "Not measured yet."


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, None),
        ({"cut_frames": 3}, "light: 3 frames after a cut, 2 asked"),
        ({"false_cuts": 1}, "light: 1 cuts seen where there is none"),
        ({"iou_mean": 0.9}, "light: no steadier than without smoothing"),
        ({"jitter_px_mean": 20}, "light: no steadier than without smoothing"),
    ],
)
def test_what_a_preset_must_show(change: dict[str, float], sentence: str | None) -> None:
    assert missed_targets(row(**change)) == ([] if sentence is None else [sentence])
