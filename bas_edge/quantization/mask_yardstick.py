"""What a segmenter of reduced precision is measured with: its masks."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bas_edge.backends import Backend
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.manifest import Manifest
from bas_edge.engine.opened import opened
from bas_edge.engine.stages import Stage
from bas_edge.errors import InputError
from bas_edge.framing import Placement, place
from bas_edge.quantization.comparison import WORST_IMAGES, seen_jpeg, summarize_ious
from bas_edge.quantization.frame_source import spread
from bas_edge.quantization.overlaps import Overlaps, standard_error_of_loss
from bas_edge.quantization.report import BoundCheck, MaskComparison
from bas_edge.quantization.statistics import Frames
from bas_edge.quantization.yardstick import Bound, OutputErrors, WorstImages
from bas_edge.segmentation.image_set import MaskSource
from bas_edge.segmenter import masks_of_network

__all__ = ["MaskYardstick", "MeasuredMasks"]

_BATCH = 8
_SCORED = 32  # images whose scores are kept, to compare them number by number
_SHOWN_SIDE = 320


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredMasks:
    """What one graph said about M images.

    Attributes:
        masks: M times the mask at network size, [h, w] uint8, packed.
        truth: Its overlaps with the true masks, at the size of the original images; None where
            they are not known.
        scores: [S, 1 + C, cells, cells] float32 of a few images, at even distances.
    """

    masks: tuple[bytes, ...]
    truth: Overlaps | None
    scores: NDArray[np.float32]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """[S, 1 + C, cells, cells]: softmax of the scores over the classes."""
        powers = np.exp(self.scores.astype(np.float64) - self.scores.max(axis=1, keepdims=True))
        found: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class MaskYardstick:
    """Images, and the true masks of them; see `Yardstick`.

    Attributes:
        manifest: Input and classes.
        frames: M frames at network size.
        frame_sizes: M times (H, W) of the originals.
        names: M paths, or a frame of a video by its number.
        from_video: Whether the names are no files.
        truth: M true masks, of the originals' sizes; None where they are not known.
        bound: What the figures are held to.
        threads: Of ONNX Runtime.
    """

    manifest: Manifest
    frames: Frames
    frame_sizes: tuple[tuple[int, int], ...]
    names: Sequence[str]
    bound: Bound
    truth: Sequence[MaskSource] | None = None
    threads: int | None = None
    from_video: bool = False

    @property
    def has_truth(self) -> bool:
        return self.truth is not None

    @property
    def accuracies(self) -> tuple[str, ...]:
        return ("mIoU",)

    @property
    def protocol(self) -> str:
        return "voc"

    @property
    def description(self) -> str:
        """The bound in words."""
        count = len(self.frames)
        if self.truth is not None:
            return f"at most {self.bound.max_drop:g} points of mIoU on {count} images with masks"
        least = self.bound.agreement("segmentation")
        return f"mIoU with the masks of float32 of at least {least:g} on {count} images"

    def measure(self, model: bytes, *, literal: bool) -> MeasuredMasks:
        """See `Yardstick`."""
        with opened(model, threads=self.threads, literal=literal) as backend:
            return self.run(backend)

    def run(
        self,
        backend: Backend,
        *,
        batch: int = _BATCH,
        progress: Callable[[int, int], None] | None = None,
    ) -> MeasuredMasks:
        """What a loaded engine says about all images, `batch` of them in one run.

        Raises:
            BackendError: It failed, or a score is not finite.
            InputError: A true mask cannot be read any more, or no pixel of any counts.
        """
        count = len(self.frames)
        scored = set(spread(count, _SCORED))
        masks: list[bytes] = []
        kept: list[NDArray[np.float32]] = []

        def pairs() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
            """(true mask, mask) of each image; none where the first is not known."""
            for frames in self.frames.batches(batch, progress):
                scores = backend.run({INPUT_NAME: frames})["scores"]
                for mask, own in zip(self._masks(scores), scores, strict=True):
                    n = len(masks)
                    masks.append(zlib.compress(mask.data, 1))
                    if n in scored:
                        kept.append(own.copy())  # not the whole batch
                    if self.truth is not None:
                        yield self.truth[n].read(), self._placement(n).mask_to_frame(mask)

        overlaps = Overlaps.of(pairs(), self.manifest.classes)
        if self.truth is not None and not overlaps.counted.any():
            raise InputError(
                f"No pixel of the {count} true masks counts: all are 255.",
                hint="Name other images to measure on: --eval DATA",
            )
        return MeasuredMasks(tuple(masks), None if self.truth is None else overlaps, np.stack(kept))

    def checks(self, reference: MeasuredMasks, candidate: MeasuredMasks) -> tuple[BoundCheck, ...]:
        """See `Yardstick`."""
        if reference.truth is not None and candidate.truth is not None:
            before, after = reference.truth, candidate.truth
            lost = 100 * (before.miou_without_each - after.miou_without_each)
            return (
                BoundCheck(
                    metric="mIoU",
                    reference=100 * before.miou,
                    value=100 * after.miou,
                    loss=100 * (before.miou - after.miou),
                    limit=self.bound.max_drop,
                    standard_error=standard_error_of_loss(lost),
                ),
            )
        both = self._agreement(reference, candidate)
        return (
            BoundCheck(
                metric="mIoU with float32",
                reference=None,
                value=both.miou,
                loss=1 - both.miou,
                limit=1 - self.bound.agreement("segmentation"),
                standard_error=standard_error_of_loss(both.miou_without_each),
                unit="IoU",
            ),
        )

    def errors(self, reference: MeasuredMasks, candidate: MeasuredMasks) -> OutputErrors:
        """See `Yardstick`."""
        spread_of = float(reference.scores.std(dtype=np.float64))
        noise = float(
            np.sqrt(((candidate.scores - reference.scores).astype(np.float64) ** 2).mean())
        )
        moved = np.abs(candidate.probabilities - reference.probabilities)
        return OutputErrors(
            maps=float(moved.mean()), logits=noise / spread_of if spread_of > 0 else 0.0
        )

    def stage(
        self,
        reference: MeasuredMasks,
        candidate: MeasuredMasks,
        name: str,
        against: str,
        **facts: Any,
    ) -> Stage:
        """See `Yardstick`."""
        moved = np.abs(candidate.probabilities - reference.probabilities)
        both = self._agreement(reference, candidate)
        return Stage(
            name=name,
            against=against,
            images=len(self.frames),
            max_abs_error=float(moved.max()),
            mean_abs_error=float(moved.mean()),
            mask_iou=summarize_ious(both.miou_of_each),
            label_agreement=100 * both.same,
            **facts,
        )

    def worst(self, reference: MeasuredMasks, candidate: MeasuredMasks) -> WorstImages:
        """The images whose masks changed most; those that did not are left out."""
        ious = self._agreement(reference, candidate).miou_of_each
        order = np.argsort(ious, kind="stable")[:WORST_IMAGES]
        return WorstImages(
            masks=tuple(
                self._compared(int(n), float(ious[n]), reference, candidate)
                for n in order
                if ious[n] < 1
            )
        )

    def _compared(
        self, n: int, iou: float, reference: MeasuredMasks, candidate: MeasuredMasks
    ) -> MaskComparison:
        placement = self._placement(n)
        before, after = (
            placement.mask_to_frame(self._unpacked(one.masks[n])) for one in (reference, candidate)
        )
        return MaskComparison(
            path=str(self.names[n]),
            iou=iou,
            mask_reference=_small_png(before),
            mask=_small_png(after),
            classes_reference=self._names_in(before),
            classes=self._names_in(after),
            seen=seen_jpeg(self.frames, n, placement) if self.from_video else b"",
            seen_size=self.frame_sizes[n] if self.from_video else (0, 0),
        )

    def _agreement(self, reference: MeasuredMasks, candidate: MeasuredMasks) -> Overlaps:
        """Of both graphs' masks, at the network's size, where it is shown the frame."""

        def pairs() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
            for n, (one, other) in enumerate(zip(reference.masks, candidate.masks, strict=True)):
                left, top, right, bottom = self._placement(n).target
                shown = np.s_[top:bottom, left:right]
                yield self._unpacked(one)[shown], self._unpacked(other)[shown]

        return Overlaps.of(pairs(), self.manifest.classes)

    def _masks(self, scores: NDArray[np.float32]) -> NDArray[np.uint8]:
        """[N, 1 + C, cells, cells] -> [N, h, w], by the arithmetic of `Segmenter`."""
        policy = self.manifest.input
        return masks_of_network(scores, (policy.height, policy.width)).masks

    def _unpacked(self, packed: bytes) -> NDArray[np.uint8]:
        policy = self.manifest.input
        return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(policy.height, policy.width)

    def _placement(self, n: int) -> Placement:
        return place(self.frame_sizes[n], self.manifest.input)

    def _names_in(self, mask: NDArray[np.uint8]) -> tuple[str, ...]:
        """Its classes, in their own order."""
        return tuple(self.manifest.classes[value - 1] for value in np.unique(mask) if value)


def _small_png(mask: NDArray[np.uint8]) -> bytes:
    """Of a mask [H, W], whose longest side becomes at most `_SHOWN_SIDE`."""
    image = Image.fromarray(mask)
    image.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
