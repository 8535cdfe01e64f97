"""The curves of an analysis as one picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bas_edge._require import require
from bas_edge_training.analysis.curves import Extreme, Mean
from bas_edge_training.analysis.report import Analysis
from bas_edge_training.atomic import replace_atomically

__all__ = ["check_drawable", "draw_analysis"]

_GREY, _RED, _BLUE = "#3f3f46", "#c2410c", "#1d4ed8"


def check_drawable() -> None:
    """Raises MissingExtraError where matplotlib is not installed."""
    require("matplotlib", extra="report", purpose="Drawing the curves")


def draw_analysis(analysis: Analysis, output: Path) -> None:
    """Cross-entropy above, activations below, over the area of the masks, as a PNG.

    Lines are means, bands one standard error to each side, dashed lines medians; a dot stands
    where a mean has settled.

    Raises:
        MissingExtraError: matplotlib is not installed.
        BasEdgeError: The file cannot be written.
    """
    check_drawable()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curve = analysis.curve
    points, extremes = curve.points, curve.extremes
    ratios = [point.ratio for point in points]
    figure = Figure(figsize=(6.8, 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    entropies = [point.cross_entropy for point in points]
    _draw(upper, ratios, entropies, extremes.cross_entropy, _GREY, "inside the mask")
    whole = curve.whole_cross_entropy
    upper.axhline(whole, color=_GREY, linewidth=0.8, linestyle=":", label="the whole image")
    upper.set_ylabel("cross-entropy [nats]")
    inside, outside = [p.foreground for p in points], [p.background for p in points]
    _draw(lower, ratios, inside, extremes.foreground, _RED, "inside the mask, $S_{fg}/S$")
    _draw(lower, ratios, outside, extremes.background, _BLUE, "mask erased, $S_{bg}/S$")
    lower.set_ylabel("activation, relative to the whole image")
    lower.set_xlabel("area of the mask, relative to the object")
    for axes in (upper, lower):
        axes.set_ylim(bottom=0)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    upper.annotate(
        "the object's box" if analysis.truth == "boxes" else "the object",
        (1, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4, -12),
        textcoords="offset points",
        fontsize=8,
    )
    caption = "\n".join(textwrap.wrap(_caption(analysis), 112))
    figure.supxlabel(caption, fontsize=8, x=0.02, ha="left")
    replace_atomically(
        output,
        lambda path: figure.savefig(path, format="png", dpi=92, pil_kwargs={"optimize": True}),
    )


def _draw(
    axes: Any, ratios: Sequence[float], figures: Sequence[Mean], end: Extreme, ink: str, label: str
) -> None:
    """One curve: its mean and median, its band, and the dot where it has settled."""
    mean = np.array([one.mean for one in figures])
    error = np.array([one.standard_error or 0.0 for one in figures])
    axes.fill_between(ratios, mean - error, mean + error, color=ink, alpha=0.2, linewidth=0)
    axes.plot(ratios, mean, color=ink, linewidth=1.6, label=label)
    axes.plot(ratios, [one.median for one in figures], color=ink, linewidth=0.9, linestyle="--")
    if end.settled is not None:
        axes.plot([end.settled], [np.interp(end.settled, ratios, mean)], "o", color=ink)


def _caption(analysis: Analysis) -> str:
    """What was measured on what, and how to read the lines."""
    checkpoint, data = Path(analysis.checkpoint).resolve(), Path(analysis.data)
    name = checkpoint.parent.name if checkpoint.stem == "checkpoint" else checkpoint.name
    count = analysis.curve.images
    truth = "masks" if analysis.truth == "masks" else "boxes drawn as masks"
    return (
        f"{name} ({analysis.architecture}, {analysis.head} head, {analysis.input_size} px) on "
        f"{'/'.join(data.parts[-2:])}, {count} {'image' if count == 1 else 'images'}; objects: "
        f"{truth}. Lines: mean ± standard error; dashed: median; dot: {analysis.settled_share:.0%} "
        "of the way from no features to the whole image."
    )
