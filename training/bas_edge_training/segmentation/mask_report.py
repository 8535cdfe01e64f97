"""What `make_masks` has made, and how right it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bas_edge.metrics import SeedSweep, SegmentationAccuracy

__all__ = ["MaskScores", "MasksReport", "scores_at"]


@dataclass(frozen=True, slots=True, eq=False)
class MaskScores:
    """Masks of one kind against the true ones.

    Attributes:
        given: At the threshold that the masks were written with.
        best_threshold, best: In hindsight, the best of that one and 0.05, 0.1, … 0.95.
        curve: (threshold, mIoU) of each of them.
    """

    given: SegmentationAccuracy
    best_threshold: float
    best: SegmentationAccuracy
    curve: tuple[tuple[float, float], ...]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "given": self.given.to_dict(),
            "best_threshold": self.best_threshold,
            "best": self.best.to_dict(),
            "curve": [list(point) for point in self.curve],
        }


def scores_at(sweep: SeedSweep, threshold: float) -> MaskScores:
    """What a sweep says; `threshold` is one of it."""
    best_threshold, best = sweep.best()
    return MaskScores(sweep.result(threshold), best_threshold, best, tuple(sweep.curve()))


@dataclass(frozen=True, slots=True, eq=False)
class MasksReport:
    """What was written.

    Attributes:
        folder: With index.csv, classes.json and masks/.
        images: How many have a mask now.
        background: How many of them have no class: their masks are 0 everywhere.
        threshold: Strength above which a pixel is not background.
        seeds, refined: Before and after the random walk; None where the set has no masks.
        skipped: Path -> reason of each image that could not be read.
        next_command: What to type next.
    """

    folder: Path
    images: int
    background: int
    threshold: float
    seeds: MaskScores | None
    refined: MaskScores | None
    skipped: dict[str, str] = field(default_factory=dict)
    next_command: str = ""

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "folder": str(self.folder),
            "images": self.images,
            "background": self.background,
            "threshold": self.threshold,
            "seeds": None if self.seeds is None else self.seeds.to_dict(),
            "refined": None if self.refined is None else self.refined.to_dict(),
            "skipped": self.skipped,
            "next_command": self.next_command,
        }
