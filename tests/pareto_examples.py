"""Rows of the Pareto picture, made up."""

from __future__ import annotations

from benchmarks.pareto_rows import Candidate, ParetoAccuracyRow, ParetoSpeedRow
from benchmarks.timings import Provenance, Ratio, Timing

__all__ = ["accuracy_row", "candidate", "speed_row"]


def candidate(
    name: str = "edge", size: int = 224, precision: str = "fp32", sha: str = "a"
) -> Candidate:
    return Candidate(
        name=name,
        head="edge",
        width=0.5,
        map_stride=8,
        trained_at=224,
        input_size=size,
        precision=precision,
        onnx_bytes=4_000_000,
        onnx_sha256=sha,
    )


def _provenance(cpu: str) -> Provenance:
    return Provenance(
        date="2024-01-02T03:04:05Z",
        commit="abc",
        command="python -m benchmarks.pareto plan.toml",
        conditions={"cpu": cpu, "cores_usable": 2},
    )


def accuracy_row(of: Candidate, score: float) -> ParetoAccuracyRow:
    return ParetoAccuracyRow(
        case="pareto_accuracy",
        provenance=_provenance("one"),
        candidate=of,
        data="toy/val.csv",
        images=8,
        cut="fixed 0.5",
        metrics={"GT-known": 90.0, "Top-1 Loc": 60.0, "MaxBoxAccV2": score},
    )


def speed_row(of: Candidate, ms: float, cpu: str = "one") -> ParetoSpeedRow:
    timing = Timing(
        calls=5, p50_ms=ms, p90_ms=ms, p99_ms=ms, block_p50_ms=(ms,), stages_ms={"infer": ms - 1}
    )
    eager = Timing(calls=5, p50_ms=100.0, p90_ms=100.0, p99_ms=100.0, block_p50_ms=(100.0,))
    return ParetoSpeedRow(
        case="pareto_speed",
        provenance=_provenance(cpu),
        candidate=of,
        verified="boxes agree",
        threads=2,
        classes=50,
        ours=timing,
        eager=eager,
        ratio=Ratio(median=round(100 / ms, 2), low=1.0, high=20.0),
    )
