"""Host frames to boxes on a GPU: ours against eager torch, and against the same plan without us."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge.metrics.iou import aligned_iou

from ..conditions import REPOSITORY
from ..gpu_device import require_gpu, with_gpu
from ..gpu_rows import GpuFrameRow
from ..harness import (
    Answer,
    Comparison,
    Session,
    Settings,
    Spawn,
    WorkerError,
    WrongAnswerError,
    run_worker,
)
from .resize_frame import example_frame

__all__ = ["CASE", "COMPARISONS", "FRAMES", "FrameToBoxGpu", "Parts", "example_batches", "measure",
           "require_close_boxes"]  # fmt: skip

FRAMES = {"720p": (720, 1280), "1080p": (1080, 1920)}
BATCHES = (1, 4, 16)
INPUTS = 8
IN_FLIGHT = 8  # batches given at once
EAGER = "PyTorch eager fp16"
SAME_PLAN = "same network, published steps"
MANY = "ours, 8 batches at once"
TARGET = 10.0  # over eager, at batch 1
MOST_KERNEL_SHARE = 0.1  # at batch 1
NAME = "frame_to_box_gpu"


def example_batches(frame: str, batch: int) -> list[list[NDArray[np.uint8]]]:
    """INPUTS batches; consecutive ones share no frame where there are enough."""
    frames = [example_frame(seed, FRAMES[frame]) for seed in range(INPUTS)]
    return [[frames[(i * batch + j) % INPUTS] for j in range(batch)] for i in range(INPUTS)]


def _ours(frame: str, batch: int) -> Callable[[Path], Session]:
    """`Localizer.run_batch` on one batch, which waits for its boxes."""

    def open_session(work: Path) -> Session:
        from ..gpu_network import open_ours

        localizer, batches = open_ours(work, batch), example_batches(frame, batch)

        def call(index: int) -> Answer:
            found = localizer.run_batch(batches[index])
            return Answer([each.box for each in found])

        return call

    return open_session


def _many(frame: str, batch: int) -> Callable[[Path], Session]:
    """The same on several batches at once, so that their stages overlap."""

    def open_session(work: Path) -> Session:
        from ..gpu_network import open_ours

        localizer, batches = open_ours(work, batch), example_batches(frame, batch)

        def call(index: int) -> Answer:
            found = localizer.run_batch(batches[index] * IN_FLIGHT)
            return Answer([each.box for each in found][:batch])

        return call

    return open_session


def _eager(frame: str, batch: int) -> Callable[[Path], Session]:
    def open_session(work: Path) -> Session:
        import torch

        from bas_edge import open_engine

        from ..gpu_baselines import eager_network, published_call
        from ..gpu_network import HEAD
        from ..models import engine_path, load_model
        from ..torch_network import TorchNetwork

        torch.backends.cudnn.benchmark = True
        manifest = open_engine(engine_path(work, HEAD)).manifest
        network = TorchNetwork(load_model(work, HEAD).cuda(), manifest)
        return published_call(eager_network(network), manifest, example_batches(frame, batch))

    return open_session


def _same_plan(frame: str, batch: int) -> Callable[[Path], Session]:
    def open_session(work: Path) -> Session:
        from ..gpu_baselines import PlanNetwork, published_call
        from ..gpu_network import open_network_plan

        plan, manifest = open_network_plan(work, batch)
        return published_call(PlanNetwork(plan, batch), manifest, example_batches(frame, batch))

    return open_session


def _prepare(work: Path) -> None:
    from ..gpu_network import HEAD, choose
    from ..models import write_engine

    write_engine(work, HEAD)
    choose(work)


def require_close_boxes(answers: Mapping[str, NDArray[Any]]) -> str:
    """Boxes [inputs, batch, 4]: float16 may move an edge, so 9 of 10 must have an IoU of 0.9."""
    ours = answers["ours"].reshape(-1, 4).astype(np.float64)
    lowest = 1.0
    for name, boxes in answers.items():
        ious = aligned_iou(ours, boxes.reshape(-1, 4).astype(np.float64))
        lowest = min(lowest, float(ious.min()))
        agree = int((ious >= 0.9).sum())
        if agree < 0.9 * len(ious):
            worst = int(ious.argmin())
            raise WrongAnswerError(
                f"{name}: {agree} of {len(ious)} boxes agree with ours; on frame {worst} ours is "
                f"{ours[worst].tolist()}, theirs {boxes.reshape(-1, 4)[worst].tolist()}"
            )
    return f"boxes of {len(ours)} frames agree (lowest IoU {lowest:.3f})"


def _comparison(frame: str, batch: int) -> Comparison:
    return Comparison(
        name=f"{NAME}-{frame}-{batch}",
        summary=f"frame to box on a GPU, edge head, fp16, {frame}, batch {batch}",
        variants={
            "ours": _ours(frame, batch),
            MANY: _many(frame, batch),
            EAGER: _eager(frame, batch),
            SAME_PLAN: _same_plan(frame, batch),
        },
        agree=require_close_boxes,
        inputs=INPUTS,
        threads=4,
        targets={EAGER: TARGET} if batch == 1 else {},
        block_s=1.0,
        prepare=_prepare,
    )


COMPARISONS = {
    made.name: made for made in (_comparison(frame, batch) for frame in FRAMES for batch in BATCHES)
}


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What `python -m benchmarks.gpu_stages` prints; see GpuFrameRow."""

    device: str
    runner: str
    said: str
    graph: str
    stages_us: dict[str, float]


