"""The tables of a report as text; the page and the terminal show the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bas_edge.quantization.report import BoundCheck, MethodResult, PrecisionReport
from bas_edge.quantization.report_words import (
    bytes_text,
    count_text,
    counted,
    error_text,
    iou_text,
    latency_text,
    loss_text,
    seconds_text,
    share_text,
    task_words,
    value_text,
)

__all__ = [
    "Table",
    "bound_table",
    "equalized_table",
    "kept_table",
    "layer_table",
    "method_table",
    "search_table",
    "stage_table",
]

_NONE = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under headings.

    Attributes:
        caption: What the rows are, in a sentence.
        columns: The headings; that of the first column names the rows.
        rows: As many cells each as there are headings.
        words: Columns of words, which are set to the left; the others are figures.
        flags: One per row: "good", "bad", or "" where the row is neither.
        more: What is left out, in a sentence; "" where nothing is.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[str] = frozenset()
    flags: tuple[str, ...] = ()
    more: str = ""

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows)

    def flag(self, row: int) -> str:
        """The flag of one row."""
        return self.flags[row] if self.flags else ""


def bound_table(report: PrecisionReport) -> Table:
    """What the bound holds, and whether it is held."""
    graph = [(check.metric, check) for check in report.checks]
    plan = [(f"{check.metric}, plan on the GPU", check) for check in report.plan_checks]
    rows = tuple(
        (
            figure,
            value_text(check.reference, check.unit),
            value_text(check.value, check.unit),
            loss_text(check),
            _limit_text(check),
            _held_text(check.held),
        )
        for figure, check in (*graph, *plan)
    )
    measured = f"Measured on {report.data}" if report.data else "Measured"
    images = f", {counted(report.images, 'image')}" if report.images else ""
    return Table(
        f"{measured}{images}. Loss: how much worse than float32, ± its standard error over the "
        "images; below 0 is better.",
        ("Figure", "Float32", "This engine", "Loss", "Limit", "Verdict"),
        rows,
        frozenset({"Verdict"}),
        tuple("good" if check.held else "bad" for _, check in (*graph, *plan)),
    )


def stage_table(report: PrecisionReport) -> Table:
    """Each form of the network beside the one it came from."""
    words = task_words(report.task)
    rows = []
    for stage in report.stages:
        iou = stage.iou if stage.against else None
        compared = bool(stage.images and stage.against)
        ious = ("mean", "percentile_5", "smallest")
        rows.append(
            (
                stage.name,
                stage.against or _NONE,
                count_text(stage.images) if compared else _NONE,
                error_text(stage.max_abs_error) if compared else _NONE,
                error_text(stage.mean_abs_error) if compared else _NONE,
                *(_NONE if iou is None else iou_text(getattr(iou, name)) for name in ious),
                f"{stage.label_agreement:.1f} %" if compared else _NONE,
                bytes_text(stage.size_bytes),
                latency_text(stage.latency_ms),
                stage.note,
            )
        )
    return Table(
        f"Each stage is compared with the one it came from, on the same images. {words.error}s are "
        f"of {words.error_of}, whose values are 0 to 1.",
        (
            "Stage",
            "Against",
            "Images",
            f"{words.error}, largest",
            f"{words.error}, mean",
            f"{words.thing} IoU, mean",
            f"{words.thing} IoU, 5th percentile",
            f"{words.thing} IoU, smallest",
            words.same,
            "Size",
            "Latency",
            "Note",
        ),
        tuple(rows),
        frozenset({"Against", "Note"}),
    )


def method_table(report: PrecisionReport) -> Table:
    """The calibration methods that were tried."""
    words = task_words(report.task)
    metrics = _metrics([method.checks for method in report.methods])
    losses = (f"{metric}, loss" for metric in metrics)
    rows = tuple(
        (
            method.method,
            *_losses(method.checks, metrics),
            error_text(method.map_error),
            error_text(method.logit_error),
            _held_text(method.held),
            "kept" if method.chosen else "",
            seconds_text(method.seconds),
        )
        for method in report.methods
    )
    return Table(
        "Each way to choose the ranges was tried on the same images. "
        f"{words.error}: mean absolute, against float32, of {words.error_of}. "
        f"{words.number} error: root mean square, over the {words.number.lower()}s' standard "
        "deviation.",
        (
            "Method",
            *losses,
            words.error,
            f"{words.number} error",
            "Bound",
            "Choice",
            "Time",
        ),
        rows,
        frozenset({"Bound", "Choice"}),
        tuple(_choice_flag(method) for method in report.methods),
    )


def layer_table(report: PrecisionReport, *, most: int) -> Table:
    """The first `most` layers; `more` says what the others are together."""
    shown, rest = report.layers[:most], report.layers[most:]
    whole = sum(layer.error for layer in report.layers) or 1.0
    rows = tuple(
        (
            layer.node,
            layer.operator,
            share_text(layer.error / whole),
            _NONE if layer.sqnr_db is None else f"{layer.sqnr_db:.1f} dB",
            "float" if layer.in_float else report.precision,
        )
        for layer in shown
    )
    more = ""
    if rest:
        share = share_text(sum(layer.error for layer in rest) / whole)
        has = f"more layers have {share} together" if rest[1:] else f"more layer has {share}"
        more = f"{count_text(len(rest))} {has}."
    return Table(
        "What each layer costs when it alone is quantized: squared error of the outputs, as a "
        "share of all layers. SQNR: signal to quantization noise of its own output.",
        ("Layer", "Operator", "Share of error", "SQNR", "Runs in"),
        rows,
        frozenset({"Operator", "Runs in"}),
        more=more,
    )


def search_table(report: PrecisionReport) -> Table:
    """How many layers had to return to float."""
    metrics = _metrics([step.checks for step in report.search])
    held = any(step.held for step in report.search)
    end = " until the bound was held" if held else "; the bound was never held"
    rows = tuple(
        (
            str(number),
            count_text(step.nodes_in_float),
            *_losses(step.checks, metrics),
            _held_text(step.held),
            seconds_text(step.seconds),
        )
        for number, step in enumerate(report.search, 1)
    )
    return Table(
        f"The most sensitive layers were returned to float{end}.",
        ("Step", "Layers in float", *(f"{m}, loss" for m in metrics), "Bound", "Time"),
        rows,
        frozenset({"Bound"}),
        tuple("good" if step.held else "" for step in report.search),
    )


def kept_table(report: PrecisionReport) -> Table:
    """Layers that stay in float, and why."""
    return Table(
        "These layers run in float; the first and last ones that always do are not listed.",
        ("Layer", "Reason"),
        tuple((node.node, node.reason) for node in report.kept),
        frozenset({"Reason"}),
    )


def equalized_table(report: PrecisionReport) -> Table:
    """Tensors whose channels were brought to one range."""
    equalized = report.calibration.equalized if report.calibration else ()
    return Table(
        "Channels of these tensors were scaled towards one range. Spread: largest range of a "
        "channel over the median one.",
        ("Tensor", "Producer", "Consumers", "Spread before", "Spread after"),
        tuple(
            (
                tensor.name,
                tensor.producer,
                ", ".join(tensor.consumers),
                f"{tensor.spread_before:.1f}×",
                f"{tensor.spread_after:.1f}×",
            )
            for tensor in equalized
        ),
        frozenset({"Producer", "Consumers"}),
    )


def _metrics(groups: Sequence[tuple[BoundCheck, ...]]) -> tuple[str, ...]:
    """Every metric once, in the order of its first appearance."""
    return tuple(dict.fromkeys(check.metric for group in groups for check in group))


def _losses(checks: tuple[BoundCheck, ...], metrics: tuple[str, ...]) -> tuple[str, ...]:
    found = {check.metric: loss_text(check) for check in checks}
    return tuple(found.get(metric, _NONE) for metric in metrics)


def _choice_flag(method: MethodResult) -> str:
    if not method.chosen:
        return ""
    return "good" if method.held else "bad"


def _limit_text(check: BoundCheck) -> str:
    return f"{check.limit:.2f} points" if check.unit == "percent" else f"{check.limit:.3f}"


def _held_text(held: bool) -> str:
    return "✓ held" if held else "✗ not held"
