"""Do real images give the boxes of the eager model with published post-processing?

    python -m benchmarks.parity_eager --checkpoint runs/birds --engine birds.engine --data val.csv

Where they do not, the reason must be rounding: pixels that the two sides put on different sides
of the cut lie within 1e-5 of it (as a fraction of the map's range), or logits closer than that
decide which classes are averaged. Both sides get the same resized pixels: two one-axis Pillow
resizes, horizontal first, as Pillow before 13 did on every shape.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bas_edge import Localizer, open_engine
from bas_edge.annotations import read_annotations
from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.images import read_image
from bas_edge.metrics.iou import aligned_iou
from bas_edge.ops import upsample_maps
from bas_edge_training.checkpoint import load_checkpoint

from .__main__ import provenance
from .eager import EagerLocalizer, EagerResult, fraction_of_range
from .published import normalised
from .rows import RESULTS, ParityRow, Provenance, append_row, missed_targets
from .tables import row_line

__all__ = ["Comparison", "compare_image", "main", "parity_row"]

SAME_IOU = 0.99
ROUNDING = 1e-5
THREADS = 2


class Comparison(NamedTuple):
    """One image: "same", "at the cut", "class tie" or "unexplained", and by how much."""

    verdict: str
    iou: float
    distance: float = 0.0


def compare_image(
    box: tuple[float, float, float, float],
    foreground: NDArray[np.float32],
    eager: EagerResult,
    *,
    size: tuple[int, int],
    threshold: ThresholdPolicy,
    top_k: int,
) -> Comparison:
    """Our box and map [h, w] of one image against the eager result."""
    iou = float(aligned_iou(np.array(box), np.array(eager.box)))
    if iou >= SAME_IOU:
        return Comparison("same", iou)
    ordered = np.sort(eager.logits)[::-1]
    if top_k < len(ordered) and ordered[top_k - 1] - ordered[top_k] < ROUNDING:
        return Comparison("class tie", iou)
    low, high = foreground.min(), foreground.max()
    ours = (upsample_maps(foreground[None], size)[0] - low) / (high - low)  # [H, W], 0 to 1
    theirs = normalised(eager.foreground, size)
    our_cut = fraction_of_range(foreground, threshold)
    their_cut = fraction_of_range(eager.foreground, threshold)
    flipped = (ours > our_cut) != (theirs > their_cut)
    if not flipped.any():
        return Comparison("unexplained", iou)
    distances = np.maximum(np.abs(ours - our_cut), np.abs(theirs - their_cut))[flipped]
    largest = float(distances.max())
    return Comparison("at the cut" if largest <= ROUNDING else "unexplained", iou, largest)


def parity_row(
    checkpoint: Path, engine: Path, data: Path, given: Provenance, limit: int | None = None
) -> ParityRow:
    """Compare on every image of an annotations file (or its first `limit`)."""
    manifest = open_engine(engine).manifest
    if manifest.maps == "mean" or manifest.input.resize != "stretch":
        raise SystemExit(f"{engine} has no counterpart in the published inference")
    size = (manifest.input.height, manifest.input.width)
    eager = EagerLocalizer(
        load_checkpoint(checkpoint).model,
        size=size[0],
        top_k=manifest.top_k,
        threshold=manifest.threshold,
        threads=THREADS,
    )
    results: list[Comparison] = []
    with Localizer(engine, threads=THREADS, min_score=0.0) as localizer:
        for item in read_annotations(data, classes=manifest.classes).items[:limit]:
            frame = read_image(item.path)
            ours = localizer.run(frame, color="rgb")
            theirs = eager.run_resized(_resized(frame, size), frame.shape[:2])
            results.append(
                compare_image(
                    ours.box,
                    ours.map,
                    theirs,
                    size=size,
                    threshold=manifest.threshold,
                    top_k=manifest.top_k,
                )
            )
    verdicts = [result.verdict for result in results]
    return ParityRow(
        case="parity_eager",
        provenance=given,
        model=engine.name,
        data=f"{data.parent.name}/{data.name}",
        images=len(results),
        same=verdicts.count("same"),
        at_the_cut=verdicts.count("at the cut"),
        class_ties=verdicts.count("class tie"),
        unexplained=verdicts.count("unexplained"),
        lowest_iou=round(min(result.iou for result in results), 4),
        largest_distance=max(
            (result.distance for result in results if result.verdict == "at the cut"), default=0.0
        ),
    )


def _resized(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = size
    narrow = Image.fromarray(frame).resize((width, frame.shape[0]), Image.Resampling.BILINEAR)
    return np.array(narrow.resize((width, height), Image.Resampling.BILINEAR))


def main() -> int:
    """Append one row; exit code 1 where a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity_eager")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="CSV of real images")
    parser.add_argument("--limit", type=int, help="only the first images")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    given = provenance(shlex.join(["python", "-m", "benchmarks.parity_eager", *sys.argv[1:]]))
    row = parity_row(options.checkpoint, options.engine, options.data, given, options.limit)
    append_row(row, options.results)
    print(row_line(row))
    missed = missed_targets(row)
    for sentence in missed:
        print(f"missed: {sentence}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
