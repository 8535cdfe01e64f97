"""Simulated cameras on a tiny engine, and the arithmetic of a process that is watched."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pipeline_parts import PatientLocalizer
from pipeline_time import Of, time_by_results
from scripted_source import until

from bas_edge.video import VideoSource
from bas_edge.video.sources.claimed_frame import ClaimedFrame
from benchmarks.contest import compete, unfairness_percent
from benchmarks.harness import WorkerError
from benchmarks.live import live_row_of, watch_cameras
from benchmarks.long_video import write_repeated
from benchmarks.rows import Provenance, missed_targets
from benchmarks.soak import Soaked, run_streams, soak_row_of
from benchmarks.soak_samples import (
    Sample,
    Watch,
    first_and_last,
    growth_percent,
    read_sample,
    slope_mib_per_s,
)
from benchmarks.stream_rows import Contest


@pytest.fixture
def engine(tiny_onnx: Callable[..., Path], tmp_path: Path) -> Path:
    return tiny_onnx(tmp_path / "tiny.onnx")


@pytest.fixture
def clip(clips: ModuleType, tmp_path: Path) -> Path:
    path: Path = clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(12))
    return path


def soaked(**changes: object) -> Soaked:
    fields: dict[str, object] = {
        "seconds": 100.0,
        "results": (100, 95),
        "decoded": 300,
        "dropped": 105,
        "unusable": 0,
        "lines": 195,
        "annotated": 100,
        "sink_dropped": 0,
        "failures": (),
        "left": {"threads": 0, "descriptors": 0},
        "contest": Contest(seconds=30.0, offered=(3000, 6000), results=(1000, 950)),
    }
    return Soaked(**{**fields, **changes})


def test_cameras_on_a_tiny_engine(
    engine: Path, clip: Path, provenance: Provenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_by_results(monkeypatch, 6)
    figures = watch_cameras(engine, clip, 2, 1.2)
    assert figures.results > 5
    assert figures.accounted
    assert figures.results + figures.dropped == figures.decoded
    assert 0 < figures.age_ms["p50"] <= figures.age_ms["p95"]
    row = live_row_of([figures], provenance, engine=engine, video=clip, seconds=1.2, threads=2)
    assert row.bound_ms == pytest.approx(1.5 * (figures.infer_ms["p50"] + 40), rel=1e-3)


def test_streams_on_a_tiny_engine(
    engine: Path,
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time_by_results(monkeypatch, 6)
    found = run_streams(engine, clip, tmp_path, streams=2, seconds=1.5, max_fps=20, compete_s=0.3)
    assert capsys.readouterr().out == "started\n"
    assert len(found.results) == 2
    assert found.lines + found.sink_dropped >= sum(found.results)
    assert (found.failures, found.unusable) == ((), 0)
    assert found.left == {"threads": 0, "descriptors": 0}
    assert 0 < found.annotated <= found.results[0]
    assert found.lines == sum(
        '"event"' not in line
        for number in range(2)
        for line in (tmp_path / f"{number}.jsonl").read_text().splitlines()
    )
    assert len(found.contest.results) == 2


def slow_contest(monkeypatch: pytest.MonkeyPatch, results: int, of: Of) -> Contest:
    localizer, pixels = PatientLocalizer(delay_s=0.01), np.zeros((32, 32, 3), np.uint8)
    localizer.lanes = time_by_results(monkeypatch, results, of=of).lanes
    return compete(localizer, 2, pixels, streams=6, seconds=1.0)


def test_streams_that_compete_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    contest = slow_contest(monkeypatch, 20, all)
    pairs = zip(contest.results, contest.offered, strict=True)
    assert all(5 < got < 0.8 * had for got, had in pairs)
    assert unfairness_percent(contest.results) <= 10


def test_a_pipeline_that_favours_its_first_stream_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    never = property(lambda _: 0, lambda *_: None)  # when it was served last
    monkeypatch.setattr("bas_edge.video.lane.Lane.served", never, raising=False)
    assert unfairness_percent(slow_contest(monkeypatch, 40, any).results) > 50


def test_drops_that_are_told_wrong_are_seen(
    engine: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_by_results(monkeypatch, 6)
    monkeypatch.setattr(ClaimedFrame, "dropped", property(lambda _: 1))
    assert not watch_cameras(engine, clip, 1, 0.5).accounted


def test_a_repeated_video_is_the_same_again_and_again(clip: Path, tmp_path: Path) -> None:
    assert write_repeated(clip, tmp_path / "long.mp4", 1.0) == 3
    once, thrice = list(VideoSource(clip)), list(VideoSource(tmp_path / "long.mp4"))
    assert [frame.time_s for frame in thrice] == pytest.approx([at / 25 for at in range(36)])
    for at, frame in enumerate(thrice):
        np.testing.assert_array_equal(frame.pixels, once[at % 12].pixels)


def test_growth_is_between_the_first_and_the_last_tenth(provenance: Provenance) -> None:
    samples = [Sample(float(at), 50.0 if at < 20 else 100.0, 10, 7) for at in range(100)]
    samples += [Sample(float(at), 102.0, 10, 8) for at in range(92, 101)]
    samples += [Sample(101.0, 500.0, 1, 1)]  # it is ending
    row = soak_row_of(
        soaked(),
        samples,
        provenance,
        engine=Path("toy.engine"),
        video=Path("toy.mp4"),
        max_fps=10.0,
        warm_up_s=20.0,
    )
    assert (row.rss_mib, row.growth_percent, row.rss_peak_mib) == ((100.0, 102.0), 2.0, 102.0)
    assert (row.threads, row.descriptors) == ((10, 10), (7, 8))
    assert row.unfairness_percent == 5.0
    assert missed_targets(row) == [
        "soak: memory grew by 2 %, under 1 % asked",
        "soak: descriptors rose from 7 to 8",
    ]


def test_a_soak_shorter_than_its_warm_up_is_none(provenance: Provenance) -> None:
    with pytest.raises(WorkerError, match="10 s is no longer than the warm-up"):
        soak_row_of(
            soaked(seconds=10.0),
            [Sample(1.0, 50.0, 10, 7)],
            provenance,
            engine=Path("toy.engine"),
            video=Path("toy.mp4"),
            max_fps=10.0,
            warm_up_s=20.0,
        )


@pytest.mark.parametrize(
    ("results", "percent"), [((100, 90), 10.0), ((5, 5), 0.0), ((4, 0), 100.0), ((0, 0), 100.0)]
)
def test_unfairness(results: tuple[int, ...], percent: float) -> None:
    assert unfairness_percent(results) == percent


def test_medians_of_tenths_growth_and_slope() -> None:
    assert first_and_last([3.0]) == (3.0, 3.0)
    assert first_and_last([float(at) for at in range(100)]) == (4.5, 94.5)
    assert growth_percent(200.0, 203.0) == pytest.approx(1.5)
    assert slope_mib_per_s([Sample(float(at), 7 + 0.5 * at, 1, 1) for at in range(9)]) == (
        pytest.approx(0.5)
    )
    assert slope_mib_per_s([Sample(0.0, 7.0, 1, 1)]) == 0.0


def test_a_process_is_watched() -> None:
    watch = Watch(os.getpid(), every_s=0.01)
    watch.start()
    until(lambda: len(watch.samples) > 2)
    watch.stop()
    assert watch.samples[0].rss_mib > 10
    assert watch.samples[0].threads >= 2
    assert watch.samples[0].descriptors > 2
    assert read_sample(2**22 + 1) is None
