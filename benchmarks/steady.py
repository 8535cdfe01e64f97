"""What smoothing does to the boxes of a video: how steady, how late, and at a cut.

    python -m benchmarks.steady --engine NAME.engine --video FILE [--cut-with FILE]

Appends a row for the video as it was filmed, and one for a part of its picture that moves over it
like a camera in an unsteady hand; that motion is taken back before two boxes are compared. Cuts
are planted where the video, mirrored, or another one goes on. `min_score` is 0, so that every frame
has a box. Exit code 1 where a preset does not show what it is there for.
"""

from __future__ import annotations

import argparse
import math
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bas_edge import Localization, Localizer
from bas_edge.video import Smoothing, StabilitySummary, Steadier, VideoFrame, VideoSource
from bas_edge.video.steady.stability import stability_between

from .__main__ import provenance
from .rows import RESULTS, append_row, missed_targets
from .steady_rows import SteadyFigures, SteadyRow
from .tables import row_line
from .timings import rounded

__all__ = ["WAYS", "Scene", "figures_of", "main", "shaken"]

WAYS = {
    "off": Smoothing.named("off"),
    "map": replace(Smoothing(), motion=False),
    "box": replace(Smoothing(), map_time_s=0.0, min_cutoff_hz=1.0, beta=5.0),
    "map, box": replace(Smoothing(), motion=False, min_cutoff_hz=1.0, beta=5.0),
    "map, motion, box": replace(Smoothing(), min_cutoff_hz=1.0, beta=5.0),
    "light without cuts": replace(Smoothing(), cut=0.0),
    "light": Smoothing.named("light"),
    "strong": Smoothing.named("strong"),
}
PRESETS = ("light", "strong")
CUTS = 30
LONGEST = 15  # frames: of a latency, and of a wait after a cut


class Scene(NamedTuple):
    """Frames, what was found in each, and where the planted camera was, (x, y) in pixels."""

    frames: list[VideoFrame]
    seen: list[Localization]
    camera: list[tuple[int, int]]


def shaken(frames: Sequence[VideoFrame]) -> tuple[list[VideoFrame], list[tuple[int, int]]]:
    """Three quarters of each frame, cut out where a hand at 2 Hz and a pan at 0.3 Hz take it."""
    shown, camera = [], []
    for frame in frames:
        height, width = frame.pixels.shape[:2]
        h, w = height * 3 // 4, width * 3 // 4
        turn = 2 * math.pi * frame.time_s
        pan = 0.7 * math.sin(0.3 * turn)
        x = round((width - w) / 2 * (1 + pan + 0.3 * math.sin(2 * turn)))
        y = round((height - h) / 2 * (1 + 0.5 * math.sin(2.6 * turn)))
        pixels = np.ascontiguousarray(frame.pixels[y : y + h, x : x + w])
        shown.append(replace(frame, pixels=pixels))
        camera.append((x, y))
    return shown, camera


def figures_of(localizer: Localizer, scene: Scene, way: Smoothing, other: Scene) -> SteadyFigures:
    """Measure one way of smoothing; `other` is what cuts go to, frame by frame."""
    steadier = Steadier(localizer, way)
    results, times_ms, resets = [], [], 0
    for frame, seen in zip(scene.frames, scene.seen, strict=True):
        start = time.perf_counter_ns()
        result, stability = steadier.steady(frame, seen)
        times_ms.append((time.perf_counter_ns() - start) / 1e6)
        resets += stability is None
        results.append(result)
    summary = StabilitySummary()
    fixed = [_taken_back(one, at) for one, at in zip(results, scene.camera, strict=True)]
    for before, after in pairwise(fixed):
        if (stability := stability_between(before, after)) is not None:
            summary.add(stability)
    labels = [one.label for one in results]
    return SteadyFigures(
        iou_mean=round(summary.mean_iou, 4),
        iou_p10=round(summary.iou_percentile(10), 4),
        jitter_px_mean=round(summary.mean_jitter_px, 2),
        jitter_px_p50=round(summary.jitter_percentile(50), 2),
        jitter_px_p90=round(summary.jitter_percentile(90), 2),
        latency_frames=_latency(scene.seen, results),
        same_frame_iou=round(statistics.fmean(map(_iou, scene.seen, results)), 4),
        label_changes=sum(a != b for a, b in pairwise(labels)),
        cut_frames=max(_after_cut(localizer, scene, other, way, at) for at in cut_places(scene)),
        false_cuts=resets - 1,
        ms_per_frame=rounded(statistics.median(times_ms)),
    )


