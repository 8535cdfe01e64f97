"""The class score under which a frame counts as showing no object; no box is needed."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError

__all__ = ["MinScore", "choose_min_score", "score_rates"]


class MinScore(msgspec.Struct, frozen=True, kw_only=True):
    """A chosen minimum score and what it does.

    Attributes:
        value: Scores below this mean "nothing here". 0 keeps everything.
        object_rate: Percent of the images with an object that are kept.
        false_positive_rate: Percent of the background images that are kept; None without any.
    """

    value: float
    object_rate: float
    false_positive_rate: float | None


def choose_min_score(
    objects: NDArray[Any], background: NDArray[Any] | None = None, *, keep: float = 0.95
) -> MinScore:
    """The minimum score that tells objects from background best and still keeps most objects.

    With background images it maximises the kept share of objects minus the kept share of
    background, among the values that keep at least `keep` of the objects; of equal ones, the
    highest. Without, it is the highest value that keeps that many. The value lies halfway
    between the lowest score that it keeps and the highest that it rejects, so that a score's
    last bits, which differ between backends, do not matter.

    Args:
        objects: [N] softmax probabilities of the predicted class, images with an object.
        background: [M] the same for images without one; None or empty when there are none.
        keep: Share of the objects to keep at least, 0 to 1.

    Raises:
        InputError: There are no object scores, one is not in 0..1, or `keep` is not.

    Example:
        choose_min_score([0.4, 0.8, 0.9], [0.2, 0.3])  ->  value 0.35
    """
    kept = np.sort(_checked(objects, "object"))
    others = np.sort(_checked(background if background is not None else [], "background"))
    if len(kept) == 0:
        raise InputError(
            "min_score needs the scores of at least one image with an object.",
            hint="Give images of the trained classes.",
        )
    if not 0 <= keep <= 1:
        raise InputError(f"keep is {keep}; it must lie in 0..1.", hint="0.95 keeps 95 %.")
    allowed = len(kept) - int(np.ceil(keep * len(kept) - 1e-9))  # objects that may be lost
    candidates = kept[: min(allowed, len(kept) - 1) + 1]  # lowest kept score, ascending
    if len(others):
        true_rate = 1 - np.searchsorted(kept, candidates, side="left") / len(kept)
        false_rate = 1 - np.searchsorted(others, candidates, side="left") / len(others)
        gain = true_rate - false_rate
        lowest_kept = float(candidates[np.flatnonzero(gain == gain.max())[-1]])
    else:
        lowest_kept = float(candidates[-1])
    return score_rates(_halfway_below(lowest_kept, kept, others), kept, others)


def score_rates(
    value: float, objects: NDArray[Any], background: NDArray[Any] | None = None
) -> MinScore:
    """What the minimum score `value` keeps of scores [N] and background scores [M]."""
    kept = np.asarray(objects, np.float64)
    others = np.asarray(background if background is not None else [], np.float64)
    return MinScore(
        value=value,
        object_rate=float(100 * (kept >= value).mean()),
        false_positive_rate=float(100 * (others >= value).mean()) if len(others) else None,
    )


def _halfway_below(
    lowest_kept: float, objects: NDArray[np.float64], background: NDArray[np.float64]
) -> float:
    """Between a kept score and the next lower one of either kind; 0 when nothing is rejected."""
    rejected = np.concatenate([objects, background])
    rejected = rejected[rejected < lowest_kept]
    if len(rejected) == 0:
        return 0.0
    highest = float(rejected.max())
    middle = highest + (lowest_kept - highest) / 2
    return middle if middle > highest else lowest_kept  # neighbours in floating point


def _checked(scores: Any, name: str) -> NDArray[np.float64]:
    array = np.asarray(scores, np.float64).ravel()
    if len(array) and not (array.min() >= 0 and array.max() <= 1):  # NaN fails too
        raise InputError(
            f"The {name} scores reach from {array.min()} to {array.max()}, not within 0..1.",
            hint="Give softmax probabilities, not logits.",
        )
    return array
