"""The runtime: frame → resize → network → box."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.backends import Backend, open_backend
from bas_edge.engine.bundle import Engine, open_engine
from bas_edge.engine.contract import INPUT_NAME, check_graph
from bas_edge.engine.manifest import Manifest, ThresholdPolicy
from bas_edge.errors import BackendError, InputError
from bas_edge.frames import Frame, checked_frame
from bas_edge.framing import InputMask, Placement, frame_to_input, place
from bas_edge.ops import aggregate_maps, maps_to_boxes
from bas_edge.results import Box, ColorOrder, Localization, Timing, check_color

__all__ = ["Localizer"]

_MAX_BATCH = 8  # frames that go through the network together; more only costs memory on a CPU


class Localizer:
    """A loaded engine that finds the main object of a frame.

    Thread-safety: every method may be called from any thread; calls on one Localizer run one
    after another. For calls that run side by side give each thread its own `clone()`, which
    shares the weights.

    Example:
        with Localizer("birds.engine") as localizer:
            result = localizer.run(cv2.imread("bird.jpg"), color="bgr")
            print(result.class_name, result.box)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        backend: str = "auto",
        threads: int | None = None,
        threshold: float | ThresholdPolicy | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
        max_boxes: int = 1,
    ) -> None:
        """Open an engine bundle, or a bare `.onnx` file with bas-edge metadata.

        Args:
            path: The bundle's folder or the file. A bundle's hashes are checked.
            backend: "auto", or one of `bas_edge.backends.backend_names()`.
            threads: CPU threads of the network; None lets the backend choose.
            threshold: A fraction of each map's range (0 to 1), or a ThresholdPolicy; None takes
                the engine's own, which is what its accuracy was measured with.
            top_k: How many class maps are averaged, at most the engine's `k`; None takes
                the engine's own. An engine with maps "mean" has nothing to choose.
            min_score: `found` is False below this class score; None takes the engine's own.
            max_boxes: Also return up to this many boxes, largest first.

        Raises:
            InputError: An argument is out of range, or there is nothing at `path`.
            EngineError: The engine is damaged, of another version, or breaks the graph contract.
            BackendError: The backend is not in this version, or refuses the graph.
        """
        engine: Engine = open_engine(path)
        manifest = engine.manifest
        self._manifest = manifest
        self._threshold = _threshold_policy(threshold, manifest)
        self._top_k = _top_k(top_k, manifest)
        self._min_score = _min_score(min_score, manifest)
        if max_boxes < 1:
            raise InputError(f"max_boxes is {max_boxes}, but must be at least 1.")
        self._max_boxes = max_boxes
        opened = open_backend(backend, engine.model_path, threads=threads)
        try:
            check_graph(opened.inputs, opened.outputs, manifest)
        except BaseException:
            opened.close()
            raise
        self._start(opened)

    def _start(self, backend: Backend) -> None:
        """Take what no other Localizer may share: the backend, the lock and the buffer."""
        policy = self._manifest.input
        self._backend: Backend | None = backend
        self._backend_name = backend.name
        self._lock = threading.Lock()
        self._batch = np.empty((_MAX_BATCH, policy.height, policy.width, 3), np.uint8)

    @property
    def manifest(self) -> Manifest:
        """What the engine says about itself; options given here do not change it."""
        return self._manifest

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; `Localization.label` is an index into them."""
        return self._manifest.classes

    @property
    def threshold(self) -> ThresholdPolicy:
        """The threshold in use."""
        return self._threshold

    @property
    def top_k(self) -> int:
        """How many class maps are averaged."""
        return self._top_k

    @property
    def min_score(self) -> float:
        """The class score below which `found` is False."""
        return self._min_score

    @property
    def backend_name(self) -> str:
        """The backend in use, such as "onnxruntime"; never "auto"."""
        return self._backend_name

    def run(self, frame: Frame, *, color: ColorOrder = "rgb") -> Localization:
        """Localize the main object of one frame.

        Args:
            frame: [H, W, 3] uint8, any strides, read-only or not; or a Pillow image.
            color: The order of the channels: "rgb" (Pillow, PyAV, imageio, the default) or
                "bgr" (OpenCV). A Pillow image is always read as what it is.

        Raises:
            InputError: The frame has another type, dtype or shape.
            BackendError: The network failed, or this Localizer is closed.
        """
        return self.run_batch((frame,), color=color)[0]

    def run_batch(
        self, frames: Iterable[Frame], *, color: ColorOrder = "rgb"
    ) -> list[Localization]:
        """Localize the main object of each frame; frames may differ in size.

        Every frame is checked before the first is run. Results do not depend on which frames
        are given together, up to the last bits of the backend's floating-point sums.
        """
        check_color(color)
        swap = color == "bgr"
        given = list(frames)
        checked = [checked_frame(frame, swap, at, len(given)) for at, frame in enumerate(given)]
        results: list[Localization] = []
        with self._lock:
            for start in range(0, len(checked), _MAX_BATCH):
                results += self._run_chunk(checked[start : start + _MAX_BATCH])
        return results

    def clone(self) -> Localizer:
        """A second Localizer with the same engine and options, for another thread.

        It shares the weights where the backend can, and is closed on its own.

        Raises:
            BackendError: This Localizer is closed.
        """
        twin = object.__new__(type(self))
        with self._lock:
            twin._manifest = self._manifest
            twin._threshold = self._threshold
            twin._top_k = self._top_k
            twin._min_score = self._min_score
            twin._max_boxes = self._max_boxes
            twin._start(self._open_backend().clone())
        return twin

    def close(self) -> None:
        """Free the backend's memory, after a run in progress. Safe to call twice."""
        with self._lock:
            if self._backend is not None:
                self._backend.close()
                self._backend = None

    def __enter__(self) -> Localizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        policy = self._manifest.input
        return (
            f"<Localizer {self._manifest.name!r}: {len(self.classes)} classes, "
            f"{policy.height}×{policy.width}, {self._backend_name}"
            f"{', closed' if self._backend is None else ''}>"
        )

    def _open_backend(self) -> Backend:
        if self._backend is None:
            raise BackendError("This Localizer is closed.", hint="Open a new one.")
        return self._backend

    def _run_chunk(self, frames: Sequence[tuple[NDArray[np.uint8], bool]]) -> list[Localization]:
        backend = self._open_backend()
        policy = self._manifest.input
        start = time.perf_counter_ns()
        placements = [place(frame.shape[:2], policy) for frame, _ in frames]
        batch = self._fill_batch(frames, placements)  # [N, h, w, 3]
        resized = time.perf_counter_ns()
        outputs = backend.run({INPUT_NAME: batch})
        inferred = time.perf_counter_ns()
        foreground = self._foreground(outputs)  # [N, h, w]
        scores = _softmax(outputs["logits"])  # [N, C]
        labels = outputs["logits"].argmax(axis=1)  # [N]
        boxes = list(self._boxes(foreground, placements))
        done = time.perf_counter_ns()

        count_ns = len(frames) * 1e6
        timing = Timing(
            (resized - start) / count_ns,
            (inferred - resized) / count_ns,
            (done - inferred) / count_ns,
        )
        return [
            self._localization(
                foreground[i], scores[i], int(labels[i]), boxes[i], placement, timing
            )
            for i, placement in enumerate(placements)
        ]

    def _fill_batch(
        self, frames: Sequence[tuple[NDArray[np.uint8], bool]], placements: Sequence[Placement]
    ) -> NDArray[np.uint8]:
        if len(frames) == 1 and not frames[0][1]:
            return frame_to_input(frames[0][0], placements[0])[None]
        for slot, (frame, swap), placement in zip(self._batch, frames, placements, strict=False):
            pixels = frame_to_input(frame, placement)
            if swap:
                for channel in range(3):  # four times as fast as pixels[:, :, ::-1]
                    slot[:, :, channel] = pixels[:, :, 2 - channel]
            else:
                slot[...] = pixels
        return self._batch[: len(frames)]

    def _foreground(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """[N, h, w]: the maps of the `top_k` best classes, averaged."""
        if self._manifest.maps == "mean":
            return outputs["foreground"][:, 0]
        if self._manifest.maps == "all":
            return aggregate_maps(outputs["maps"], outputs["logits"], self._top_k)
        # The graph has already put the best first; its order decides ties too.
        descending = np.arange(self._manifest.k, 0, -1, dtype=np.float32)
        scores = np.broadcast_to(descending, outputs["maps"].shape[:2])
        return aggregate_maps(outputs["maps"], np.ascontiguousarray(scores), self._top_k)

    def _boxes(
        self, foreground: NDArray[np.float32], placements: Sequence[Placement]
    ) -> Iterator[tuple[Box, ...]]:
        """The boxes of each frame in its own pixels, largest object first; perhaps none."""
        policy, threshold = self._manifest.input, self._threshold
        found = maps_to_boxes(
            foreground,
            (policy.height, policy.width),
            threshold.value,
            rule=threshold.rule,
            max_boxes=self._max_boxes,
        )
        for placement, boxes, count in zip(placements, found.boxes, found.count, strict=True):
            mapped = [placement.box_to_frame(tuple(box)) for box in boxes[:count].tolist()]
            on_frame = mapped and mapped[0] is not None  # not just on a letterbox's padding
            yield tuple(box for box in mapped if box is not None) if on_frame else ()

    def _localization(
        self,
        foreground: NDArray[np.float32],
        scores: NDArray[np.float32],
        label: int,
        boxes: tuple[Box, ...],
        placement: Placement,
        timing: Timing,
    ) -> Localization:
        height, width = placement.frame_size
        score = float(scores[label])
        found = bool(boxes) and score >= self._min_score
        return Localization(
            box=boxes[0] if found else (0.0, 0.0, float(width), float(height)),
            label=label,
            class_name=self._manifest.classes[label],
            score=score,
            found=found,
            map=foreground,
            timing=timing,
            frame_size=placement.frame_size,
            scores=scores,
            boxes=boxes if found and self._max_boxes > 1 else (),
            mask_source=InputMask(placement, self._threshold),
        )


# Options


def _threshold_policy(
    threshold: float | ThresholdPolicy | None, manifest: Manifest
) -> ThresholdPolicy:
    if threshold is None:
        return manifest.threshold
    if isinstance(threshold, ThresholdPolicy):
        return threshold
    if not 0 <= threshold <= 1:
        raise InputError(
            f"threshold is {threshold}, but a fraction of the map's range is 0 to 1.",
            hint="For another rule pass a ThresholdPolicy.",
        )
    return ThresholdPolicy(rule="fixed", value=float(threshold), chosen_by="Localizer(threshold=…)")


def _top_k(top_k: int | None, manifest: Manifest) -> int:
    if top_k is None:
        return manifest.top_k
    if manifest.maps == "mean":
        raise InputError(
            f"top_k is {top_k}, but this engine emits one averaged map (maps: mean).",
            hint="Leave top_k out, or export with --maps all or --maps selected.",
        )
    if not 1 <= top_k <= manifest.k:
        raise InputError(
            f"top_k is {top_k}, but this engine computes {manifest.k} class maps, so it must be "
            f"1 to {manifest.k}.",
            hint="Lower top_k, or export with a larger --k.",
        )
    return top_k


def _min_score(min_score: float | None, manifest: Manifest) -> float:
    if min_score is None:
        return manifest.min_score
    if not 0 <= min_score <= 1 or math.isnan(min_score):
        raise InputError(f"min_score is {min_score}, but a softmax probability is 0 to 1.")
    return float(min_score)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, C] → [N, C] probabilities; summed in float64, so 1000 classes lose nothing."""
    if not np.isfinite(logits).all():
        raise BackendError(
            "The network gave NaN or infinite logits.",
            hint="Check the engine with bas-edge inspect, and build it again.",
        )
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities.astype(np.float32)
