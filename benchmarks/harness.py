"""Ours against baselines: verify, then time them as alternating processes.

Several live inference sessions in one process disturb each other (by a factor of two, for ONNX
Runtime on small CPUs), and a machine's speed drifts over minutes. So every block of calls runs in
a fresh process that holds one variant alone, the variants take turns (A B A B ...), and ratios
are taken between neighbouring blocks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .conditions import REPOSITORY
from .rows import Provenance, Row, SpeedRow, Timing, ratio_of, timing_of

__all__ = [
    "Answer",
    "Block",
    "Case",
    "Comparison",
    "Session",
    "Settings",
    "SkippedCaseError",
    "WorkerError",
    "WrongAnswerError",
    "answer_path",
    "run_worker",
    "worker_environment",
]


class WrongAnswerError(Exception):
    """Two variants of a case do not give the same answer; a wrong answer has no speed."""


class WorkerError(Exception):
    """A worker process failed; its own last words are in the message."""


class SkippedCaseError(Exception):
    """A case cannot run here; the message says what it lacks."""


class Answer(NamedTuple):
    """What one call gave, and the milliseconds of its stages where the variant splits them."""

    values: Any  # whatever np.asarray takes; converted outside the timed part
    stages_ms: Mapping[str, float] = {}


Session = Callable[[int], Answer]  # the index of a prepared input -> its answer


class Block(NamedTuple):
    """One block of calls of one variant. Milliseconds."""

    times_ms: list[float]
    stages_ms: dict[str, float]  # medians


@dataclass(frozen=True, slots=True)
class Settings:
    """One invocation of `python -m benchmarks run`.

    Attributes:
        work: A folder for models and answers, shared by the cases of one invocation.
        block_s: Overrides how long each block measures, in seconds; None leaves it to the case.
        video: The file for the video case; None skips that case.
        engine: The engine for the video case; None makes one with random weights.
    """

    provenance: Provenance
    work: Path
    blocks: int = 5
    block_s: float | None = None
    video: Path | None = None
    engine: Path | None = None


class Case(Protocol):
    """Something that `python -m benchmarks run NAME` runs."""

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...

    def run(self, settings: Settings) -> Iterable[Row]:
        """Its rows, each as soon as it is there."""
        ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """A case that times "ours" against baselines.

    Attributes:
        variants: Per variant, a function of the work folder that opens a session. It runs in a
            worker process, so that "ours" never shares one with torch.
        agree: Given the answers of every variant, [inputs, ...] each, returns one sentence that
            says what agreed, or raises WrongAnswerError.
        inputs: How many different inputs the calls go through.
        threads: For every library of every variant.
        targets: The ratio asked for, per baseline.
        limit_ms: An absolute bound on our median.
        block_s: Seconds that a block measures, at least.
        prepare: Writes what the variants need into the work folder; runs once, in a worker.
        untimed: Variants that only answer: what others are held to.
    """

    name: str
    summary: str
    variants: Mapping[str, Callable[[Path], Session]]
    agree: Callable[[Mapping[str, NDArray[Any]]], str]
    inputs: int
    threads: int
    targets: Mapping[str, float] = field(default_factory=dict)
    limit_ms: float | None = None
    block_s: float = 1.0
    prepare: Callable[[Path], None] | None = None
    untimed: frozenset[str] = frozenset()

    def run(self, settings: Settings) -> tuple[SpeedRow]:
        """Verify all variants, then time them in turns.

        Raises:
            WrongAnswerError: Before anything is timed.
            WorkerError: A worker process failed.
        """
        return (self.measure(settings, run_worker),)

    def measure(self, settings: Settings, spawn: Spawn) -> SpeedRow:
        """`run`, with the function that starts a worker given by the caller."""
        if self.prepare is not None:
            spawn(self, "", settings, "prepare")
        answers: dict[str, NDArray[Any]] = {}
        for variant in self.variants:
            spawn(self, variant, settings, "answer")
            answers[variant] = np.load(answer_path(settings.work, self.name, variant))
        verified = self.agree(answers)
        timed = [variant for variant in self.variants if variant not in self.untimed]
        blocks: dict[str, list[Block]] = {variant: [] for variant in timed}
        for _ in range(settings.blocks):
            for variant in timed:
                blocks[variant].append(_block(spawn(self, variant, settings, "time")))
        timings = {variant: _timing(measured) for variant, measured in blocks.items()}
        return SpeedRow(
            case=self.name,
            provenance=settings.provenance,
            verified=verified,
            threads=self.threads,
            timings=timings,
            ratios={
                variant: ratio_of(timing, timings["ours"])
                for variant, timing in timings.items()
                if variant != "ours"
            },
            targets=dict(self.targets),
            limit_ms=self.limit_ms,
        )


Spawn = Callable[[Comparison, str, Settings, str], str]


def answer_path(work: Path, case: str, variant: str) -> Path:
    """Where a worker leaves the answers of one variant."""
    return work / f"answers-{case}-{variant}.npy"


def run_worker(case: Comparison, variant: str, settings: Settings, job: str) -> str:
    """Run one job ("prepare", "answer" or "time") in a process of its own; its standard output.

    Raises:
        WorkerError: It ended with another exit code than 0.
    """
    block_s = case.block_s if settings.block_s is None else settings.block_s
    command = [sys.executable, "-m", "benchmarks.worker", job, case.name, variant]
    command += ["--work", str(settings.work.resolve()), "--block-s", str(block_s)]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=worker_environment(case.threads),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        what = f"{job} of {case.name}/{variant}" if variant else f"{job} of {case.name}"
        raise WorkerError(f"{what} failed with exit code {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout


def worker_environment(threads: int) -> dict[str, str]:
    """This process's environment, with every thread pool that reads it held to `threads`."""
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(pools, str(threads))}


def _block(output: str) -> Block:
    report = json.loads(output.splitlines()[-1])
    return Block(report["times_ms"], report["stages_ms"])


def _timing(blocks: list[Block]) -> Timing:
    return timing_of([block.times_ms for block in blocks], [block.stages_ms for block in blocks])
