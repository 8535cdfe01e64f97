"""The page's small charts: inline SVG, drawn by the page's own style sheet in light and dark.

Elements are built as a tree and written by it, so that no text can become markup.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree as Tree

from bas_edge.quantization.report import IouSummary

__all__ = ["bar_chart", "histogram_chart", "svg_root", "svg_text"]

_WIDTH, _HEIGHT = 120.0, 30.0
_GAP = 1.0
_SMALLEST = 2.0  # pixels of a bar that is not empty


def svg_root(width: float, height: float, *, label: str, kind: str) -> Tree.Element:
    """An `svg` element that is one image to a screen reader; `kind` is its class."""
    box = f"0 0 {_number(width)} {_number(height)}"
    return Tree.Element("svg", {"viewBox": box, "class": kind, "role": "img", "aria-label": label})


def svg_text(root: Tree.Element) -> str:
    """The element as markup for an HTML page."""
    return Tree.tostring(root, encoding="unicode", short_empty_elements=False)


def histogram_chart(summary: IouSummary) -> str:
    """Images by IoU. Heights grow with the square root, so that single images stay visible."""
    counts, total = summary.histogram, sum(summary.histogram)
    low = sum(counts[: len(counts) // 2])
    last = counts[-1] if counts else 0
    label = f"{last} of {total} images in the highest step of IoU, {low} below one half"
    root = svg_root(_WIDTH, _HEIGHT, label=label, kind="histogram")
    root.set("preserveAspectRatio", "none")
    step = _WIDTH / max(len(counts), 1)
    for at, count in enumerate(counts):
        if count:
            height = max(_SMALLEST, math.sqrt(count / max(counts)) * (_HEIGHT - 1))
            _rectangle(root, at * step, _HEIGHT - height, step - _GAP, height)
    _rectangle(root, 0, _HEIGHT - 1, _WIDTH, 1, kind="axis")
    return svg_text(root)


def bar_chart(values: Sequence[float], hollow: Sequence[bool]) -> tuple[str, ...]:
    """One horizontal bar a value, the largest across the whole width; hollow ones are outlines."""
    largest = max(values, default=0.0)
    charts = []
    for value, outline in zip(values, hollow, strict=True):
        share = value / largest if largest > 0 else 0.0
        root = svg_root(100, 10, label=f"{100 * share:.0f} % of the largest", kind="bar")
        root.set("preserveAspectRatio", "none")
        _rectangle(root, 0, 1, max(0.4, 100 * share), 8, kind="hollow" if outline else "solid")
        charts.append(svg_text(root))
    return tuple(charts)


def _rectangle(
    root: Tree.Element, x: float, y: float, width: float, height: float, *, kind: str = "solid"
) -> None:
    sides = {"x": x, "y": y, "width": width, "height": height}
    attributes = {name: _number(value) for name, value in sides.items()}
    Tree.SubElement(root, "rect", attributes | {"class": kind})


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
