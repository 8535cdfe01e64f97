"""What fewer bits cost one model: a row for each engine."""

from __future__ import annotations

import msgspec

from bas_edge.quantization.report import BoundCheck, PrecisionReport

from .timings import Provenance

__all__ = ["PlantedRow", "PrecisionRow", "missed_planted", "precision_row"]


class PrecisionRow(msgspec.Struct, frozen=True, kw_only=True, tag="precision", tag_field="kind"):
    """One engine of reduced precision, held to its bound.

    Attributes:
        model: Name of the exported graph.
        data: What the bound was measured on.
        precision: "fp16" or "int8".
        flavour: For which library its Q/DQ nodes are placed; "" for fp16.
        verdict: As in the report.
        in_float: Layers that the bound sent back to float.
        checks: The bound's figures.
        methods: Each calibration method: its checks, the error of its maps and logits, whether
            it was chosen.
        onnx_bytes, fp32_bytes, plan_bytes: Sizes; 0 where there is no plan.
        calibration_images: How many.
        seconds: Wall time of the build.
    """

    case: str = "precision"
    provenance: Provenance
    model: str
    data: str
    precision: str
    flavour: str
    verdict: str
    in_float: tuple[str, ...]
    checks: tuple[BoundCheck, ...]
    methods: tuple[Method, ...]
    onnx_bytes: int
    fp32_bytes: int
    plan_bytes: int
    calibration_images: int
    seconds: float


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the method table; see `bas_edge.quantization.report.MethodResult`."""

    method: str
    checks: tuple[BoundCheck, ...]
    map_error: float
    logit_error: float
    chosen: bool


class PlantedRow(msgspec.Struct, frozen=True, kw_only=True, tag="planted", tag_field="kind"):
    """A network with one channel a thousand times as large as it was, in int8.

    Attributes:
        planted: Where.
        plain: The bound's figures of min-max int8, without equalization and without a search.
        verdict, checks: Of what `build-engine` ends with.
        equalized: Tensors that were equalized, and what that did.
        in_float: Layers that the search sent back to float.
    """

    case: str = "planted"
    provenance: Provenance
    model: str
    data: str
    planted: str
    plain: tuple[BoundCheck, ...]
    verdict: str
    checks: tuple[BoundCheck, ...]
    equalized: tuple[str, ...]
    in_float: tuple[str, ...]


def missed_planted(row: PlantedRow) -> list[str]:
    """What the row does not show."""
    missed = []
    if all(check.held for check in row.plain):
        missed.append(f"{row.planted}: plain min-max keeps the bound, so nothing is shown")
    if row.verdict == "refused":
        missed.append(f"{row.planted}: refused")
    if not (row.equalized or row.in_float):
        missed.append(f"{row.planted}: the report names no layer")
    return missed


def precision_row(
    report: PrecisionReport, given: Provenance, *, model: str, data: str, seconds: float
) -> PrecisionRow:
    """The row of a build's report; `model` and `data` without the folders they lie in."""
    sizes = {stage.name: stage.size_bytes for stage in report.stages}
    return PrecisionRow(
        provenance=given,
        model=model,
        data=data,
        precision=report.precision,
        flavour=report.flavour,
        verdict=report.verdict,
        in_float=tuple(one.node for one in report.kept),
        checks=report.checks,
        methods=tuple(
            Method(
                method=one.method,
                checks=one.checks,
                map_error=one.map_error,
                logit_error=one.logit_error,
                chosen=one.chosen,
            )
            for one in report.methods
        ),
        onnx_bytes=sizes[report.precision],
        fp32_bytes=sizes["fp32"],
        plan_bytes=sizes.get("plan", 0),
        calibration_images=0 if report.calibration is None else report.calibration.images,
        seconds=round(seconds, 1),
    )
