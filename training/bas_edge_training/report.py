"""The demo's report: one HTML page with its pictures inside."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import bas_edge
from bas_edge._require import require
from bas_edge.evaluation_report import Evaluation, describe_threshold
from bas_edge.latency import Benchmark
from bas_edge.video import VideoSummary

from .atomic import replace_atomically
from .export_report import ExportReport
from .results import TrainResult

__all__ = ["DemoFacts", "write_report"]

TEMPLATE = "report.html.j2"
STAGE_NAMES = {
    "pre": "check and resize the frame",
    "infer": "network",
    "post": "maps to box",
    "total": "frame to box",
}


@dataclass(frozen=True, slots=True)
class DemoFacts:
    """Everything that the page shows.

    Attributes:
        generated: The images were drawn by the demo, so their boxes are known exactly.
        data: Where the images came from.
        pretrained: Backbone weights, or "" from scratch.
        recipe: Name or path of the recipe.
        curves, contact_sheet, video_strip: Pictures to put into the page.
        seconds: Wall time of each stage.
        next_commands: (what it does, what to type).
    """

    generated: bool
    data: str
    pretrained: str
    recipe: str
    trained: TrainResult
    exported: ExportReport
    evaluation: Evaluation
    benchmark: Benchmark
    video: VideoSummary | None
    curves: Path
    contact_sheet: Path
    video_strip: Path | None
    seconds: dict[str, float]
    next_commands: tuple[tuple[str, str], ...]


def write_report(path: Path, facts: DemoFacts) -> Path:
    """Write the page to `path`. It loads nothing: no script, style or picture from elsewhere.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    jinja2 = require("jinja2", extra="report", purpose="Writing the report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = (resources.files(__package__) / TEMPLATE).read_text(encoding="utf-8")
    page = environment.from_string(source).render(
        facts=facts,
        version=bas_edge.__version__,
        classes=facts.exported.manifest.classes,
        metrics=metric_rows(facts.evaluation),
        rejection=facts.evaluation.rejection,
        stages=_stage_rows(facts.benchmark),
        conditions=_flat(facts.benchmark.conditions),
        pictures={
            name: _data_uri(picture)
            for name, picture in (
                ("curves", facts.curves),
                ("contact_sheet", facts.contact_sheet),
                ("video_strip", facts.video_strip),
            )
            if picture is not None and picture.is_file()
        },
        total_minutes=sum(facts.seconds.values()) / 60,
    )
    replace_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def metric_rows(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """(metric, this engine, centred box) in percent; "" where the baseline has no such figure."""
    classes = evaluation.classification
    rows = [("Top-1 classification", f"{classes.top1:.1f}", "")]
    found = evaluation.localization
    if found is None:
        return rows
    stored, centre = found.stored, found.centre_box
    rows += [
        ("GT-known localization", f"{stored.localization.gt_known:.1f}",
         f"{centre.by_iou['0.5']:.1f}"),
        ("Top-1 localization", f"{stored.localization.top1_loc:.1f}", ""),
    ]  # fmt: skip
    rows += [
        (f"box right at IoU {level}", f"{stored.box.by_iou[level]:.1f}", f"{baseline:.1f}")
        for level, baseline in centre.by_iou.items()
    ]
    cut = describe_threshold(stored.threshold)
    rows.append((f"GT-known with the best fixed cut (ours: {cut})", f"{stored.oracle:.1f}", ""))
    return rows


def _stage_rows(measured: Benchmark) -> list[tuple[str, str, str, str]]:
    return [
        (STAGE_NAMES[name], f"{stage.p50_ms:.2f}", f"{stage.p90_ms:.2f}", f"{stage.p99_ms:.2f}")
        for name, stage in measured.stages.items()
    ]


def _flat(conditions: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested conditions as (name, value) rows; what could not be read is left out."""
    rows = []
    for name, value in conditions.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name} ")
        elif value not in (None, "", [], ()):
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            rows.append((f"{prefix}{name}".replace("_", " "), shown))
    return rows


def _data_uri(picture: Path) -> str:
    kind = "jpeg" if picture.suffix == ".jpg" else picture.suffix[1:]
    return f"data:image/{kind};base64,{base64.b64encode(picture.read_bytes()).decode()}"
