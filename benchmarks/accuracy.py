"""The accuracy table: an engine, the class activation maps of its own checkpoint, a centred box.

    python -m benchmarks.accuracy --engine birds.engine --checkpoint runs/birds --data val.csv

Every method is measured by `bas_edge.metrics` in protocol "bas". Class activation maps are those
of the image's own label, min-max scaled and cut like ours; where the best class is the label,
which Top-1 Loc asks for anyway, they are also those of the best class.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bas_edge import Localizer, open_engine
from bas_edge.annotations import Annotation, read_annotations
from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.evaluation_pass import predict
from bas_edge.images import read_image
from bas_edge.metrics.centre_box import centre_box
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.localization import (
    box_accuracy,
    class_accuracy,
    label_rank,
    localization_accuracy,
)
from bas_edge.metrics.max_box_acc import max_box_acc, max_box_acc_v2
from bas_edge.metrics.protocols import IOU_LEVELS, THRESHOLDS, BoxProtocol, open_protocol
from bas_edge.ops import resize_frame
from bas_edge_training.checkpoint import load_checkpoint
from bas_edge_training.models import BasModel

from .__main__ import provenance
from .rows import RESULTS, AccuracyRow, Provenance, append_row
from .tables import row_line

__all__ = [
    "Outputs",
    "accuracy_rows",
    "data_name",
    "main",
    "score_oracle",
    "score_shipped",
    "shipped_accuracy",
]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a method says about N images: maps [N, h, w], the label's rank among classes [N]."""

    maps: NDArray[np.float32]
    rank: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Measured:
    """One pass of an engine over annotated images, and how it is judged."""

    items: tuple[Annotation, ...]
    outputs: Outputs
    truth: GroundTruth
    protocol: BoxProtocol
    threshold: ThresholdPolicy
    size: tuple[int, int]  # (H, W) of the network's input


