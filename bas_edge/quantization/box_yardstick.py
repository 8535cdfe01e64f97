"""What a localizer of reduced precision is measured with: its boxes, and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.manifest import Manifest
from bas_edge.engine.opened import opened
from bas_edge.engine.stages import Stage
from bas_edge.metrics.bas_protocol import BasProtocol
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.localization import label_rank
from bas_edge.metrics.max_box_acc import max_box_acc_v2
from bas_edge.metrics.protocols import IOU_LEVELS, THRESHOLDS
from bas_edge.quantization.comparison import Comparison, Run, compare
from bas_edge.quantization.report import BoundCheck
from bas_edge.quantization.statistics import Frames
from bas_edge.quantization.yardstick import Bound, OutputErrors, WorstImages, standard_error
from bas_edge.runner import softmax

__all__ = ["BoxYardstick", "MeasuredBoxes"]

_BATCH = 8
_MISSED = 4.0  # times max_drop: scores near min_score flip at the least change, both ways


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredBoxes:
    """What one graph said about all images.

    Attributes:
        objects: About the images with an object; scores are logits.
        background: [B] probability of the best class on background images.
        correct: [M, L] bool, per image whether its box is right at each IoU level of MaxBoxAccV2,
            at that level's best cut, so that its mean is MaxBoxAccV2. Without boxes, [M, 0].
        located: [M] bool, whether class and box are right at the shipped threshold.
    """

    objects: Run
    background: NDArray[np.float32]
    correct: NDArray[np.bool_]
    located: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class BoxYardstick:
    """Images, and what is true of them.

    Attributes:
        manifest: Input, threshold, `min_score` and the form of the maps.
        frames: M frames with an object, at network size.
        frame_sizes: M times (H, W) of the originals.
        names: M paths, or a frame of a video by its number.
        from_video: Whether the names are no files.
        truth, labels: Boxes and labels [M] of the frames; None where they are not known.
        background: Frames without any object; None where there are none.
        bound: What the figures are held to.
        threads: Of ONNX Runtime.
    """

    manifest: Manifest
    frames: Frames
    frame_sizes: tuple[tuple[int, int], ...]
    names: Sequence[str]
    bound: Bound
    truth: GroundTruth | None = None
    labels: NDArray[np.int64] | None = None
    background: Frames | None = None
    threads: int | None = None
    from_video: bool = False
    _judge: BasProtocol = field(init=False)

    def __post_init__(self) -> None:
        policy = self.manifest.input
        object.__setattr__(self, "_judge", BasProtocol((policy.height, policy.width)))

    def measure(self, model: bytes, *, literal: bool) -> MeasuredBoxes:
        """Run a graph on all images; `literal` is for TensorRT's rounding.

        Raises:
            BackendError: ONNX Runtime refuses the graph.
            InputError: A map or a score is not finite.
        """
        with opened(model, threads=self.threads, literal=literal) as backend:

            def run(frames: Frames) -> Run:
                return Run.joined(
                    [
                        Run.of_outputs(backend.run({INPUT_NAME: batch}), self.manifest)
                        for batch in frames.batches(_BATCH)
                    ]
                )

            objects = run(self.frames)
            background = None if self.background is None else run(self.background)
        return self.judge(objects, background)

    def judge(self, objects: Run, background: Run | None) -> MeasuredBoxes:
        """What is right and wrong in what a graph said about all images.

        Args:
            objects: About `frames`; scores are logits, but for a constant per image.
            background: About the frames of that name; None where there are none.
        """
        best = np.zeros(0, np.float32)
        if background is not None:
            best = softmax(background.scores).max(axis=1)
        correct = np.zeros((len(objects), 0), np.bool_)
        located = np.zeros(len(objects), np.bool_)
        if self.truth is not None and self.labels is not None:
            sweep = self._judge.sweep(objects.maps, self.truth, THRESHOLDS)
            score = max_box_acc_v2(sweep, THRESHOLDS, self._judge)
            levels = []
            for level in IOU_LEVELS:
                at = int(np.flatnonzero(score.by_iou[str(level)].threshold == THRESHOLDS)[0])
                levels.append(self._judge.correct(sweep.best[at], level))
            correct = np.stack(levels, axis=1)
            cut = self.manifest.threshold
            ious = self._judge.ious(objects.maps, self.truth, cut.value, cut.rule).largest
            first = label_rank(objects.scores, self.labels) < 1
            located = self._judge.correct(ious, 0.5) & first
        return MeasuredBoxes(objects, best, correct, located)

    def compare(self, reference: MeasuredBoxes, candidate: MeasuredBoxes) -> Comparison:
        """Maps, boxes and classes of both."""
        return compare(reference.objects, candidate.objects, self.frame_sizes, self.manifest)

    @property
    def _agreed(self) -> float:
        return self.bound.agreement("localization")

    @property
    def has_truth(self) -> bool:
        return self.truth is not None

    @property
    def accuracies(self) -> tuple[str, ...]:
        return ("MaxBoxAccV2", "Top-1 Loc")

    @property
    def protocol(self) -> str:
        return "bas"

    def errors(self, reference: MeasuredBoxes, candidate: MeasuredBoxes) -> OutputErrors:
        """See `Yardstick`."""
        before, after = reference.objects, candidate.objects
        spread = float(before.scores.std())
        noise = float(np.sqrt(np.mean((after.scores - before.scores) ** 2, dtype=np.float64)))
        return OutputErrors(
            maps=float(np.abs(after.maps - before.maps).mean(dtype=np.float64)),
            logits=noise / spread if spread > 0 else 0.0,
        )

    def stage(
        self,
        reference: MeasuredBoxes,
        candidate: MeasuredBoxes,
        name: str,
        against: str,
        **facts: Any,
    ) -> Stage:
        """See `Yardstick`."""
        return self.compare(reference, candidate).stage(name, against, **facts)

    def worst(self, reference: MeasuredBoxes, candidate: MeasuredBoxes) -> WorstImages:
        """The images whose boxes moved most."""
        both = self.compare(reference, candidate)
        frames = self.frames if self.from_video else None
        return WorstImages(boxes=both.worst(self.names, frames=frames))

    def checks(self, reference: MeasuredBoxes, candidate: MeasuredBoxes) -> tuple[BoundCheck, ...]:
        """The bound's figures of a candidate beside float32."""
        if self.truth is not None and self.labels is not None:
            found = [
                _drop(
                    "MaxBoxAccV2",
                    reference.correct.mean(axis=1),
                    candidate.correct.mean(axis=1),
                    self.bound.max_drop,
                ),
                _drop("Top-1 Loc", reference.located, candidate.located, self.bound.max_drop),
            ]
            rise = self.bound.max_drop
            missed = _MISSED * rise
        else:
            found = self._agreement(reference, candidate)
            rise = missed = 100 * (1 - self._agreed)
        least = self.manifest.min_score
        if least > 0:
            before, after = (
                softmax(one.objects.scores).max(axis=1) >= least for one in (reference, candidate)
            )
            found.append(_drop("objects found at min_score", before, after, missed))
        if least > 0 and len(reference.background):
            found.append(
                _drop(
                    "false positives on background",
                    candidate.background >= least,
                    reference.background >= least,
                    rise,
                    swapped=True,
                )
            )
        return tuple(found)

    def _agreement(self, reference: MeasuredBoxes, candidate: MeasuredBoxes) -> list[BoundCheck]:
        both = self.compare(reference, candidate)
        allowed = 1 - self._agreed
        return [
            BoundCheck(
                metric="box IoU with float32",
                reference=None,
                value=float(both.ious.mean()),
                loss=float(1 - both.ious.mean()),
                limit=allowed,
                standard_error=standard_error(both.ious),
                unit="IoU",
            ),
            BoundCheck(
                metric="same class as float32",
                reference=None,
                value=both.label_agreement,
                loss=100 - both.label_agreement,
                limit=100 * allowed,
                standard_error=standard_error(both.same_label * 100.0),
            ),
        ]

    @property
    def description(self) -> str:
        """The bound in words."""
        if self.truth is not None:
            return (
                f"at most {self.bound.max_drop:g} points of MaxBoxAccV2 and Top-1 Loc "
                f"on {len(self.frames)} images with boxes"
            )
        return (
            f"box IoU and class agreement with float32 of at least {self._agreed:g} "
            f"on {len(self.frames)} images"
        )


def _drop(
    metric: str,
    before: NDArray[Any],
    after: NDArray[Any],
    limit: float,
    *,
    swapped: bool = False,
) -> BoundCheck:
    """The mean of `before` [M] minus that of `after`, in points.

    `swapped`: lower is better, and the arguments were exchanged, so that `after` is float32's.
    """
    first, second = before.astype(np.float64) * 100, after.astype(np.float64) * 100
    reference, value = (second, first) if swapped else (first, second)
    return BoundCheck(
        metric=metric,
        reference=float(reference.mean()),
        value=float(value.mean()),
        loss=float(first.mean() - second.mean()),
        limit=limit,
        standard_error=standard_error(first - second),
    )
