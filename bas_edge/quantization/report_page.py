"""`report.html`: one page that loads nothing, and opens from disk, on a phone and on paper."""

from __future__ import annotations

from importlib import resources
from typing import Any

from bas_edge._require import require
from bas_edge.quantization.advice import advice_again
from bas_edge.quantization.report import PrecisionReport, Stage
from bas_edge.quantization.report_charts import bar_chart, histogram_chart
from bas_edge.quantization.report_pictures import draw_masks, draw_picture
from bas_edge.quantization.report_tables import (
    bound_table,
    equalized_table,
    kept_table,
    layer_table,
    method_table,
    search_table,
    stage_table,
)
from bas_edge.quantization.report_words import (
    bytes_text,
    count_text,
    iou_text,
    latency_text,
    task_words,
    verdict_text,
)

__all__ = ["render_page"]

_LAYERS = 24
_PICTURES = 12
_SIGNS = {
    "accepted": ("good", "✓"),
    "accepted after search": ("good", "✓"),
    "refused": ("bad", "✗"),
}


def render_page(report: PrecisionReport) -> str:
    """The whole page as HTML. The worst images are read from disk here.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    jinja2 = require("jinja2", extra="report", purpose="Writing report.html")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    files = resources.files("bas_edge.quantization")
    template = files.joinpath("report_page.html.j2").read_text(encoding="utf-8")
    tone, sign = ("bad", "!") if report.forced else _SIGNS[report.verdict]
    page: str = environment.from_string(template).render(
        report=report,
        style=files.joinpath("report_page.css").read_text(encoding="utf-8"),
        tone=tone,
        sign=sign,
        verdict=verdict_text(report),
        advice=advice_again(report),
        figures=_headline_figures(report),
        tables=_tables(report),
        stage_charts=[
            histogram_chart(stage.iou) if stage.iou and stage.against else ""
            for stage in report.stages
        ],
        layer_charts=bar_chart(
            [layer.error for layer in report.layers[:_LAYERS]],
            [layer.in_float for layer in report.layers[:_LAYERS]],
        ),
        words=task_words(report.task),
        pictures=[
            *(draw_picture(one, engine=report.precision) for one in report.worst[:_PICTURES]),
            *(draw_masks(one, engine=report.precision) for one in report.worst_masks[:_PICTURES]),
        ],
        count=count_text,
        zip=zip,
    )
    return page


def _tables(report: PrecisionReport) -> dict[str, Any]:
    return {
        "bound": bound_table(report),
        "stages": stage_table(report),
        "methods": method_table(report),
        "layers": layer_table(report, most=_LAYERS),
        "search": search_table(report),
        "kept": kept_table(report),
        "equalized": equalized_table(report),
    }


def _headline_figures(report: PrecisionReport) -> list[tuple[str, str]]:
    """(figure, what it is) of the engine's graph beside the float32 one, where both are known."""
    mine = [stage for stage in report.stages if stage.name == report.precision]
    if not mine:
        return []
    stage = mine[-1]
    figures = []
    if stage.iou is not None:
        words, against = task_words(report.task), _plain_name(stage.against)
        named = f"mean {words.thing.lower()} IoU with {against}"
        figures.append((iou_text(stage.iou.mean), named))
        figures.append((f"{stage.label_agreement:.1f} %", f"{words.same_as} {against}"))
    origin = _origin(report, stage)
    if stage.size_bytes:
        ratio = origin.size_bytes / stage.size_bytes if origin else 0
        beside = ""
        if origin is not None and ratio > 1:
            beside = f", {ratio:.1f} times smaller than {_plain_name(origin.name)}"
        figures.append((bytes_text(stage.size_bytes), f"graph{beside}"))
    if stage.latency_ms is not None:
        beside = ""
        if origin is not None and origin.latency_ms is not None:
            beside = f"; {_plain_name(origin.name)}: {latency_text(origin.latency_ms)}"
        figures.append((latency_text(stage.latency_ms), f"for the network, one frame{beside}"))
    return figures


def _origin(report: PrecisionReport, stage: Stage) -> Stage | None:
    """The stage that `stage` is compared with."""
    found = [one for one in report.stages if one.name == stage.against and one is not stage]
    return found[-1] if found else None


def _plain_name(stage: str) -> str:
    """What a reader calls the graph before it was halved or quantized."""
    return stage if stage in ("fp16", "int8") else "float32"