def accuracy_rows(
    engine: Path,
    data: Path,
    given: Provenance,
    *,
    checkpoint: Path | None = None,
    training: str = "",
    threads: int | None = None,
) -> list[AccuracyRow]:
    """All rows of one engine on one annotated split; without a checkpoint, none of its CAMs.

    `threads` is for the engine and for torch; None leaves it to them.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    measured = _measured(engine, data, threads)
    protocol, truth = measured.protocol, measured.truth
    methods = {"bas-edge": measured.outputs}
    if checkpoint is not None:
        model = load_checkpoint(checkpoint).model
        methods["class activation map"] = _cam_outputs(model, measured.items, measured.size)

    def row(method: str, threshold: str, cut: str, metrics: dict[str, float]) -> AccuracyRow:
        return AccuracyRow(
            case="accuracy",
            provenance=given,
            data=data_name(data),
            images=len(truth),
            model=engine.name,
            method=method,
            threshold=threshold,
            cut=cut,
            metrics={name: round(value, 2) for name, value in metrics.items()},
            training=training,
        )

    rows: list[AccuracyRow] = []
    for method, outputs in methods.items():
        cut, metrics = score_oracle(outputs, truth, protocol)
        rows.append(row(method, "oracle", cut, metrics))
        cut, metrics = score_shipped(outputs, truth, protocol, measured.threshold)
        rows.append(row(method, "shipped", cut, metrics))
    centred = centre_box(truth)
    metrics = {"GT-known": centred.by_iou["0.5"], **_by_level(centred.by_iou)}
    rows.append(row("centred box", "oracle", f"{100 * centred.side:.0f} % of each side", metrics))
    return rows


def shipped_accuracy(
    engine: Path, data: Path, *, threads: int | None = None
) -> tuple[int, str, dict[str, float]]:
    """What the engine does as it ships: how many images, its cut, and its metrics in percent."""
    measured = _measured(engine, data, threads)
    cut, metrics = score_shipped(
        measured.outputs, measured.truth, measured.protocol, measured.threshold
    )
    return len(measured.truth), cut, {name: round(value, 2) for name, value in metrics.items()}


def data_name(data: Path) -> str:
    """A split as tables call it, such as "cub50/val.csv"."""
    return f"{data.parent.name}/{data.name}"


def score_oracle(
    outputs: Outputs, truth: GroundTruth, protocol: BoxProtocol
) -> tuple[str, dict[str, float]]:
    """The best fixed cut on these very images; the IoU levels each have their own best."""
    sweep = protocol.sweep(outputs.maps, truth, THRESHOLDS)
    best = max_box_acc(sweep, THRESHOLDS, protocol)
    levels = {level: one.accuracy for level, one in
              max_box_acc_v2(sweep, THRESHOLDS, protocol).by_iou.items()}  # fmt: skip
    policy = ThresholdPolicy(rule="fixed", value=best.threshold)
    cut, metrics = score_shipped(outputs, truth, protocol, policy)
    return cut, {**metrics, **_by_level(levels)}


def score_shipped(
    outputs: Outputs, truth: GroundTruth, protocol: BoxProtocol, policy: ThresholdPolicy
) -> tuple[str, dict[str, float]]:
    """One given cut for everything."""
    ious = protocol.ious(outputs.maps, truth, policy.value, policy.rule)
    found = localization_accuracy(ious, outputs.rank, protocol)
    metrics = {
        "GT-known": found.gt_known,
        "Top-1 Loc": found.top1_loc,
        **_by_level(box_accuracy(ious.largest, protocol).by_iou),
        "Top-1 cls": class_accuracy(outputs.rank).top1,
    }
    return f"{policy.rule} {policy.value:g}", metrics


def _by_level(by_iou: dict[str, float]) -> dict[str, float]:
    """The IoU levels, and their mean: MaxBoxAccV2 where each level has its own best cut."""
    levels = {f"IoU {level}": by_iou[str(level)] for level in IOU_LEVELS}
    return {"MaxBoxAccV2": float(np.mean(list(levels.values()))), **levels}


def _measured(engine: Path, data: Path, threads: int | None) -> _Measured:
    manifest = open_engine(engine).manifest
    annotations = read_annotations(data, classes=manifest.classes)
    if not annotations.has_boxes or manifest.input.resize != "stretch":
        raise SystemExit("The accuracy table needs boxes, and an engine that stretches frames.")
    size = (manifest.input.height, manifest.input.width)
    outputs, frame_sizes = _engine_outputs(engine, annotations.items, threads)
    boxes = [item.boxes for item in annotations.items if item.boxes is not None]
    truth = GroundTruth.stretched(boxes, frame_sizes, size)
    protocol = open_protocol("bas", size)
    return _Measured(annotations.items, outputs, truth, protocol, manifest.threshold, size)


def _engine_outputs(
    engine: Path, items: tuple[Annotation, ...], threads: int | None
) -> tuple[Outputs, tuple[tuple[int, int], ...]]:
    """Maps, ranks, and the (H, W) of each frame."""
    with Localizer(engine, threads=threads) as localizer:
        found = predict(localizer, [item.path for item in items])
    if found.skipped:
        raise SystemExit(f"{len(found.skipped)} images cannot be read: {found.skipped[0].reason}")
    return Outputs(found.maps, label_rank(found.scores, _labels(items))), found.frame_sizes


@torch.inference_mode()
def _cam_outputs(model: BasModel, items: tuple[Annotation, ...], size: tuple[int, int]) -> Outputs:
    scores: list[NDArray[np.float32]] = []
    maps: list[NDArray[np.float32]] = []
    for item in items:
        pixels = torch.from_numpy(resize_frame(read_image(item.path), size))
        logits, cams = model.activation_maps(pixels.permute(2, 0, 1)[None])
        scores.append(logits[0].numpy())
        maps.append(cams[0, item.label].numpy())
    return Outputs(np.stack(maps), label_rank(np.stack(scores), _labels(items)))


def _labels(items: tuple[Annotation, ...]) -> NDArray[np.int64]:
    return np.array([item.label for item in items], np.int64)


def main() -> int:
    """Append the rows and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy")
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="CSV with boxes")
    parser.add_argument("--checkpoint", type=Path, help="its checkpoint, for the CAM rows")
    parser.add_argument("--training", default="", help="how it was trained, for the table's notes")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    given = provenance(shlex.join(["python", "-m", "benchmarks.accuracy", *sys.argv[1:]]))
    rows = accuracy_rows(
        options.engine,
        options.data,
        given,
        checkpoint=options.checkpoint,
        training=options.training,
        threads=options.threads,
    )
    for row in rows:
        append_row(row, options.results)
        print(row_line(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
