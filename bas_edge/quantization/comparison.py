"""Two forms of one network on the same images: how far apart are maps, boxes and classes?"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bas_edge.engine.manifest import Manifest
from bas_edge.engine.stages import IouSummary, Stage
from bas_edge.errors import InputError
from bas_edge.foreground import foreground_maps
from bas_edge.framing import Placement, place
from bas_edge.metrics.bas_protocol import BasProtocol
from bas_edge.metrics.frame_layout import FrameLayout
from bas_edge.metrics.iou import aligned_iou
from bas_edge.overlay import heat_on_frame, seen_on_frame
from bas_edge.quantization.report import ImageComparison
from bas_edge.quantization.statistics import Frames

__all__ = ["WORST_IMAGES", "Comparison", "Run", "compare", "seen_jpeg", "summarize_ious"]

WORST_IMAGES = 12
_HISTOGRAM_STEPS = 20
_SEEN_SIDE, _SEEN_QUALITY = 320, 85


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What one form of the network said about M images.

    Attributes:
        maps: [M, h, w] float32 foreground, unnormalised.
        scores: [M, C] float32 logits or probabilities; only their order matters.
    """

    maps: NDArray[np.float32]
    scores: NDArray[np.float32]

    @classmethod
    def of_outputs(cls, outputs: Mapping[str, NDArray[Any]], manifest: Manifest) -> Run:
        """From the outputs of a graph that `manifest` describes, for M images.

        Raises:
            InputError: A map or a score is not finite.
        """
        foreground = foreground_maps(outputs, manifest.maps, manifest.top_k)
        return cls(foreground, outputs["logits"])

    @classmethod
    def joined(cls, parts: Sequence[Run]) -> Run:
        """All images of the parts, in their order."""
        return cls(
            np.concatenate([part.maps for part in parts]),
            np.concatenate([part.scores for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.maps)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A candidate beside its reference on M images.

    Attributes:
        reference, candidate: What both said.
        frame_sizes: M times (H, W) of the original frames.
        manifest: Whose input policy, threshold and class names apply to both.
        boxes_reference, boxes: [M, 4] float64 xyxy, half-open, in pixels of the original
            frames: what `Localizer` returns, except that `min_score` is not looked at.
        ious: [M] float64, of the two boxes.
        same_label: [M] bool, whether both have the same best class.
    """

    reference: Run
    candidate: Run
    frame_sizes: tuple[tuple[int, int], ...]
    manifest: Manifest
    boxes_reference: NDArray[np.float64]
    boxes: NDArray[np.float64]
    ious: NDArray[np.float64]
    same_label: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ious)

    @property
    def label_agreement(self) -> float:
        """Percent of images with the same best class; 100 of no image."""
        return float(self.same_label.mean() * 100) if len(self) else 100.0

    def stage(
        self,
        name: str,
        against: str,
        *,
        size_bytes: int = 0,
        latency_ms: float | None = None,
        note: str = "",
    ) -> Stage:
        """The candidate as stage `name` of the report, compared with stage `against`."""
        errors = np.abs(self.candidate.maps.astype(np.float64) - self.reference.maps)
        return Stage(
            name=name,
            against=against,
            images=len(self),
            max_abs_error=float(errors.max(initial=0.0)),
            mean_abs_error=float(errors.mean()) if errors.size else 0.0,
            box_iou=summarize_ious(self.ious),
            label_agreement=self.label_agreement,
            size_bytes=size_bytes,
            latency_ms=latency_ms,
            note=note,
        )

    def worst(
        self,
        paths: Sequence[object],
        *,
        frames: Frames | None = None,
        count: int = WORST_IMAGES,
    ) -> tuple[ImageComparison, ...]:
        """The images whose boxes moved most, the worst first; those that did not are left out.

        Args:
            paths: M image files, or frames of a video by their number, in the order of the runs.
            frames: The same M at network size. Given where `paths` are no files, so that a reader
                still sees them.
            count: Images at most.
        """
        order = np.argsort(self.ious, kind="stable")[:count]
        return tuple(self._image(int(n), str(paths[n]), frames) for n in order if self.ious[n] < 1)

    def _image(self, n: int, path: str, frames: Frames | None) -> ImageComparison:
        before, after = self.reference.maps[n], self.candidate.maps[n]
        placement = place(self.frame_sizes[n], self.manifest.input)
        limits = (float(before.min()), float(before.max()))
        classes = self.manifest.classes
        height, width = before.shape
        return ImageComparison(
            path=path,
            iou=float(self.ious[n]),
            box_reference=_corners(self.boxes_reference[n]),
            box=_corners(self.boxes[n]),
            label_reference=classes[int(self.reference.scores[n].argmax())],
            label=classes[int(self.candidate.scores[n].argmax())],
            heat_reference=heat_on_frame(before, placement, limits).tobytes(),
            heat=heat_on_frame(after, placement, limits).tobytes(),
            heat_size=(height, width),
            seen=b"" if frames is None else seen_jpeg(frames, n, placement),
            seen_size=(0, 0) if frames is None else self.frame_sizes[n],
        )


def compare(
    reference: Run,
    candidate: Run,
    frame_sizes: Sequence[tuple[int, int]],
    manifest: Manifest,
) -> Comparison:
    """Box both runs as the runtime does, and compare.

    Args:
        reference: Of M images.
        candidate: Of the same images in the same order.
        frame_sizes: M times (H, W) of the original frames.
        manifest: Gives input size, resize policy, threshold and class names.

    Raises:
        InputError: The two runs are not of the same images and classes, or a map holds NaN
            or infinite values.
    """
    got = (candidate.maps.shape, candidate.scores.shape, len(frame_sizes))
    wanted = (reference.maps.shape, reference.scores.shape, len(reference))
    if got != wanted:
        raise InputError(
            f"Two runs cannot be compared: maps {got[0]}, scores {got[1]} and {got[2]} frame "
            f"sizes, beside maps {wanted[0]} and scores {wanted[1]}."
        )
    frames = FrameLayout.of_frames(frame_sizes, manifest.input)
    runtime = BasProtocol((manifest.input.height, manifest.input.width))
    cut = manifest.threshold
    before, after = (
        runtime.boxes(run.maps, frames, cut.value, cut.rule) for run in (reference, candidate)
    )
    return Comparison(
        reference=reference,
        candidate=candidate,
        frame_sizes=tuple(frame_sizes),
        manifest=manifest,
        boxes_reference=before,
        boxes=after,
        ious=aligned_iou(before, after),
        same_label=reference.scores.argmax(axis=1) == candidate.scores.argmax(axis=1),
    )


def summarize_ious(ious: NDArray[np.float64]) -> IouSummary | None:
    """Mean, smallest, 5th percentile and histogram of IoUs [M]; None of no image.

    The percentile lies between two images where it falls between them, linearly.
    """
    if not len(ious):
        return None
    steps = np.minimum((ious * _HISTOGRAM_STEPS).astype(np.intp), _HISTOGRAM_STEPS - 1)
    histogram = np.bincount(steps, minlength=_HISTOGRAM_STEPS)
    return IouSummary(
        mean=float(ious.mean()),
        smallest=float(ious.min()),
        percentile_5=float(np.percentile(ious, 5)),
        histogram=tuple(histogram.tolist()),
    )


def seen_jpeg(frames: Frames, n: int, placement: Placement) -> bytes:
    """JPEG of frame `n` as the network saw it."""
    (pixels,) = frames.read(n, n + 1)
    stream = io.BytesIO()
    shown = seen_on_frame(pixels, placement, longest=_SEEN_SIDE)
    Image.fromarray(shown).save(stream, "JPEG", quality=_SEEN_QUALITY)
    return stream.getvalue()


def _corners(box: NDArray[np.float64]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box.tolist()
    return (x0, y0, x1, y1)
