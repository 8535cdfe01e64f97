"""From image labels to a segmenter and its mIoU in one command.

    python -m benchmarks.segmentation --data data/coco_voc20 --output runs/voc20 \\
        --pretrained mobilenet_v1_1.0_224.safetensors --set data.crop=160

`--data` is a set with masks and the splits "train" and "val". `--set` is for both trainings,
`--set-bas` and `--set-segmenter` for one. The output folder gets both runs, the masks, the ONNX
file and the engine; the row goes to benchmarks/results.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

import numpy as np

from bas_edge import build_engine
from bas_edge.engine.manifest import Precision
from bas_edge.metrics import ConfusionMatrix
from bas_edge.quantization.job import PrecisionJob
from bas_edge.quantization.yardstick import Bound
from bas_edge.segmentation import read_image_set
from bas_edge.segmentation.evaluate import evaluate_segmentation
from bas_edge_training.progress import ConsoleReporter
from bas_edge_training.results import TrainResult
from bas_edge_training.segmentation.bas_training import train_multi_label
from bas_edge_training.segmentation.export_segmenter import export_segmenter
from bas_edge_training.segmentation.pseudo_masks import MaskScores, make_masks
from bas_edge_training.segmentation.segmenter_training import train_segmenter

from .__main__ import provenance
from .rows import RESULTS, append_row, missed_targets
from .segmentation_rows import MAX_DROP, SegmentationRow
from .tables import row_line

__all__ = ["main"]

_REDUCED: tuple[Precision, ...] = ("fp16", "int8")


def main() -> int:
    """Train, make masks, train on them, export, build, evaluate."""
    options = _parser().parse_args()
    output, name = options.output, options.name
    reporter = ConsoleReporter()
    bas = train_multi_label(
        options.data,
        output / "bas",
        options.recipe,
        pretrained=options.pretrained,
        overrides=[*options.set, *options.set_bas],
        reporter=reporter,
    )
    masks = make_masks(bas.folder, options.data, output / "masks")
    assert masks.seeds is not None, f"{options.data} has no masks to measure with"
    assert masks.refined is not None
    segmenter = train_segmenter(
        masks.folder,
        output / "segmenter",
        start=bas.folder,
        overrides=[*options.set, *options.set_segmenter],
        reporter=reporter,
    )
    onnx, engine = output / f"{name}.onnx", output / f"{name}.engine"
    export_segmenter(segmenter.folder, onnx)
    build_engine(onnx, engine)
    found = _miou(engine, options.data)
    reduced = {str(one): _reduced(onnx, options.data, one) for one in _REDUCED}
    row = SegmentationRow(
        provenance=provenance(
            shlex.join(["python", "-m", "benchmarks.segmentation", *sys.argv[1:]])
        ),
        data=options.data.name,
        model=engine.name,
        images=_counts(options.data),
        seeds=_percent(masks.seeds),
        walked=_percent(masks.refined),
        threshold=masks.threshold,
        walked_at_half=round(100 * dict(masks.refined.curve)[0.5], 2),
        background=(_nothing(options.data, "train"), _nothing(options.data, "val")),
        segmenter=found,
        reduced=reduced,
        training=_in_words(options.recipe, bas) + "; then " + _in_words("segmenter", segmenter),
    )
    append_row(row, options.results)
    print(row_line(row))
    missed = missed_targets(row)
    print("\n".join(missed))
    return 1 if missed else 0


def _miou(engine: Path, data: Path) -> tuple[float, float]:
    """On training images, and on "val"; in percent."""
    train, held = (
        round(100 * evaluate_segmentation(engine, data, split=split).accuracy.miou, 2)
        for split in ("train", "val")
    )
    return train, held


def _reduced(onnx: Path, data: Path, precision: Precision) -> tuple[float, float]:
    """The same of an engine of another precision, built even where its bound refuses it."""
    engine = onnx.with_name(f"{onnx.stem}_{precision}.engine")
    job = PrecisionJob(
        calibration=data, evaluation=data, bound=Bound(max_drop=MAX_DROP), force=True
    )
    build_engine(onnx, engine, precision=precision, job=job)
    return _miou(engine, data)


def _counts(data: Path) -> tuple[int, int]:
    train, held = (len(read_image_set(data, split).images) for split in ("train", "val"))
    return train, held


def _percent(scores: MaskScores) -> tuple[float, float]:
    return round(100 * scores.given.miou, 2), round(100 * scores.best.miou, 2)


def _nothing(data: Path, split: str) -> float:
    """MIoU of masks that are all background."""
    images = read_image_set(data, split)
    matrix = ConfusionMatrix(images.classes)
    for image in images.images:
        if image.mask is not None:
            truth = image.mask.read()
            matrix.add(truth, np.zeros_like(truth))
    return round(100 * matrix.result().miou, 2)


def _in_words(recipe: str, result: TrainResult) -> str:
    return f"recipe {recipe}, {result.steps} steps, {result.seconds / 60:.1f} minutes"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.segmentation")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--pretrained", required=True)
    parser.add_argument("--recipe", default="segmentation")
    parser.add_argument("--name", default="segmenter")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--set-bas", action="append", default=[])
    parser.add_argument("--set-segmenter", action="append", default=[])
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
