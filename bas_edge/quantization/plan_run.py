"""What a plan says of the bound's images, run by the GPU of the machine that built it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge.backends import Backend
from bas_edge.backends._cuda import driver_state
from bas_edge.engine.bundle import Engine
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.manifest import Manifest, PlanRecord
from bas_edge.errors import BasEdgeError
from bas_edge.framing import Placement
from bas_edge.open_runner import open_network, open_runner
from bas_edge.quantization.box_yardstick import BoxYardstick
from bas_edge.quantization.comparison import Run
from bas_edge.quantization.mask_yardstick import MaskYardstick
from bas_edge.quantization.statistics import Frames
from bas_edge.quantization.yardstick import AnyYardstick
from bas_edge.runner import Answer, Runner, RunOptions, Shot

__all__ = ["PlanNotRun", "PlanRun", "run_plan"]

_WARM_UP, _RUNS = 10, 50
_BATCH = 8
_TINY = np.finfo(np.float32).tiny

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class PlanRun:
    """A plan that was run.

    Attributes:
        measured: What it says about the images of the bound.
        latency_ms: Median of what the GPU does for one frame: resize, network and box; for a
            segmenter upload, network and download.
    """

    measured: Any
    latency_ms: float


@dataclass(frozen=True, slots=True)
class PlanNotRun:
    """A plan that this machine cannot run.

    Attributes:
        reason: Why not, in a sentence.
        expected: Whether no GPU is here at all, which nobody needs to be told about.
    """

    reason: str
    expected: bool


def run_plan(
    bundle: Engine, plan: PlanRecord, yardstick: AnyYardstick, progress: Progress
) -> PlanRun | PlanNotRun:
    """Run one plan of a bundle on all images of the bound, as `Localizer` or `Segmenter` does.

    Args:
        bundle: Its plan is in place; it need not be complete.
        plan: Which one.
        yardstick: The images.
        progress: Called with the frames done, of how many.

    Raises:
        BackendError: It was loaded, and then failed or gave values that are not finite.
    """
    driver = driver_state()
    if not driver.available:
        return PlanNotRun(driver.reason, expected=True)
    manifest = msgspec.structs.replace(bundle.manifest, bound=None)  # what is to be found out
    engine = Engine(bundle.path, manifest, bundle.model_path)
    try:
        if isinstance(yardstick, MaskYardstick):
            network = open_network(engine, backend=plan.backend)
        else:
            runner = open_runner(engine, _options(manifest), backend=plan.backend)
    except BasEdgeError as error:
        return PlanNotRun(str(error), expected=False)
    if isinstance(yardstick, MaskYardstick):
        with closing(network):
            return _run_network(network, plan, yardstick, progress)
    assert isinstance(yardstick, BoxYardstick)
    with closing(runner):
        return _run(runner, yardstick, progress)


def _options(manifest: Manifest) -> RunOptions:
    return RunOptions(
        manifest=manifest,
        threshold=manifest.threshold,
        top_k=manifest.top_k,
        max_boxes=1,
        boxes_only=False,
    )


def _run_network(
    network: Backend, plan: PlanRecord, yardstick: MaskYardstick, progress: Progress
) -> PlanRun:
    batch = min(_BATCH, plan.max_batch)
    measured = yardstick.run(network, batch=batch, progress=progress)
    (frame,) = next(iter(yardstick.frames.batches(1)))
    times = []
    for _ in range(_WARM_UP + _RUNS):
        started = time.perf_counter()
        network.run({INPUT_NAME: frame[None]})
        times.append((time.perf_counter() - started) * 1e3)
    return PlanRun(measured, float(statistics.median(times[_WARM_UP:])))


def _run(runner: Runner, yardstick: BoxYardstick, progress: Progress) -> PlanRun:
    empty = yardstick.background
    total = len(yardstick.frames) + (0 if empty is None else len(empty))
    done = 0

    def answers(frames: Frames) -> Run:
        nonlocal done
        maps, scores = [], []
        for batch in frames.batches(min(_BATCH, runner.max_batch)):
            for answer in _answers(runner, batch):
                maps.append(answer.foreground)
                # Probabilities of float32: their logarithms are logits, but for a constant.
                scores.append(np.log(np.maximum(answer.scores, _TINY)))
            done += len(batch)
            progress(done, total)
        return Run(np.stack(maps), np.stack(scores))

    objects = answers(yardstick.frames)
    background = None if empty is None else answers(empty)
    return PlanRun(yardstick.judge(objects, background), _latency(runner, yardstick.frames))


def _answers(runner: Runner, batch: NDArray[np.uint8]) -> list[Answer]:
    found, _ = runner.submit([_shot(frame) for frame in batch]).result()
    return found


def _latency(runner: Runner, frames: Frames) -> float:
    (frame,) = next(iter(frames.batches(1)))
    times = []
    for _ in range(_WARM_UP + _RUNS):
        _, timing = runner.submit([_shot(frame)]).result()
        times.append(timing.infer_ms)
    return float(statistics.median(times[_WARM_UP:]))


def _shot(frame: NDArray[np.uint8]) -> Shot:
    """A frame that has the network's size already."""
    height, width = frame.shape[:2]
    whole = (0, 0, width, height)
    return Shot(frame, False, Placement((height, width), (height, width), whole, whole))