@dataclass(frozen=True, slots=True)
class FrameToBoxGpu:
    """All sizes and batches, one row each."""

    name: str = NAME
    summary: str = "frame to box on a GPU, fp16: 720p and 1080p, batches of 1, 4 and 16"

    def run(self, settings: Settings) -> Iterator[GpuFrameRow]:
        """Verify and time each size and batch, then take its parts on the device.

        Raises:
            SkippedCaseError: No GPU, or no CUDA kernels.
            WrongAnswerError, WorkerError: See `Comparison.run`.
        """
        require_gpu()
        given = replace(settings, provenance=with_gpu(settings.provenance))
        for batch in BATCHES:  # what is asked of batch 1 first: each row is kept as it comes
            for frame in FRAMES:
                yield measure(given, frame, batch, run_worker, run_parts)


def measure(
    settings: Settings,
    frame: str,
    batch: int,
    spawn: Spawn,
    parts_of: Callable[[Settings, str, int], Parts],
) -> GpuFrameRow:
    """One row, with the functions that start processes given by the caller."""
    row = COMPARISONS[f"{NAME}-{frame}-{batch}"].measure(settings, spawn)
    parts = parts_of(settings, frame, batch)
    height, width = FRAMES[frame]
    return GpuFrameRow(
        case=NAME,
        provenance=row.provenance,
        device=parts.device,
        runner=parts.runner,
        said=parts.said,
        frame=f"{width}x{height}",
        batch=batch,
        verified=row.verified,
        timings=row.timings,
        frames_per_call={name: batch * (IN_FLIGHT if name == MANY else 1) for name in row.timings},
        ratios={name: ratio for name, ratio in row.ratios.items() if name != MANY},
        stages_us=parts.stages_us,
        graph=parts.graph,
        targets=row.targets,
        most_kernel_share=MOST_KERNEL_SHARE if batch == 1 else None,
    )


def run_parts(settings: Settings, frame: str, batch: int) -> Parts:
    """In a process of its own, as everything that is timed.

    Raises:
        WorkerError: It failed; its last words are in the message.
    """
    command = [sys.executable, "-m", "benchmarks.gpu_stages", "--frame", frame]
    command += ["--batch", str(batch), "--work", str(settings.work.resolve())]
    if settings.block_s is not None:
        command += ["--seconds", str(settings.block_s)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise WorkerError(f"the parts of {frame}, batch {batch}:\n{done.stderr.strip()}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Parts)


CASE = FrameToBoxGpu()