def cut_places(scene: Scene) -> list[int]:
    """Where cuts are planted: evenly over the video, with frames before them and enough after."""
    step = (len(scene.frames) - LONGEST) / (CUTS + 1)
    return [round(step * (at + 1)) for at in range(CUTS)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Append both rows; exit code 1 where one does not show what it is there for."""
    options = _parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "benchmarks.steady", *(arguments or sys.argv[1:])])
    failed = False
    with Localizer(options.engine, min_score=0.0, threads=options.threads) as localizer:
        frames = list(VideoSource(options.video))
        elsewhere = list(VideoSource(options.cut_with)) if options.cut_with else None
        scenes = {"as filmed": (frames, [(0, 0)] * len(frames)), "shaken": shaken(frames)}
        for camera, (shown, places) in scenes.items():
            scene = Scene(shown, _run(localizer, shown), places)
            other = _other(localizer, scene, elsewhere)
            height, width = shown[0].pixels.shape[:2]
            row = SteadyRow(
                provenance=provenance(command),
                video=options.video.name,
                model=options.engine.name,
                camera=camera,
                frame=f"{width} × {height}",
                frames=len(shown),
                cuts=CUTS,
                figures={
                    name: figures_of(localizer, scene, way, other) for name, way in WAYS.items()
                },
                presets=PRESETS,
            )
            append_row(row, options.results)
            print(row_line(row), flush=True)
            for sentence in missed_targets(row):
                print(f"missed: {sentence}", file=sys.stderr)
                failed = True
    return 1 if failed else 0


def _run(localizer: Localizer, frames: Sequence[VideoFrame]) -> list[Localization]:
    return [localizer.run(frame.pixels) for frame in frames]


def _other(localizer: Localizer, scene: Scene, elsewhere: Sequence[VideoFrame] | None) -> Scene:
    """The frames that follow a cut, at the times of those they replace."""
    count = len(scene.frames)
    sources = elsewhere or scene.frames
    flip = 1 if elsewhere else -1
    frames = [
        replace(frame, pixels=np.ascontiguousarray(sources[at % len(sources)].pixels[:, ::flip]))
        for at, frame in enumerate(scene.frames)
    ]
    return Scene(frames, _run(localizer, frames), [(0, 0)] * count)


def _taken_back(result: Localization, at: tuple[int, int]) -> Localization:
    """Its box in pixels of the whole scene."""
    x0, y0, x1, y1 = result.box
    return replace(result, box=(x0 + at[0], y0 + at[1], x1 + at[0], y1 + at[1]))


def _after_cut(localizer: Localizer, scene: Scene, other: Scene, way: Smoothing, at: int) -> int:
    """Frames after the cut before frame `at` until the box is there."""
    steadier = Steadier(localizer, way)
    before = slice(max(0, at - 30), at)
    for frame, seen in zip(scene.frames[before], scene.seen[before], strict=True):
        steadier.steady(frame, seen)
    for late in range(LONGEST):
        frame, seen = other.frames[at + late], other.seen[at + late]
        if _iou(seen, steadier.steady(frame, seen)[0]) >= 0.9:
            return late
    return LONGEST


def _latency(seen: Sequence[Localization], results: Sequence[Localization]) -> int:
    def distance(late: int) -> float:
        pairs = zip(seen, results[late:], strict=False)
        found = (stability_between(first, second) for first, second in pairs)
        return statistics.median(one.jitter_px for one in found if one is not None)

    return min(range(LONGEST), key=distance)


def _iou(first: Localization, second: Localization) -> float:
    stability = stability_between(first, second)
    return 0.0 if stability is None else stability.iou


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steady")
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--cut-with", type=Path, help="what cuts go to; default: mirrored")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
