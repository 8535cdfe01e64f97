"""One video through `bas-edge run`: every frame, the rate, the stages, and flat memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..harness import Settings, SkippedCaseError, WorkerError, run_worker, worker_environment
from ..rows import VideoRow
from . import frame_to_box_edge
from .frame_to_box import THREADS

__all__ = ["CASE", "FLAT_FROM", "VideoCase", "drift_mib", "growth_mib", "slope_kib_per_frame"]

FLAT_FROM = 50  # frames; by then queues, encoder lookahead and thread pools are full
WINDOW = 50  # frames
KEPT_SAMPLES = 60


@dataclass(frozen=True, slots=True)
class VideoCase:
    """Runs the command as a user does, with `--json`: one line a frame, read as it happens."""

    name: str = "video"
    summary: str = "bas-edge run on a video file: frames, rate, stages, memory"

    def run(self, settings: Settings) -> tuple[VideoRow]:
        """Run the command once.

        Raises:
            SkippedCaseError: No video was given and none is at hand.
            WorkerError: The command failed.
        """
        if settings.video is None:
            raise SkippedCaseError("there is no video here; give one with --video FILE")
        if settings.engine is None:
            run_worker(frame_to_box_edge.CASE, "", settings, "prepare")
        engine = settings.engine or settings.work / "edge.engine"
        output = settings.work / "video"
        command = [sys.executable, "-m", "bas_edge.cli", "run", str(engine), str(settings.video)]
        command += ["--output", str(output), "--overwrite", "--threads", str(THREADS), "--json"]
        started = time.perf_counter()
        lines, rss_mib = _watch(command)
        wall_s = time.perf_counter() - started
        frames = [line for line in lines if "frame" in line]
        (summary,) = lines[-1]["summary"]["videos"]
        samples = [(line["frame"], mib) for line, mib in zip(lines, rss_mib, strict=True)
                   if "frame" in line]  # fmt: skip
        row = VideoRow(
            case=self.name,
            provenance=settings.provenance,
            video=settings.video.name,
            model=engine.name if settings.engine else "edge head, C=200, random weights",
            threads=THREADS,
            frames=len(frames),
            expected_frames=summary["expected_frames"] or 0,
            wall_s=round(wall_s, 2),
            fps=round(len(frames) / wall_s, 1),
            stages_ms=_stage_medians(frames),
            rss_mib=tuple(samples[:: max(1, len(samples) // KEPT_SAMPLES)]),
            rss_growth_mib=growth_mib(samples),
            rss_drift_mib=drift_mib(samples),
            rss_slope_kib_per_frame=slope_kib_per_frame(samples),
        )
        return (row,)


def growth_mib(samples: Sequence[tuple[int, float]]) -> float:
    """How far (frame, MiB) samples rise above the one at frame 50; 0 for shorter videos."""
    late = [mib for frame, mib in samples if frame >= FLAT_FROM]
    return round(max(late) - late[0], 2) if late else 0.0


def drift_mib(samples: Sequence[tuple[int, float]]) -> float:
    """Median of the last 50 (frame, MiB) samples minus that of the 50 from frame 50 on."""
    late = [mib for frame, mib in samples if frame >= FLAT_FROM]
    if not late:
        return 0.0
    return round(float(np.median(late[-WINDOW:]) - np.median(late[:WINDOW])), 2)


def slope_kib_per_frame(samples: Sequence[tuple[int, float]]) -> float:
    """Least-squares slope of (frame, MiB) samples from frame 50 on; 0 for shorter videos."""
    late = [sample for sample in samples if sample[0] >= FLAT_FROM]
    if len(late) < 2:
        return 0.0
    frames, mib = np.array(late, np.float64).T
    return round(float(np.polyfit(frames, mib, 1)[0]) * 1024, 2)


def _watch(command: list[str]) -> tuple[list[dict[str, Any]], list[float]]:
    """Run a command that prints JSON lines; each line, and the resident MiB when it came."""
    lines: list[dict[str, Any]] = []
    rss_mib: list[float] = []
    environment = worker_environment(THREADS)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            rss_mib.append(_resident_mib(process.pid))
            lines.append(json.loads(line))
    if process.returncode != 0:
        raise WorkerError(f"{' '.join(command)} failed with exit code {process.returncode}")
    return lines, rss_mib


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s*(\d+) kB", status, re.M)
    return round(int(found[1]) / 1024, 2) if found else 0.0  # the process is just ending


def _stage_medians(frames: list[dict[str, Any]]) -> dict[str, float]:
    stages = ("pre", "infer", "post", "total")
    return {
        stage: float(f"{np.median([line['timing_ms'][stage] for line in frames]):.4g}")
        for stage in stages
    }


CASE = VideoCase()
