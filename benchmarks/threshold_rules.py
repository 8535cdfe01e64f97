"""Compare rules that choose a cut without boxes, on one or more engines or files of maps.

    python benchmarks/threshold_rules.py val.csv --engine edge.engine --engine paper.engine
    python benchmarks/threshold_rules.py val.csv --maps maps_edge.npz --maps maps_paper.npz

A file of maps holds `maps` [N, h, w] float32, in the order of the CSV, of frames stretched to a
square input. The table has one block of columns per source: accuracy at IoU 0.5, its gap to the
best fixed cut chosen with boxes, and the mean over IoU 0.3, 0.5 and 0.7. Rules stand in the order
of their largest gap: one rule with one constant must serve every head and data set.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.annotations import Annotations, read_annotations
from bas_edge.evaluation_pass import predict
from bas_edge.localizer import Localizer
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.label_free import RULES, LabelFreeRule, RuleScore, compare_rules
from bas_edge.metrics.protocols import open_protocol
from bas_edge.metrics.threshold import MEAN_FACTORS


@dataclass(frozen=True)
class Source:
    """Maps with their boxes."""

    name: str
    maps: NDArray[np.float32]  # [N, h, w]
    truth: GroundTruth
    size: tuple[int, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", type=Path, help="annotations with boxes")
    parser.add_argument("--engine", type=Path, action="append", default=[])
    parser.add_argument("--maps", type=Path, action="append", default=[], help=".npz files")
    parser.add_argument("--key", default="maps", help="the array's name in the .npz files")
    parser.add_argument("--input", type=int, default=224, help="network side of the .npz maps")
    parser.add_argument("--protocol", default="bas", choices=["bas", "wsoleval"])
    parser.add_argument("--factors", action="store_true", help="only the factors on the mean")
    arguments = parser.parse_args()
    if not arguments.engine and not arguments.maps:
        parser.error("give at least one --engine or --maps")

    annotations = read_annotations(arguments.csv)
    sources = [from_engine(path, annotations) for path in arguments.engine]
    sources += [
        from_file(path, arguments.key, arguments.input, annotations) for path in arguments.maps
    ]
    rules = RULES
    if arguments.factors:
        rules = {f"mean x {f:.2f}": LabelFreeRule(rule="mean", value=f) for f in MEAN_FACTORS}
    columns: list[dict[str, RuleScore]] = []
    for source in sources:
        protocol = open_protocol(arguments.protocol, source.size)
        oracle, scores = compare_rules(protocol, source.maps, source.truth, rules)
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
    return Source(path.stem, found.maps, truth, (policy.height, policy.width))


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
    rules = sorted(columns[0], key=lambda rule: max(column[rule].gap for column in columns))
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
