"""One pass of an engine over many images; everything measured afterwards comes from its maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.decoding import decoded_ahead, none_usable
from bas_edge.errors import InputError
from bas_edge.evaluation_report import SkippedImage
from bas_edge.images import read_image
from bas_edge.localizer import Localizer
from bas_edge.ten_crop import CENTRE, ten_crops

__all__ = ["Predictions", "predict"]

BATCH = 8
AHEAD = 2 * BATCH  # decoded frames held at most, whatever their number


@dataclass(frozen=True, slots=True)
class Predictions:
    """What the engine said about the M images that could be read, out of N.

    Attributes:
        kept: [M] indices of those images.
        maps: [M, h, w] float32 foreground, unnormalised.
        scores: [M, C] float32 softmax probabilities.
        crop_scores: [M, C] float32, the mean of those of ten crops; None unless asked for.
        centre_maps: [M, h, w] float32, of the crop in the centre; None unless asked for.
        frame_sizes: M times (H, W).
        skipped: The other images.
    """

    kept: NDArray[np.intp]
    maps: NDArray[np.float32]
    scores: NDArray[np.float32]
    frame_sizes: tuple[tuple[int, int], ...]
    skipped: tuple[SkippedImage, ...]
    crop_scores: NDArray[np.float32] | None = None
    centre_maps: NDArray[np.float32] | None = None

    @property
    def best_scores(self) -> NDArray[np.float32]:
        """[M] probability of the best class."""
        best: NDArray[np.float32] = self.scores.max(axis=1)
        return best


def predict(
    localizer: Localizer,
    paths: Sequence[Path],
    *,
    unusable: Callable[[int, tuple[int, int]], str | None] | None = None,
    ten_crop: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> Predictions:
    """Run every image once. Memory holds the maps and a few frames, never all frames.

    Args:
        localizer: The open engine.
        paths: The N image files.
        unusable: Called, in a thread, with the index and the size (H, W) of each decoded image;
            returns a sentence that says why it must be skipped, or None. An InputError
            that it raises does the same.
        ten_crop: Also run ten crops of every image.
        advance: Called after each image, skipped or not.

    Raises:
        InputError: Not one image could be used; the first reason is in the message.
    """
    results: list[tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int]]] = []
    kept: list[int] = []
    skipped: list[SkippedImage] = []
    waiting: list[tuple[int, NDArray[np.uint8]]] = []
    of_crops: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []

    def run_waiting() -> None:
        results.extend(
            (one.map, one.scores, one.frame_size)
            for one in localizer.run_batch([frame for _, frame in waiting])
        )
        for _, frame in waiting if ten_crop else ():
            crops = localizer.run_batch(ten_crops(frame, localizer.manifest.input))
            mean: NDArray[np.float32] = np.mean(
                [one.scores for one in crops], axis=0, dtype=np.float32
            )
            of_crops.append((mean, crops[CENTRE].map))
        kept.extend(index for index, _ in waiting)
        for _ in waiting:
            advance()
        waiting.clear()

    def decode(index: int) -> NDArray[np.uint8]:
        frame = read_image(paths[index])
        if unusable is not None and (reason := unusable(index, frame.shape[:2])) is not None:
            raise InputError(reason)
        return frame

    # An error here must stop the decoders too.
    with closing(decoded_ahead(range(len(paths)), decode, ahead=AHEAD)) as images:
        for index, frame in enumerate(images):
            if isinstance(frame, InputError):
                skipped.append(SkippedImage(path=str(paths[index]), reason=str(frame)))
                advance()
                continue
            waiting.append((index, frame))
            if len(waiting) == BATCH:
                run_waiting()
    run_waiting()
    if not results:
        raise none_usable(len(paths), skipped[0].reason if skipped else None)
    return Predictions(
        kept=np.array(kept, np.intp),
        maps=np.stack([one[0] for one in results]),
        scores=np.stack([one[1] for one in results]),
        frame_sizes=tuple(one[2] for one in results),
        skipped=tuple(skipped),
        crop_scores=np.stack([scores for scores, _ in of_crops]) if ten_crop else None,
        centre_maps=np.stack([one for _, one in of_crops]) if ten_crop else None,
    )
