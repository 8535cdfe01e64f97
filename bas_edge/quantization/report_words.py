"""The report's figures and its verdict as words, for the page and for the terminal."""

from __future__ import annotations

from typing import NamedTuple

from bas_edge.engine.manifest import Task
from bas_edge.quantization.report import BoundCheck, PrecisionReport, Unit

__all__ = [
    "TaskWords",
    "bytes_text",
    "count_text",
    "counted",
    "error_text",
    "iou_text",
    "latency_text",
    "loss_text",
    "seconds_text",
    "share_text",
    "task_words",
    "value_text",
    "verdict_text",
]


class TaskWords(NamedTuple):
    """What a report calls the figures of a task.

    Attributes:
        thing: What the results are: "Box" or "Mask".
        moved: A heading over those that are not what they were.
        error, error_of: The error of the mean absolute difference, and of what it is.
        number: The network's own numbers: "Logit" or "Score".
        same, same_as: Heading and words of the share of what is alike.
    """

    thing: str
    moved: str
    error: str
    error_of: str
    number: str
    same: str
    same_as: str


_WORDS: dict[Task, TaskWords] = {
    "localization": TaskWords(
        thing="Box",
        moved="The boxes that moved most",
        error="Map error",
        error_of="the foreground map",
        number="Logit",
        same="Same class",
        same_as="same class as",
    ),
    "segmentation": TaskWords(
        thing="Mask",
        moved="The masks that changed most",
        error="Probability error",
        error_of="the class probabilities of cells",
        number="Score",
        same="Same pixels",
        same_as="pixels of the same class as",
    ),
}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MINUS = "−"


def task_words(task: Task) -> TaskWords:
    """What a report calls the figures of a task."""
    return _WORDS[task]


def verdict_text(report: PrecisionReport) -> str:
    """The verdict as a headline: "Accepted after 3 of 28 layers were kept in float"."""
    if report.verdict == "accepted after search":
        kept, layers = len(report.kept), len(report.layers)
        of = f"{count_text(kept)} of {counted(layers, 'layer')}"
        which = of if layers else counted(kept, "layer")
        text = f"Accepted after {which} {'was' if kept == 1 else 'were'} kept in float"
    else:
        text = report.verdict.capitalize()
    return f"{text}, but written all the same: it was forced" if report.forced else text


def value_text(value: float | None, unit: Unit) -> str:
    """A figure of the bound: "71.23 %", "0.987"; a dash for None."""
    if value is None:
        return "–"
    return f"{value:.2f} %" if unit == "percent" else iou_text(value)


def loss_text(check: BoundCheck) -> str:
    """The loss with its standard error: "0.42 ± 0.18 points"."""
    digits, unit = (2, " points") if check.unit == "percent" else (3, "")
    error = "" if check.standard_error is None else f" ± {check.standard_error:.{digits}f}"
    return f"{_signed(check.loss, digits)}{error}{unit}"


def iou_text(iou: float) -> str:
    """Three decimals; 1 only where it is 1, so that a miss is never rounded away."""
    return "0.999" if 0.999 < iou < 1 else f"{iou:.3f}"


def error_text(error: float) -> str:
    """A small positive number: "0.034", "2.1 × 10⁻⁶", "0"."""
    if error == 0 or abs(error) >= 0.001:
        return f"{error:.3f}" if error else "0"
    mantissa, exponent = f"{error:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def bytes_text(count: int) -> str:
    """The size of a file: "812 B", "14.2 kB", "3.5 MB"; a dash for 0."""
    if not count:
        return "–"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def latency_text(latency_ms: float | None) -> str:
    """As "3.21 ms" or "41.5 ms"; a dash where none was measured."""
    if latency_ms is None:
        return "–"
    return f"{latency_ms:.{2 if latency_ms < 10 else 1}f} ms"


def seconds_text(seconds: float) -> str:
    """As "0.4 s", "12 s" or "3 min 05 s"."""
    if seconds < 60:
        return f"{seconds:.{1 if seconds < 10 else 0}f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s"


def share_text(share: float) -> str:
    """A share, 0 to 1, as "38.0 %"; "< 0.1 %" where there is little and "0 %" where is none."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f} %" if share else "0 %"


def count_text(count: int) -> str:
    """With commas between thousands."""
    return f"{count:,}"


def counted(count: int, noun: str) -> str:
    """A count with its noun: "1 image", "1,450 images"."""
    return f"{count_text(count)} {noun}{'' if count == 1 else 's'}"


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    return f"{_MINUS}{text}" if value < 0 and float(text) else text
