"""What a comparison found, ready for JSON, for a table and for a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.evaluation_report import (
    CutScore,
    LocalizationReport,
    PixelReport,
    SkippedImage,
    describe_threshold,
)
from bas_edge.metrics.localization import ClassAccuracy
from bas_edge.metrics.protocols import IOU_LEVELS, ProtocolName

__all__ = ["Agreement", "ComparedImage", "ComparedMap", "Comparison", "MethodReport"]

_LEVELS = tuple(str(level) for level in IOU_LEVELS)
_Row = tuple[str, ...]


class MethodReport(msgspec.Struct, frozen=True, kw_only=True):
    """One method or engine on the images.

    Attributes:
        name: As it was asked for.
        title, source: A method's name and its paper; an engine's name and what it is.
        threshold: What it ships with: label-free, or the recipe's own of BAS, or an engine's.
        classification: Top-1 and Top-5 of its class scores.
        localization: `stored` is at `threshold`. None without boxes.
        pixels: `stored_iou` is at `threshold`. None without masks.
    """

    name: str
    title: str
    source: str
    threshold: ThresholdPolicy
    classification: ClassAccuracy
    localization: LocalizationReport | None
    pixels: PixelReport | None


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How alike two of them are.

    Attributes:
        first, second: Their names.
        box_iou: Mean IoU, 0 to 1, of their boxes at the thresholds they ship with, in the frame.
        correlation: Mean over images of Pearson's correlation of the two maps, -1 to 1; None
            where every map of one is flat.
    """

    first: str
    second: str
    box_iou: float
    correlation: float | None


class ComparedMap(msgspec.Struct, frozen=True, kw_only=True):
    """One method's answer to one image.

    Attributes:
        method: Its name.
        heat: [h, w] uint8, the map scaled to 0..255 and spread over the frame (base64 in JSON).
        heat_size: (h, w).
        box: At the threshold it ships with, xyxy in pixels of the frame, half-open.
        iou: With the nearest annotated box; None without boxes.
    """

    method: str
    heat: bytes
    heat_size: tuple[int, int]
    box: tuple[float, float, float, float]
    iou: float | None


