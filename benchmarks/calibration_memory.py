"""How much memory does it take to calibrate on many large images?

    python -m benchmarks.calibration_memory --images 1000

Writes that many different JPEGs of 1920 × 1080 into a temporary folder, builds an int8 engine of
the edge head with them in a process of its own (calibration, the bound, what each layer costs), and
appends a row with the peak of its resident memory. Exit code 1 where that is not under 1.5 GiB.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from bas_edge import build_engine, open_engine
from bas_edge.engine.onnx_metadata import read_manifest
from bas_edge.quantization.job import PrecisionJob
from bas_edge.quantization.report_file import read_report

from .__main__ import provenance
from .conditions import REPOSITORY
from .harness import WorkerError, worker_environment
from .models import write_engine
from .rows import RESULTS, MemoryRow, Provenance, append_row, missed_targets
from .tables import row_line

__all__ = ["calibrate", "main", "memory_row", "write_images"]

FRAME = (1080, 1920)
HEAD = "edge"
LIMIT_MIB = 1536.0
THREADS = 2


def write_images(folder: Path, count: int, size: tuple[int, int] = FRAME) -> None:
    """`count` different JPEGs of (H, W): clouds of colour with grain, as large as photographs."""
    rng = np.random.default_rng(0)
    height, width = size
    grain = rng.integers(0, 24, (height, width, 3), dtype=np.uint8)
    for n in range(count):
        coarse = rng.integers(0, 232, (9, 16, 3), dtype=np.uint8)
        clouds = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        pixels = np.minimum(np.asarray(clouds), 231) + np.roll(grain, n, axis=1)
        Image.fromarray(pixels).save(folder / f"{n:05d}.jpg", quality=90)


def calibrate(folder: Path, model: Path) -> dict[str, float]:
    """Build with every image of a folder in this process; seconds, images and its peak in MiB."""
    started = time.perf_counter()
    job = PrecisionJob(
        calibration=folder,
        method="min-max",
        limit=None,
        search_budget_s=0,
        force=True,
        threads=THREADS,
    )
    with tempfile.TemporaryDirectory(prefix="bas-edge-benchmarks-") as work:
        os.environ["BAS_EDGE_CACHE"] = work
        engine = build_engine(model, Path(work) / "q.engine", precision="int8", job=job)
        report = read_report(open_engine(engine.path))
    seconds = time.perf_counter() - started
    assert report.calibration is not None
    images = report.calibration.images + report.images  # a fifth is kept apart for the bound
    # Not getrusage: its peak includes that of the process before it became this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.M)
    if found is None:
        raise SystemExit("this system does not tell the peak of a process")
    return {"images": images, "seconds": seconds, "peak_rss_mib": int(found[1]) / 1024}


def memory_row(
    images: int,
    given: Provenance,
    size: tuple[int, int] = FRAME,
    model: Path | None = None,
) -> MemoryRow:
    """Write the images, and calibrate on them in a child process; by default the edge head.

    Raises:
        WorkerError: The child failed.
    """
    with tempfile.TemporaryDirectory(prefix="bas-edge-benchmarks-") as work:
        folder = Path(work) / "calibration"
        folder.mkdir()
        write_images(folder, images, size)
        if model is None:
            write_engine(Path(work), HEAD)
            model = Path(work) / f"{HEAD}.onnx"
        policy = read_manifest(model).input
        command = [sys.executable, "-m", "benchmarks.calibration_memory"]
        command += ["--folder", str(folder), "--model", str(model)]
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=worker_environment(THREADS),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise WorkerError(f"calibration failed with exit code {done.returncode}:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return MemoryRow(
        case="calibration_memory",
        provenance=given,
        what=f"int8 build, {model.stem}",
        images=found["images"],
        expected_images=images,
        frame=f"{size[1]} × {size[0]}",
        input=f"{policy.width} × {policy.height}",
        peak_rss_mib=round(found["peak_rss_mib"], 1),
        limit_mib=LIMIT_MIB,
        seconds=round(found["seconds"], 1),
    )


def main() -> int:
    """Append one row; exit code 1 where a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration_memory")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, help="only calibrate on it, and print the figures")
    parser.add_argument("--model", type=Path, help="with --folder: the graph to quantize")
    options = parser.parse_args()
    if options.folder is not None:
        print(json.dumps(calibrate(options.folder, options.model)))
        return 0
    command = shlex.join(["python", "-m", "benchmarks.calibration_memory", *sys.argv[1:]])
    row = memory_row(options.images, provenance(command))
    append_row(row, options.results)
    print(row_line(row))
    missed = missed_targets(row)
    for sentence in missed:
        print(f"missed: {sentence}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
