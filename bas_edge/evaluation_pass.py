"""One pass of an engine over many images; everything measured afterwards comes from its maps."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bas_edge.decoding import decoded_ahead, none_usable
from bas_edge.errors import InputError
from bas_edge.evaluation_report import SkippedImage
from bas_edge.images import read_image
from bas_edge.localizer import Localizer
from bas_edge.ten_crop import CENTRE, ten_crops

__all__ = ["ImagePass", "Predictions", "Seen", "predict"]

BATCH = 8
AHEAD = 2 * BATCH  # decoded frames held at most, whatever their number

_Decoded: TypeAlias = "tuple[NDArray[np.uint8], NDArray[np.uint8] | None]"  # frame, beside


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
        beside: M times what `ImagePass.check` returned.
    """

    kept: NDArray[np.intp]
    maps: NDArray[np.float32]
    scores: NDArray[np.float32]
    frame_sizes: tuple[tuple[int, int], ...]
    skipped: tuple[SkippedImage, ...]
    crop_scores: NDArray[np.float32] | None = None
    centre_maps: NDArray[np.float32] | None = None
    beside: tuple[NDArray[np.uint8] | None, ...] = ()

    @property
    def best_scores(self) -> NDArray[np.float32]:
        """[M] probability of the best class."""
        best: NDArray[np.float32] = self.scores.max(axis=1)
        return best


class _Found(NamedTuple):
    """Of one image; see `Predictions`."""

    foreground: NDArray[np.float32]
    scores: NDArray[np.float32]
    frame_size: tuple[int, int]
    beside: NDArray[np.uint8] | None
    crops: tuple[NDArray[np.float32], NDArray[np.float32]] | None


@dataclass(slots=True)
class Seen:
    """Some of the images of a pass, by index: what was found, or why it was skipped."""

    found: dict[int, _Found] = field(default_factory=dict)
    skipped: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.found) + len(self.skipped)

    def add(self, other: Seen) -> None:
        self.found |= other.found
        self.skipped |= other.skipped


@dataclass(frozen=True, slots=True)
class ImagePass:
    """Images that an engine is to run once each. Any process may run any part of them.

    They go through it in batches of `BATCH` neighbours, whoever runs them, as the last bits of what
    a network computes may depend on the batch.

    Attributes:
        paths: The N image files.
        check: Called, in a thread, with the index and the size (H, W) of each decoded image. What
            it returns is kept beside the image. An InputError that it raises has the image skipped.
        ten_crop: Also run ten crops of every image.
    """

    paths: tuple[Path, ...]
    check: Callable[[int, tuple[int, int]], NDArray[np.uint8] | None] | None = None
    ten_crop: bool = False

    def run(
        self, localizer: Localizer, rank: int = 0, size: int = 1
    ) -> Generator[Seen, None, None]:
        """Every `size`-th batch, from `rank` on. Memory holds a few frames, never all of them."""
        starts = range(rank * BATCH, len(self.paths), size * BATCH)
        batches = [range(at, min(at + BATCH, len(self.paths))) for at in starts]
        every = [index for batch in batches for index in batch]
        # An error here must stop the decoders too.
        with closing(decoded_ahead(every, self._decode, ahead=AHEAD)) as images:
            for batch in batches:
                seen, usable = Seen(), dict[int, _Decoded]()
                for index in batch:
                    decoded = next(images)
                    if isinstance(decoded, InputError):
                        seen.skipped[index] = str(decoded)
                    else:
                        usable[index] = decoded
                found = self._found(localizer, list(usable.values()))
                seen.found = dict(zip(usable, found, strict=True))
                yield seen

    def predictions(self, seen: Seen) -> Predictions:
        """All that was seen, in the order of the paths.

        Raises:
            InputError: Not one image could be used; the first reason is in the message.
        """
        kept = sorted(seen.found)
        skipped = [
            SkippedImage(path=str(self.paths[index]), reason=seen.skipped[index])
            for index in sorted(seen.skipped)
        ]
        if not kept:
            raise none_usable(len(self.paths), skipped[0].reason if skipped else None)
        found = [seen.found[index] for index in kept]
        crops = [one.crops for one in found if one.crops is not None]
        return Predictions(
            kept=np.array(kept, np.intp),
            maps=np.stack([one.foreground for one in found]),
            scores=np.stack([one.scores for one in found]),
            frame_sizes=tuple(one.frame_size for one in found),
            skipped=tuple(skipped),
            crop_scores=np.stack([scores for scores, _ in crops]) if self.ten_crop else None,
            centre_maps=np.stack([centre for _, centre in crops]) if self.ten_crop else None,
            beside=tuple(one.beside for one in found),
        )

    def _decode(self, index: int) -> _Decoded:
        frame = read_image(self.paths[index])
        return frame, None if self.check is None else self.check(index, frame.shape[:2])

    def _found(self, localizer: Localizer, decoded: Sequence[_Decoded]) -> list[_Found]:
        results = localizer.run_batch([frame for frame, _ in decoded])
        return [
            _Found(
                one.map,
                one.scores,
                one.frame_size,
                beside,
                _ten_crop(localizer, frame) if self.ten_crop else None,
            )
            for one, (frame, beside) in zip(results, decoded, strict=True)
        ]


def _ten_crop(
    localizer: Localizer, frame: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean scores of ten crops, and the map of the one in the centre."""
    crops = localizer.run_batch(ten_crops(frame, localizer.manifest.input))
    mean: NDArray[np.float32] = np.mean([one.scores for one in crops], axis=0, dtype=np.float32)
    return mean, crops[CENTRE].map


def predict(
    localizer: Localizer,
    paths: Sequence[Path],
    *,
    check: Callable[[int, tuple[int, int]], NDArray[np.uint8] | None] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Predictions:
    """Run every image once, in this process.

    Args:
        localizer: The open engine.
        paths: The N image files.
        check: As of `ImagePass`.
        advance: Called for each image, skipped or not.

    Raises:
        InputError: Not one image could be used; the first reason is in the message.
    """
    images, seen = ImagePass(tuple(paths), check), Seen()
    for part in images.run(localizer):
        seen.add(part)
        for _ in range(len(part)):
            advance()
    return images.predictions(seen)