class ComparedImage(msgspec.Struct, frozen=True, kw_only=True):
    """One image of the sheet.

    Attributes:
        path: The file.
        class_name: Its label.
        truth: Annotated boxes; empty where there are none.
        maps: One a method, in their order.
    """

    path: str
    class_name: str
    truth: tuple[tuple[float, float, float, float], ...]
    maps: tuple[ComparedMap, ...]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Methods side by side on one set of images. Percentages, 0 to 100.

    Attributes:
        checkpoint: The run, "" where only engines were compared.
        data: Path of the annotations.
        protocol: "bas" or "wsoleval".
        of_class: Whose map a method for one class shows: "label" or "best".
        threshold_images: What the label-free thresholds were measured on, in words.
        images: How many were measured; `skipped` could not be.
        methods: In the order asked for.
        agreement: Every pair.
        pictures: What `save_sheet` draws.
    """

    checkpoint: str
    data: str
    protocol: ProtocolName
    of_class: str
    threshold_images: str
    images: int
    skipped: tuple[SkippedImage, ...]
    methods: tuple[MethodReport, ...]
    agreement: tuple[Agreement, ...]
    pictures: tuple[ComparedImage, ...]

    @property
    def has_boxes(self) -> bool:
        """Whether anything was held against a truth."""
        return all(each.localization is not None for each in self.methods)

    def table(self) -> list[str]:
        """The report as aligned lines of plain text."""
        first = self.methods[0]
        classes = first.classification
        lines = [
            f"{self.images} images of {self.data}, protocol {self.protocol}, "
            f"Top-1 classification {classes.top1:.1f}"
        ]
        has_masks = first.pixels is not None
        if self.has_boxes:
            lines += ["", *_aligned(self._scores(), words=2)]
        if has_masks:
            lines += ["", *_aligned(self._pixels())]
        if not self.has_boxes and not has_masks:
            lines += ["", "There are no boxes: nothing here says which of them is right."]
        if self.agreement:
            lines += ["", *_aligned(self._agreements())]
        return [*lines, "", *self._thresholds()]

    def _scores(self) -> list[_Row]:
        levels = [f"IoU {level}" for level in _LEVELS]
        rows: list[_Row] = [
            ("method", "threshold", "GT-known", "Top-1 Loc", "MaxBoxAccV2", *levels)
        ]
        for each in self.methods:
            report = each.localization
            assert report is not None
            v2 = report.max_box_acc_v2
            best = {level: one.accuracy for level, one in v2.by_iou.items()}
            cut = report.stored
            rows.append(_score_row(each.title, "best", report.oracle, v2.mean, best))
            rows.append(_score_row("", "shipped", cut, cut.box.mean, cut.box.by_iou))
        report = self.methods[0].localization
        assert report is not None
        centre = report.centre_box
        mean = sum(centre.by_iou.values()) / len(centre.by_iou)
        figures = (f"{value:.1f}" for value in (mean, *(centre.by_iou[one] for one in _LEVELS)))
        side = f"{100 * centre.side:.0f} % of each side"
        rows.append(("centred box", side, f"{centre.by_iou['0.5']:.1f}", "–", *figures))
        return rows

    def _pixels(self) -> list[_Row]:
        rows: list[_Row] = [("by masks", "PxAP", "best IoU", "its cut", "shipped IoU")]
        for each in self.methods:
            found = each.pixels
            assert found is not None
            figures = (f"{value:.1f}" for value in (found.px_ap, found.peak_iou))
            cut, shipped = f"{found.peak_threshold:.3f}", f"{found.stored_iou:.1f}"
            rows.append((each.title, *figures, cut, shipped))
        return rows

    def _thresholds(self) -> list[str]:
        """Whose maps these are, and how each threshold was chosen: as papers do, and without."""
        lines = ["Maps for one class are of the best class."]
        if self.of_class == "label":
            lines = ["Maps for one class are of the image's label; of engines, of the best class."]
        if self.has_boxes:
            lines.append(
                "best: with these boxes, on these images; for MaxBoxAccV2 at each IoU level anew."
            )
        chosen: dict[str, list[str]] = {}
        for each in self.methods:
            chosen.setdefault(each.threshold.chosen_by or "not said", []).append(each.title)
        lines += [f"shipped, {', '.join(titles)}: {how}" for how, titles in chosen.items()]
        if self.threshold_images:
            lines.append(f"Thresholds that were not there yet: from {self.threshold_images}.")
        return lines

    def _agreements(self) -> list[_Row]:
        first = self.methods[0]
        titles = {each.name: each.title for each in self.methods}
        rows: list[_Row] = [(f"agreement with {first.title}", "box IoU", "map correlation")]
        for pair in self.agreement:
            if pair.first == first.name:
                related = "–" if pair.correlation is None else f"{pair.correlation:.2f}"
                rows.append((titles[pair.second], f"{pair.box_iou:.2f}", related))
        return rows

    def save_sheet(self, path: str | os.PathLike[str]) -> None:
        """Draw `pictures` with a column for each method.

        Raises:
            InputError: There is nothing to draw, an image is gone, or `path` cannot be written.
        """
        from .sheet import save_sheet

        save_sheet(self, path)


def _score_row(title: str, kind: str, cut: CutScore, mean: float, by_iou: dict[str, float]) -> _Row:
    found = cut.localization
    figures = (found.gt_known, found.top1_loc, mean, *(by_iou[level] for level in _LEVELS))
    threshold = f"{kind} ({describe_threshold(cut.threshold)})"
    return (title, threshold, *(f"{value:.1f}" for value in figures))


def _aligned(rows: Sequence[_Row], *, words: int = 1) -> list[str]:
    """Columns as wide as they need; the first `words` are of text, and stand on the left."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if at < words else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
