"""How fast does training get with more processes, and when is its first step done?

    python -m benchmarks.train_processes --processes 1 2 --blocks 3

Trains MobileNetV1 on generated images by torchrun, in turns (1, 2, 1, 2, …), each run a command of
its own, as a user types it. Losses of all runs must agree before anything is counted. On a machine
with GPUs each process takes one; else the cores are divided among them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from .__main__ import provenance
from .conditions import REPOSITORY
from .harness import WorkerError, WrongAnswerError
from .rows import RESULTS, append_row
from .tables import row_line
from .timings import rounded
from .train_rows import TrainProcessesRow

__all__ = ["TrainRun", "agreement", "images_per_s", "main", "write_images"]

CLASSES = 10
ERROR = 1e-3  # of each step's loss; L_bas divides by small scores, which magnifies rounding
_FIRST = 2  # steps that are not counted: caches fill, algorithms are chosen


class TrainRun(NamedTuple):
    """One command: the loss of each step, and when it was done, in seconds from its start."""

    losses: list[float]
    times_s: list[float]


def write_images(folder: Path, count: int, side: int) -> None:
    """So many JPEG files of noise in CLASSES folders."""
    generator = np.random.default_rng(0)
    for number in range(count):
        target = folder / f"class {number % CLASSES}"
        target.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (side, side, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(target / f"{number}.jpg")


def run_training(images: Path, output: Path, processes: int, overrides: Sequence[str]) -> TrainRun:
    """Train by so many processes.

    Raises:
        WorkerError: It failed; its last words are in the message.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", "benchmarks.train_child"]
    command += [str(images), str(output), *overrides]
    began = time.time()
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkerError(f"training by {processes} processes failed:\n{done.stderr.strip()}")
    told = json.loads(done.stdout.splitlines()[-1])
    return TrainRun(told["losses"], [at - began for at in told["times_s"]])


def agreement(runs: Mapping[int, Sequence[TrainRun]]) -> str:
    """One sentence on how well the losses agree.

    Raises:
        WrongAnswerError: They do not.
    """
    losses = np.array([run.losses for each in runs.values() for run in each])  # [runs, steps]
    error = float(np.abs(losses - losses[0]).max())
    if not error <= ERROR:
        raise WrongAnswerError(f"losses differ by {error:.2g}: {losses.tolist()}")
    return f"losses of {losses.shape[1]} steps agree within {error:.1g}"


def images_per_s(run: TrainRun, batch: int) -> float:
    """Without the first steps."""
    steps = len(run.times_s) - _FIRST
    return batch * steps / (run.times_s[-1] - run.times_s[_FIRST - 1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Append the row; exit code 1 where something failed."""
    options = _parser().parse_args(arguments)
    count = options.images or options.steps * options.batch  # no epoch ends in between
    words = ["python", "-m", "benchmarks.train_processes", *(arguments or sys.argv[1:])]
    overrides = [
        "model.norm=none", f"model.head={options.head}", f"data.crop={options.side}",
        f"data.resize={options.side}", f"data.batch_size={options.batch}",
        f"schedule.steps={options.steps}", "validation.fraction=0",
        *options.set,
    ]  # fmt: skip
    runs: dict[int, list[TrainRun]] = {processes: [] for processes in options.processes}
    with tempfile.TemporaryDirectory(prefix="bas-edge-benchmarks-") as work:
        images = Path(work) / "images"
        write_images(images, count, options.side)
        for block in range(options.blocks):
            for processes in options.processes:
                output = Path(work) / f"run_{processes}_{block}"
                runs[processes].append(run_training(images, output, processes, overrides))
    cuda = torch.cuda.is_available()
    row = TrainProcessesRow(
        provenance=provenance(shlex.join(words)),
        device=torch.cuda.get_device_name() if cuda else "CPU",
        model=f"MobileNetV1, {options.head} head, {options.side} pixels",
        batch=options.batch,
        steps=options.steps,
        images=count,
        verified=agreement(runs),
        images_per_s={
            number: tuple(rounded(images_per_s(run, options.batch)) for run in each)
            for number, each in runs.items()
        },
        first_step_s={
            number: tuple(rounded(run.times_s[0]) for run in each) for number, each in runs.items()
        },
    )
    append_row(row, options.results)
    print(row_line(row), flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_processes")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--blocks", type=int, default=3, help="runs of each number of processes")
    parser.add_argument("--images", type=int, help="default: one epoch")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8, help="of all processes together")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--head", choices=["edge", "paper"], default="edge")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the rows")
    return parser


if __name__ == "__main__":
    sys.exit(main())
