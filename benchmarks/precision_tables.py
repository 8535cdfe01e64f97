"""The tables of fewer bits."""

from __future__ import annotations

from collections.abc import Sequence

from bas_edge.quantization.report import BoundCheck

from .precision_rows import Method, PlantedRow, PrecisionRow
from .table_text import measured, newest, table

__all__ = ["planted_line", "planted_table", "precision_line", "precision_tables"]


def precision_tables(rows: Sequence[PrecisionRow]) -> str:
    """One line an engine; and one a calibration method of each int8 engine."""
    rows = newest(rows)
    if not rows:
        return "Not measured yet."
    names = list(dict.fromkeys(check.metric for row in rows for check in row.checks))
    engines = [
        [
            row.model,
            _title(row),
            _chosen(row),
            *(_loss(row.checks, name) for name in names),
            f"{row.onnx_bytes / 1e6:.1f} MB ({100 * row.onnx_bytes / row.fp32_bytes:.0f} %)",
            f"{row.plan_bytes / 1e6:.1f} MB" if row.plan_bytes else "–",
            row.verdict + (f": {', '.join(row.in_float)}" if row.in_float else ""),
        ]
        for row in rows
    ]
    methods = [
        [
            *(row.model, _title(row), one.method + (" ←" if one.chosen else "")),
            *(_loss(one.checks, name) for name in names),
            *(f"{one.map_error:.4f}", f"{one.logit_error:.3f}"),
        ]
        for row in rows
        for one in _sorted(row.methods)
    ]
    headers = ["model", "engine", "method", *names, "ONNX (of fp32)", "plan", "bound"]
    parts = [table(headers, engines)]
    if methods:
        headers = ["model", "engine", "method", *names, "map error", "logit error"]
        parts += [
            "Every calibration method; the arrow marks the one that was kept:",
            table(headers, methods),
        ]
    return "\n\n".join([*parts, *measured(rows)])


def precision_line(row: PrecisionRow) -> str:
    """One line for the terminal."""
    losses = ", ".join(f"{check.metric} {_loss(row.checks, check.metric)}" for check in row.checks)
    share = 100 * row.onnx_bytes / row.fp32_bytes
    return (
        f"{row.model} {_title(row)}: {row.verdict}, {losses}; {share:.0f} % of the size; "
        f"{row.seconds:g} s"
    )


def planted_table(rows: Sequence[PlantedRow]) -> str:
    """Two lines a planted channel: plain min-max, and what `build-engine` ends with."""
    rows = newest(rows)
    names = list(dict.fromkeys(check.metric for row in rows for check in row.checks))
    lines = []
    for row in rows:
        losses = [[_loss(checks, name) for name in names] for checks in (row.plain, row.checks)]
        lines += [
            [row.model, row.planted, "plain min-max", *losses[0], _held(row.plain), ""],
            [row.model, row.planted, "`build-engine`", *losses[1], row.verdict, _named(row)],
        ]
    headers = ["model", "planted", "int8", *names, "bound", "what the report names"]
    return "\n\n".join([table(headers, lines), *measured(rows)])


def planted_line(row: PlantedRow) -> str:
    """One line for the terminal."""
    plain, ours = (
        ", ".join(f"{check.metric} {_loss(checks, check.metric)}" for check in checks)
        for checks in (row.plain, row.checks)
    )
    return f"{row.planted}: plain min-max {plain}; ours {row.verdict}, {ours}; {_named(row)}"


def _held(checks: Sequence[BoundCheck]) -> str:
    return "accepted" if all(check.held for check in checks) else "refused"


def _named(row: PlantedRow) -> str:
    equalized = [f"equalized: {one}" for one in row.equalized]
    return "; ".join([*equalized, *(f"in float: {one}" for one in row.in_float)])


def _sorted(methods: Sequence[Method]) -> list[Method]:
    return sorted(methods, key=lambda one: not one.chosen)


def _title(row: PrecisionRow) -> str:
    return " ".join(filter(None, (row.precision, row.flavour)))


def _chosen(row: PrecisionRow) -> str:
    return next((one.method for one in row.methods if one.chosen), "–")


def _loss(checks: Sequence[BoundCheck], name: str) -> str:
    """Such as "85.28 → 85.42 (+0.14 ± 0.38)"."""
    for check in checks:
        if check.metric == name:
            error = "" if check.standard_error is None else f" ± {check.standard_error:.2f}"
            before = "" if check.reference is None else f"{check.reference:.2f} → "
            gain = round(-check.loss, 2) + 0.0  # without a negative zero
            return f"{before}{check.value:.2f} ({gain:+.2f}{error})"
    return "–"
