"""A video through a tiny engine: every frame, its box, and an annotated copy."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pipeline_parts import Recorder

from bas_edge.errors import InputError
from bas_edge.localizer import Localizer
from bas_edge.video import FrameResult, Smoothing, VideoSource, localize_video

RED = (255, 0, 0)


@pytest.fixture(scope="module")
def localizer(
    tiny_onnx: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Localizer]:
    model = tiny_onnx(tmp_path_factory.mktemp("engine") / "tiny.onnx")
    with Localizer(model, threads=1) as opened:
        yield opened


def moving_square(graphs: ModuleType, count: int) -> list[np.ndarray]:
    return [
        graphs.coloured_frame((64, 64), (8 * at, 16, 8 * at + 24, 40), RED) for at in range(count)
    ]


def test_every_frame_and_its_box(
    localizer: Localizer, graphs: ModuleType, clips: ModuleType, tmp_path: Path
) -> None:
    clip = clips.write_clip(tmp_path / "a.mp4", moving_square(graphs, 5))
    results: list[FrameResult] = []
    summary = localize_video(localizer, clip, on_frame=results.append)
    assert [result.index for result in results] == list(range(5))
    for at, result in enumerate(results):
        assert result.localization.box == pytest.approx((8 * at, 16, 8 * at + 24, 40), abs=6)
        assert result.time_s == pytest.approx(at / 25)
    assert (summary.frames, summary.found, summary.expected_frames) == (5, 5, 5)
    assert (summary.source_fps, summary.damage, summary.annotated) == (25.0, None, None)
    assert summary.fps == pytest.approx(5 / summary.seconds)
    assert set(summary.stages) == {"pre_ms", "infer_ms", "post_ms", "total_ms"}
    assert all(0 < each["p50"] <= each["p90"] for each in summary.stages.values())
    assert 0 <= summary.late <= 5


def test_a_frame_result_is_json_ready(
    localizer: Localizer, graphs: ModuleType, clips: ModuleType, tmp_path: Path
) -> None:
    clip = clips.write_clip(tmp_path / "a.mp4", moving_square(graphs, 2))
    lines: list[str] = []
    localize_video(localizer, clip, on_frame=lambda one: lines.append(json.dumps(one.to_dict())))
    assert json.loads(lines[1])["frame"] == 1
    assert json.loads(lines[1])["time_s"] == 0.04


def test_the_annotated_copy_has_every_frame(
    localizer: Localizer, graphs: ModuleType, clips: ModuleType, tmp_path: Path
) -> None:
    clip = clips.write_clip(tmp_path / "a.mp4", moving_square(graphs, 5))
    summary = localize_video(localizer, clip, annotated=tmp_path / "a {copy}.mp4")
    assert summary.annotated == tmp_path / "a {copy}.mp4"
    plain, drawn = list(VideoSource(clip)), list(VideoSource(tmp_path / "a {copy}.mp4"))
    assert [frame.time_s for frame in drawn] == pytest.approx([frame.time_s for frame in plain])
    difference = np.abs(plain[2].pixels.astype(int) - drawn[2].pixels).max(axis=2)
    assert difference[14:42, 14:42].max() > 60  # the outline of the box


def test_a_cut_video_is_localized_as_far_as_it_goes(
    localizer: Localizer, clips: ModuleType, tmp_path: Path
) -> None:
    faststart = {"movflags": "faststart"}
    whole = clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(40), options=faststart)
    clip = clips.cut(whole, 0.5)
    summary = localize_video(localizer, clip, annotated=tmp_path / "b.mp4")
    assert 10 < summary.frames < 30
    assert summary.damage == (
        f"{clip} ends in the middle: {summary.frames} frames decoded, about 40 were expected."
    )
    assert len(list(VideoSource(tmp_path / "b.mp4"))) == summary.frames


def test_the_first_seconds_of_a_video_are_whole(
    localizer: Localizer, clips: ModuleType, tmp_path: Path
) -> None:
    clip = clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(30))
    for duration_s, frames in ((0.4, 10), (0.41, 11), (9.0, 30)):
        summary = localize_video(
            localizer, clip, annotated=tmp_path / "b.mp4", duration_s=duration_s
        )
        assert (summary.frames, summary.expected_frames) == (frames, frames)
        assert (summary.annotated, summary.damage) == (tmp_path / "b.mp4", None)


def test_a_video_that_ends_before_the_seconds_that_were_asked_for_is_damaged(
    localizer: Localizer, clips: ModuleType, tmp_path: Path
) -> None:
    faststart = {"movflags": "faststart"}
    whole = clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(100), options=faststart)
    clip = clips.cut(whole, 0.3)
    assert localize_video(localizer, clip, duration_s=0.4).damage is None
    summary = localize_video(localizer, clip, duration_s=3.0)
    assert summary.damage is not None
    assert summary.damage.endswith(f"{summary.frames} frames decoded, about 75 were expected.")


def test_an_unusable_encoder_stops_it_cleanly(
    localizer: Localizer, clips: ModuleType, tmp_path: Path
) -> None:
    clip = clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(30))
    with pytest.raises(InputError, match="The encoder 'gif' cannot write an mp4"):
        localize_video(localizer, clip, annotated=tmp_path / "b.mp4", codec="gif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("refused", [{"stride": 0}, {"workers": 0}, {"smooth": Smoothing()}])
def test_a_refused_option_leaves_no_file_and_closes_the_sinks(
    tiny_onnx: Callable[..., Path], clips: ModuleType, tmp_path: Path, refused: dict[str, Any]
) -> None:
    clip = clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(30))
    mine = Recorder()
    model = tiny_onnx(tmp_path / "tiny.onnx")
    before = {path.name for path in tmp_path.iterdir()}
    with (
        Localizer(model, threads=1, boxes_only=True) as few,
        pytest.raises(InputError, match=r"stride|workers|boxes_only"),
    ):
        localize_video(few, clip, annotated=tmp_path / "b.mp4", sinks=[mine], **refused)
    assert {path.name for path in tmp_path.iterdir()} == before
    assert (mine.complete, mine.results) == (False, [])


def test_an_interrupt_stops_every_thread(
    localizer: Localizer, clips: ModuleType, tmp_path: Path
) -> None:
    clip = clips.write_clip(tmp_path / "a.mp4", clips.noise_frames(30))

    def interrupt(result: FrameResult) -> None:
        if result.index == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        localize_video(localizer, clip, annotated=tmp_path / "b.mp4", on_frame=interrupt)
    assert {path.name for path in tmp_path.iterdir()} <= {"a.mp4", "b.partial.mp4"}
    assert not [one for one in threading.enumerate() if one.name.startswith("bas-edge-")]


@pytest.mark.shared_data
def test_the_real_video_gives_every_frame(localizer: Localizer, shared_data: Path) -> None:
    indices: list[int] = []
    summary = localize_video(
        localizer, shared_data / "video" / "dog.mp4", on_frame=lambda one: indices.append(one.index)
    )
    assert indices == list(range(289))
    assert (summary.expected_frames, summary.damage) == (289, None)
