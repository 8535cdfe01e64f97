"""What an analysis found: for JSON, for a CSV and for the terminal."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import Literal

import msgspec

from bas_edge_training.analysis.curves import SETTLED, Curve, Extreme, Mean

__all__ = ["COLUMNS", "Analysis", "LeftOut"]

_FIGURES = ("cross_entropy", "foreground", "background")
COLUMNS = (
    "class_name", "images", "ratio", "area", "whole_frame",
    *(f"{name}{part}" for name in _FIGURES for part in ("", "_se", "_median")),
)  # fmt: skip


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """An image that is in no average.

    Attributes:
        path: The file.
        kind: "unusable": it or its mask cannot be read, or contradicts its annotation.
            "invisible": its object covers no pixel of the network's input. "not positive": the
            label's logit of the whole image is not above 0, so that nothing can be compared
            with it.
        reason: One sentence.
    """

    path: str
    kind: Literal["unusable", "invisible", "not positive"]
    reason: str


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """The exploratory experiment of BAS on one checkpoint and one set of images.

    Attributes:
        checkpoint: The file, as given.
        architecture, head, input_size: Of its model.
        data: Path of the annotations.
        split: Which part of them; empty where there are no parts.
        truth: What the objects are: "masks", or "boxes", drawn as masks.
        limit, seed: How the images were chosen; None took all.
        settled_share: The share of the way at which a curve counts as settled.
        curve: Over all images.
        classes: One curve for each class with an image, in label order, where asked for.
        left_out: Images that are in no average.
        data_notes: What the reader of a published set left out of it.
    """

    checkpoint: str
    architecture: str
    head: str
    input_size: int
    data: str
    split: str
    truth: Literal["boxes", "masks"]
    limit: int | None
    seed: int
    curve: Curve
    classes: tuple[Curve, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    data_notes: tuple[str, ...] = ()
    settled_share: float = SETTLED

    @property
    def unusable(self) -> tuple[LeftOut, ...]:
        """Those images left out whose file or annotation is to blame."""
        return tuple(one for one in self.left_out if one.kind == "unusable")

    def csv(self) -> str:
        """COLUMNS, and a row for each ratio: of all images (`class_name` is empty), then classes.

        Cross-entropies in nats; foreground and background relative to the whole image.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for curve in (self.curve, *self.classes):
            for point in curve.points:
                figures = (point.cross_entropy, point.foreground, point.background)
                writer.writerow(
                    [
                        curve.class_name or "",
                        curve.images,
                        point.ratio,
                        f"{point.area:.6g}",
                        point.whole_frame,
                        *(cell for figure in figures for cell in _cells(figure)),
                    ]
                )
        return text.getvalue()

    def table(self) -> list[tuple[str, ...]]:
        """The averaged curves, a title and a row for each ratio."""
        rows: list[tuple[str, ...]] = [
            ("mask / object", "cross-entropy", "S_fg / S", "S_bg / S", "of the frame")
        ]
        rows += [
            (
                f"{point.ratio:.2f}",
                _with_error(point.cross_entropy),
                _with_error(point.foreground),
                _with_error(point.background),
                f"{point.area:.0%}",
            )
            for point in self.curve.points
        ]
        return rows

    def conclusions(self) -> list[str]:
        """Sentences on where each curve has its best value and where it settles."""
        found = self.curve.extremes
        return [
            _conclusion("cross-entropy", "smallest", found.cross_entropy, self.settled_share),
            _conclusion("foreground activation", "largest", found.foreground, self.settled_share),
            _conclusion("background activation", "smallest", found.background, self.settled_share),
        ]

    def notes(self) -> list[str]:
        """Sentences on what the masks are, what they could not be, and what was left out."""
        notes = list(self.data_notes)
        if self.truth == "boxes":
            notes.append("The objects are boxes drawn as masks: a box holds background too.")
        last = self.curve.points[-1]
        if last.whole_frame:
            notes.append(
                f"At ratio {last.ratio:g}, {last.whole_frame} of {self.curve.images} masks are the "
                "whole frame."
            )
        counts = Counter(one.kind for one in self.left_out)
        notes += [f"Left out, {kind}: {count}." for kind, count in sorted(counts.items())]
        return notes


def _cells(figure: Mean) -> tuple[str, str, str]:
    error = figure.standard_error
    shown = "" if error is None else f"{error:.6g}"
    return f"{figure.mean:.6g}", shown, f"{figure.median:.6g}"


def _with_error(figure: Mean) -> str:
    error = figure.standard_error
    return f"{figure.mean:.3f}" if error is None else f"{figure.mean:.3f} ± {error:.3f}"


def _conclusion(name: str, kind: str, found: Extreme, share: float) -> str:
    way = f"{share:.0%} of its way to the whole image's value"
    settled = (
        f"not at {way} within these masks"
        if found.settled is None
        else f"{way} at {found.settled:.2f}"
    )
    return f"{name}: {kind} at {found.ratio:.2f} of the object ({found.value:.3f}); {settled}"
