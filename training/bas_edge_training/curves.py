"""log.csv as a picture."""

from __future__ import annotations

from pathlib import Path

from bas_edge._require import require
from bas_edge_training.atomic import replace_atomically
from bas_edge_training.training_log import LogRow, read_log

__all__ = ["draw_curves"]


def draw_curves(log: Path, output: Path) -> None:
    """Losses, area and accuracy against the step, as a PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", extra="report", purpose="Drawing the training curves")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_log(log)
    steps = [row for row in rows if row.row == "step"]
    epochs = [row for row in rows if row.row == "epoch"]
    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, shares = figure.subplots(2, 1, sharex=True)
    for name, label in (
        ("ce", "CE(S)"),
        ("fg", "CE(S_fg)"),
        ("bas", "S_bg / S"),
        ("empty", "empty"),
    ):
        values = [float(getattr(row, name)) for row in steps]
        if any(values):
            losses.plot([row.step for row in steps], _smoothed(values), label=label, linewidth=1)
    losses.set_ylabel("loss")
    shares.plot(
        [row.step for row in steps],
        _smoothed([row.area for row in steps]),
        label="area",
        linewidth=1,
    )
    shares.plot(
        [row.step for row in steps],
        _smoothed([row.top1 for row in steps]),
        label="top-1",
        linewidth=1,
    )
    held_out: list[LogRow] = [row for row in epochs if row.val_top1 is not None]
    if held_out:
        shares.plot(
            [row.step for row in held_out],
            [row.val_top1 for row in held_out],
            "o-",
            label="validation top-1",
        )
    shares.set_ylim(0, 1)
    shares.set_xlabel("step")
    for axes in (losses, shares):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(loc="center right")
    replace_atomically(output, lambda path: figure.savefig(path, format="png", dpi=110))


def _smoothed(values: list[float], weight: float = 0.9) -> list[float]:
    """Exponential mean, corrected for its start, so that the trend shows."""
    mean, total, found = 0.0, 0.0, []
    for value in values:
        mean = weight * mean + (1 - weight) * value
        total = weight * total + (1 - weight)
        found.append(mean / total)
    return found
