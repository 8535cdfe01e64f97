"""Rows of the Pareto picture: how right one engine is, how long it takes, and who is beaten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from .timings import Provenance, Ratio, Timing

__all__ = [
    "Candidate",
    "ParetoAccuracyRow",
    "ParetoPoint",
    "ParetoSpeedRow",
    "front",
    "pareto_points",
]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One engine that a user could choose.

    Attributes:
        name: Of its training run, or of its file.
        head, width, map_stride, trained_at: What was trained; "" or 0 where it is not recorded.
        input_size: Side of the engine's input, in pixels.
        precision: "fp32", "fp16" or "int8".
        onnx_bytes, onnx_sha256: Of the graph that runs.
    """

    name: str
    head: str
    width: float
    map_stride: int
    trained_at: int
    input_size: int
    precision: str
    onnx_bytes: int
    onnx_sha256: str

    @property
    def key(self) -> tuple[str, int, str]:
        """What a user chooses by; the hash tells one build of it from another."""
        return (self.name, self.input_size, self.precision)

    @property
    def title(self) -> str:
        """Such as "w050 160 fp32"."""
        return f"{self.name} {self.input_size} {self.precision}"


class ParetoAccuracyRow(
    msgspec.Struct, frozen=True, kw_only=True, tag="pareto_accuracy", tag_field="kind"
):
    """One engine on one annotated split, with the threshold that it ships with.

    Attributes:
        data: The split, such as "cub50/val.csv".
        cut: The threshold, such as "fixed 0.49".
        metrics: Percentages, 0 to 100, by name; those of the accuracy table.
    """

    case: str
    provenance: Provenance
    candidate: Candidate
    data: str
    images: int
    cut: str
    metrics: dict[str, float]


class ParetoSpeedRow(
    msgspec.Struct, frozen=True, kw_only=True, tag="pareto_speed", tag_field="kind"
):
    """One engine from frame to box, alternating with the eager paper head.

    Attributes:
        verified: What was compared before anything was timed.
        classes: How many both sides have.
        ours, eager: Wall-clock ms per frame. The stage "infer" of `ours` is the network alone.
        ratio: Eager over ours.
    """

    case: str
    provenance: Provenance
    candidate: Candidate
    verified: str
    threads: int
    classes: int
    ours: Timing
    eager: Timing
    ratio: Ratio


@dataclass(frozen=True, slots=True)
class ParetoPoint:
    """Accuracy and speed of the same graph; `speed` is None where it has not been timed."""

    accuracy: ParetoAccuracyRow
    speed: ParetoSpeedRow | None

    @property
    def candidate(self) -> Candidate:
        return self.accuracy.candidate

    @property
    def score(self) -> float:
        """MaxBoxAccV2 in percent."""
        return self.accuracy.metrics["MaxBoxAccV2"]

    @property
    def frame_ms(self) -> float | None:
        """Frame to box, median; None where it has not been timed."""
        return None if self.speed is None else self.speed.ours.p50_ms


def pareto_points(
    accuracy: Iterable[ParetoAccuracyRow], speed: Iterable[ParetoSpeedRow]
) -> list[ParetoPoint]:
    """The newest accuracy of each candidate, with its newest time on the newest row's machine.

    A time counts only for the very graph that was measured: equal hashes.
    """
    timed = list(speed)
    machine = _machine(timed[-1]) if timed else None
    times = {
        (row.candidate.key, row.candidate.onnx_sha256): row
        for row in timed
        if _machine(row) == machine
    }
    newest = {row.candidate.key: row for row in accuracy}
    return [
        ParetoPoint(row, times.get((key, row.candidate.onnx_sha256))) for key, row in newest.items()
    ]


def front(points: Sequence[ParetoPoint]) -> list[ParetoPoint]:
    """The timed points that no other one beats: none is both as fast and more accurate.

    Fastest first; of equal ones, the first that was given.
    """
    best: list[ParetoPoint] = []
    timed = [(point.frame_ms, point) for point in points if point.frame_ms is not None]
    for _, point in sorted(timed, key=lambda pair: (pair[0], -pair[1].score)):
        if not best or point.score > best[-1].score:
            best.append(point)
    return best


def _machine(row: ParetoSpeedRow) -> tuple[object, object]:
    conditions = row.provenance.conditions
    return conditions.get("cpu"), conditions.get("cores_usable")
