"""The table of `bas-edge analyse`."""

from __future__ import annotations

from collections.abc import Sequence

from .analysis_rows import AnalysisRow
from .table_text import measured, newest, table

__all__ = ["analysis_line", "analysis_table"]

_SHOWN = (0.1, 0.3, 0.6, 0.8, 1.0, 1.4, 2.0)
_NAMES = {
    "cross_entropy": "cross-entropy, nats",
    "foreground": "S_fg / S",
    "background": "S_bg / S",
}


def analysis_table(rows: Sequence[AnalysisRow]) -> str:
    """Three lines for each checkpoint and set of images: mean ± standard error (median)."""
    rows = newest(rows)
    if not rows:
        return "Not measured yet."
    headers = ["checkpoint", "images", "figure", *(f"{ratio:g}" for ratio in _SHOWN), "settled at"]
    lines = [
        [
            f"{row.model} ({row.head} head)",
            _images(row),
            title,
            *(_cell(row, name, ratio) for ratio in _SHOWN),
            _settled(row, name),
        ]
        for row in rows
        for name, title in _NAMES.items()
    ]
    return "\n\n".join([table(headers, lines), *measured(rows)])


def analysis_line(row: AnalysisRow) -> str:
    """One line for the terminal."""
    settled = ", ".join(
        f"{title} settles at {_settled(row, name)}" for name, title in _NAMES.items()
    )
    return f"{row.model}, {row.images} images: {settled}"


def _images(row: AnalysisRow) -> str:
    without = "".join(f" (left out, {why}: {count})" for why, count in row.left_out.items())
    return f"{row.images} of {row.data}{without}, {row.truth}"


def _cell(row: AnalysisRow, name: str, ratio: float) -> str:
    if ratio not in row.ratios:
        return "–"
    at, figures = row.ratios.index(ratio), row.figures[name]
    return f"{figures.mean[at]:.2f} ± {figures.standard_error[at]:.2f} ({figures.median[at]:.2f})"


def _settled(row: AnalysisRow, name: str) -> str:
    settled = row.figures[name].settled
    return f"beyond {row.ratios[-1]:g}" if settled is None else f"{settled:.2f}"
