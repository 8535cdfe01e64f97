"""Compare rules that choose a cut without boxes, on one or more engines or files of maps.

    python -m benchmarks.threshold_rules val.csv --engine edge.engine --checkpoint runs/edge \\
        --engine paper.engine --checkpoint runs/paper
    python -m benchmarks.threshold_rules val.csv --maps maps_edge.npz --maps maps_paper.npz

A file of maps holds `maps` [N, h, w] float32, in the order of the CSV, of frames stretched to a
square input. The table has one block of columns per source: accuracy at IoU 0.5, its gap to the
best fixed cut chosen with boxes, and the mean over IoU 0.3, 0.5 and 0.7. Rules stand in the order
of their largest gap: one rule with one constant must serve every head and data set. An engine
also brings the threshold that it ships with, and its checkpoint the cuts at which S_bg / S +
λ · area of its own training images is least, over the whole range.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.annotations import Annotations, read_annotations
from bas_edge.evaluation_pass import predict
from bas_edge.localizer import Localizer
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.label_free import (
    NETWORK_CAP,
    RULES,
    LabelFreeRule,
    RuleScore,
    capped_mean,
    compare_rules,
    pooled,
)
from bas_edge.metrics.protocols import open_protocol
from bas_edge.metrics.threshold import MEAN_FACTORS, lambda_criterion
from bas_edge_training.checkpoint import load_checkpoint
from bas_edge_training.samples import real_samples

from .criterion import criterion_curves

CRITERION_CUTS: NDArray[np.float64] = np.arange(3, 46, 3) / 50  # 0.06, 0.12, … 0.90
CRITERION_LAMBDAS = (0.5, 1.0, 2.0)
CRITERION_IMAGES = 64


@dataclass(frozen=True)
class Source:
    """Maps with their boxes."""

    name: str
    maps: NDArray[np.float32]  # [N, h, w]
    truth: GroundTruth
    size: tuple[int, int]
    rules: Mapping[str, LabelFreeRule] = field(default_factory=dict)  # its own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", type=Path, help="annotations with boxes")
    parser.add_argument("--engine", type=Path, action="append", default=[])
    parser.add_argument("--checkpoint", type=Path, action="append", default=[], help="of --engine")
    parser.add_argument("--maps", type=Path, action="append", default=[], help=".npz files")
    parser.add_argument("--key", default="maps", help="the array's name in the .npz files")
    parser.add_argument("--input", type=int, default=224, help="network side of the .npz maps")
    parser.add_argument("--protocol", default="bas", choices=["bas", "wsoleval"])
    parser.add_argument("--factors", action="store_true", help="only factors on the pooled mean")
    arguments = parser.parse_args()
    if not arguments.engine and not arguments.maps:
        parser.error("give at least one --engine or --maps")

    if arguments.checkpoint and len(arguments.checkpoint) != len(arguments.engine):
        parser.error("give one --checkpoint for each --engine, in the same order, or none")

    annotations = read_annotations(arguments.csv)
    sources = [from_engine(path, annotations) for path in arguments.engine]
    for n, path in enumerate(arguments.checkpoint):
        sources[n] = replace(sources[n], rules={**sources[n].rules, **criterion_rules(path)})
    sources += [
        from_file(path, arguments.key, arguments.input, annotations) for path in arguments.maps
    ]
    rules = RULES
    if arguments.factors:
        rules = {
            f"pooled mean x {factor:.2f}": LabelFreeRule(
                rule="fixed", value=pooled(capped_mean(factor, NETWORK_CAP))
            )
            for factor in MEAN_FACTORS
        }
    columns: list[dict[str, RuleScore]] = []
    for source in sources:
        protocol = open_protocol(arguments.protocol, source.size)
        oracle, scores = compare_rules(
            protocol, source.maps, source.truth, {**rules, **source.rules}
        )
        columns.append({score.name: score for score in scores})
        levels = " / ".join(f"{best.accuracy:.1f}" for best in oracle.by_iou.values())
        at_half = oracle.by_iou["0.5"]
        print(
            f"{source.name}: {len(source.maps)} images, oracle {at_half.accuracy:.1f} "
            f"at {at_half.threshold:.2f}; MaxBoxAccV2 {oracle.mean:.1f} ({levels})"
        )
    print_table([source.name for source in sources], columns)


def from_engine(path: Path, annotations: Annotations) -> Source:
    with Localizer(path) as localizer:
        policy = localizer.manifest.input
        found = predict(localizer, [item.path for item in annotations.items])
    boxes = [annotations.items[n].boxes for n in found.kept]
    truth = GroundTruth.of([b for b in boxes if b is not None], found.frame_sizes, policy)
    shipped = localizer.manifest.threshold
    own = {"as shipped": LabelFreeRule(rule=shipped.rule, value=shipped.value)}
    print(f"{path.stem} ships {shipped.rule} {shipped.value:g} ({shipped.chosen_by})")
    return Source(path.stem, found.maps, truth, (policy.height, policy.width), own)


def criterion_rules(path: Path) -> dict[str, LabelFreeRule]:
    """The λ criterion over the whole range of cuts, on the checkpoint's own training images."""
    checkpoint = load_checkpoint(path)
    model, data = checkpoint.model, checkpoint.info.data
    frames = real_samples(data.source, side=model.config.input_size, count=CRITERION_IMAGES).frames
    ratio, area = criterion_curves(model, frames, CRITERION_CUTS)
    rules = {}
    for lam in CRITERION_LAMBDAS:
        cut = lambda_criterion(ratio, area, CRITERION_CUTS, lam)
        print(f"{path}: λ = {lam:g} chooses {cut:.2f}")
        rules[f"least S_bg/S + {lam:g} area"] = LabelFreeRule(rule="fixed", value=cut)
    return rules


def from_file(path: Path, key: str, side: int, annotations: Annotations) -> Source:
    with np.load(path, allow_pickle=False) as arrays:
        maps = arrays[key].astype(np.float32)
    boxes = [item.boxes for item in annotations.items if item.boxes is not None]
    sizes = [item.size for item in annotations.items if item.size is not None]
    if not len(maps) == len(boxes) == len(sizes):
        raise SystemExit(
            f"{path} holds {len(maps)} maps, but the CSV gives {len(boxes)} images boxes "
            f"and {len(sizes)} sizes."
        )
    return Source(path.stem, maps, GroundTruth.stretched(boxes, sizes, (side, side)), (side, side))


def print_table(names: list[str], columns: list[dict[str, RuleScore]]) -> None:
    """Markdown, so that it can be pasted into docs/evaluation.md."""
    common = [rule for rule in columns[0] if all(rule in column for column in columns)]
    dropped = sorted({rule for column in columns for rule in column} - set(common))
    if dropped:
        print(f"not in the table, since some source lacks them: {', '.join(dropped)}")
    rules = sorted(common, key=lambda rule: max(column[rule].gap for column in columns))
    blocks = "".join(f" {name}: IoU 0.5 | gap | mean of three |" for name in names)
    print(f"\n| rule |{blocks} largest gap |")
    print("|---" * (3 * len(names) + 2) + "|")
    for rule in rules:
        cells = "".join(
            f" {score.accuracy.by_iou['0.5']:.1f} | {score.gap:+.1f} | {score.accuracy.mean:.1f} |"
            for score in (column[rule] for column in columns)
        )
        print(f"| {rule} |{cells} {max(column[rule].gap for column in columns):+.1f} |")


if __name__ == "__main__":
    main()
