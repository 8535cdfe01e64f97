"""The runtime: frame → resize → network → box."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.device_frames import gpu_frame
from bas_edge.engine.bundle import Engine, open_engine
from bas_edge.engine.manifest import Manifest, ThresholdPolicy
from bas_edge.engine.task import require_task
from bas_edge.errors import BackendError, InputError
from bas_edge.foreground import foreground_boxes
from bas_edge.frames import Frame, checked_frame
from bas_edge.framing import InputMask, Placement, place
from bas_edge.localizer_options import check_threads, least_score, maps_averaged, threshold_policy
from bas_edge.open_runner import open_runner
from bas_edge.ops.maps import MAX_BOXES
from bas_edge.results import ColorOrder, Localization, Timing, check_color
from bas_edge.runner import Answer, Pending, Runner, RunOptions, Shot

__all__ = ["Localizer", "Ticket"]


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
        spin: bool = True,
        threshold: float | ThresholdPolicy | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
        max_boxes: int = 1,
        boxes_only: bool = False,
        device: int = 0,
        rebuild: bool = False,
    ) -> None:
        """Open an engine bundle, or a bare `.onnx` file with bas-edge metadata.

        Args:
            path: The bundle's folder or the file. The hash of everything that is used is checked.
            backend: One of `bas_edge.backends.backend_names()`, or "auto": what the engine was
                built for, or ONNX Runtime (with a log line) where there is no NVIDIA driver.
            threads: CPU threads of the network; None lets the backend choose.
            spin: Whether these threads stay awake between layers and frames. That is faster for
                one frame after another, and takes the processor from everything else: False
                where frames are read, drawn or encoded at the same time.
            threshold: A fraction of each map's range (0 to 1), or a ThresholdPolicy; None takes
                the engine's override where it has one (`save_overrides`), and otherwise its own,
                which is what its accuracy was measured with. So with `top_k` and `min_score`.
            top_k: How many class maps are averaged, at most the engine's `k`; None takes
                the engine's own. An engine with maps "mean" has nothing to choose.
            min_score: `found` is False below this class score; None takes the engine's own.
            max_boxes: Also return up to this many boxes, at most 65536 (on a GPU 1024), largest
                first.
            boxes_only: Results carry no map, mask or class scores (`map` and `scores` are
                empty). On a GPU 36 bytes a frame then come back instead of some thousand.
            device: With a TensorRT backend: the GPU, as CUDA numbers it.
            rebuild: With a TensorRT backend: where the engine's plan is damaged, or was built
                for another GPU or version, build it again from the engine's own graph, into it.

        Raises:
            InputError: An argument is out of range, there is nothing at `path`, or it is an engine
                for segmentation.
            EngineError: The engine is damaged, of another version, or breaks the graph contract.
            EngineMismatchError: The plan was built for another GPU or library version.
            MissingExtraError: The backend's library is not installed.
            BackendError: No driver or GPU, or the backend refuses the graph or the plan.
        """
        engine: Engine = open_engine(path, check_plans=False)
        manifest = engine.manifest
        require_task(engine.path, manifest, "localization")
        if not 1 <= max_boxes <= MAX_BOXES:
            raise InputError(f"max_boxes is {max_boxes}, but must be 1 to {MAX_BOXES}.")
        check_threads(threads)
        self._manifest = manifest
        self._min_score = least_score(min_score, manifest)
        self._options = RunOptions(
            manifest=manifest,
            threshold=threshold_policy(threshold, manifest),
            top_k=maps_averaged(top_k, manifest),
            max_boxes=max_boxes,
            boxes_only=boxes_only,
        )
        self._runner: Runner | None = open_runner(
            engine,
            self._options,
            backend=backend,
            threads=threads,
            spin=spin,
            device=device,
            rebuild=rebuild,
        )
        self._backend_name = self._runner.name
        self._lock = threading.Lock()

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
        return self._options.threshold

    @property
    def top_k(self) -> int:
        """How many class maps are averaged."""
        return self._options.top_k

    @property
    def min_score(self) -> float:
        """The class score below which `found` is False."""
        return self._min_score

    @property
    def boxes_only(self) -> bool:
        """Whether results carry no map, mask or class scores."""
        return self._options.boxes_only

    @property
    def backend_name(self) -> str:
        """The backend in use, such as "onnxruntime"; never "auto"."""
        return self._backend_name

    def run(self, frame: Frame, *, color: ColorOrder = "rgb") -> Localization:
        """Localize the main object of one frame.

        Args:
            frame: [H, W, 3] uint8, any strides, read-only or not; or a Pillow image. With a
                TensorRT backend also a frame that lies on the GPU: an array of torch, CuPy or
                anything else with DLPack or `__cuda_array_interface__`, or an NV12 surface as
                `bas_edge.ops.cuda.DeviceFrame`. It must stay as it is until the result is there.
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
        shots = self._shots(list(frames), color)
        results: list[Localization] = []
        with self._lock:
            runner = self._open_runner()
            runner.check(shots)
            waiting: deque[tuple[Pending, list[Placement]]] = deque()
            for start in range(0, len(shots), runner.max_batch):
                chunk = shots[start : start + runner.max_batch]
                waiting.append((runner.submit(chunk), [shot.placement for shot in chunk]))
                if len(waiting) == runner.in_flight:
                    results += self._localizations(*waiting.popleft())
            while waiting:
                results += self._localizations(*waiting.popleft())
        return results

    def submit(self, frame: Frame, *, color: ColorOrder = "rgb") -> Ticket:
        """Start one frame and return at once; `result()` of what it returns waits for it.

        On a GPU several frames are then in flight, so the upload of one overlaps with the
        network of another; where all are busy, this waits for the oldest. A frame on the host may
        be changed once this returns, one on the GPU only after its result. On a CPU the whole
        work is done here.

        Raises:
            InputError, BackendError: As for `run`.
        """
        (shot,) = self._shots([frame], color)
        with self._lock:
            runner = self._open_runner()
            runner.check([shot])
            pending = runner.submit([shot])
        return Ticket(self, pending, shot.placement)

    def localization_of(
        self,
        foreground: NDArray[np.float32],
        scores: NDArray[np.float32],
        frame_size: tuple[int, int],
        *,
        label: int | None = None,
        found: bool | None = None,
        timing: Timing | None = None,
    ) -> Localization:
        """The result that a frame with this map and these class scores has. Runs no network.

        For maps that were changed after the network, as smoothing does: boxes and mask are cut
        as `run` cuts them. It waits for no other thread, and works after `close()`.

        Args:
            foreground: [h, w] float32, as in `Localization.map`.
            scores: [C] float32, probabilities, as in `Localization.scores`.
            frame_size: (H, W) of the frame.
            label: The class to report; None takes the best, ties to the lower index.
            found: Whether the score is good enough; None asks `min_score`. Without a pixel
                above the threshold nothing is found in any case.
            timing: To carry on; None is all zeros.

        Raises:
            InputError: Another dtype or shape, NaN or Inf, or no such class.
        """
        if scores.shape != (len(self.classes),):
            raise InputError(
                f"scores have the shape {list(scores.shape)}, but this engine has "
                f"{len(self.classes)} classes.",
                hint="With boxes_only a result carries no scores; open the Localizer without it.",
            )
        label = int(scores.argmax()) if label is None else label
        if not 0 <= label < len(self.classes):
            raise InputError(f"There is no class {label}: this engine has {len(self.classes)}.")
        answer = Answer(
            label=label,
            score=float(scores[label]),
            boxes=foreground_boxes(foreground[None], self._options)[0],
            foreground=foreground,
            scores=scores,
        )
        placement = place(frame_size, self._manifest.input)
        return self._localization(answer, placement, timing or Timing(0.0, 0.0, 0.0), found)

    def _collect(self, pending: Pending, placements: list[Placement]) -> list[Localization]:
        with self._lock:
            return self._localizations(pending, placements)

    def _localizations(
        self, pending: Pending, placements: Sequence[Placement]
    ) -> list[Localization]:
        answers, timing = pending.result()
        return [
            self._localization(answer, placement, timing)
            for answer, placement in zip(answers, placements, strict=True)
        ]

    def clone(
        self,
        *,
        threshold: float | ThresholdPolicy | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
    ) -> Localizer:
        """A second Localizer with the same engine, for another thread, or to be tuned otherwise.

        It shares the weights where the backend can, and is closed on its own.

        Args:
            threshold, top_k, min_score: As when it was opened; None keeps what is in use here.

        Raises:
            InputError: An argument is out of range.
            BackendError: This Localizer is closed.
        """
        twin = object.__new__(type(self))
        twin._manifest = self._manifest
        twin._min_score = self._min_score
        if min_score is not None:
            twin._min_score = least_score(min_score, self._manifest)
        twin._options = replace(
            self._options,
            threshold=self._options.threshold
            if threshold is None
            else threshold_policy(threshold, self._manifest),
            top_k=self._options.top_k if top_k is None else maps_averaged(top_k, self._manifest),
        )
        with self._lock:
            twin._runner = self._open_runner().clone(twin._options)
        twin._backend_name = self._backend_name
        twin._lock = threading.Lock()
        return twin

    def close(self) -> None:
        """Free the backend's memory, after a run in progress. Safe to call twice."""
        with self._lock:
            if self._runner is not None:
                self._runner.close()
                self._runner = None

    def __enter__(self) -> Localizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        policy = self._manifest.input
        return (
            f"<Localizer {self._manifest.name!r}: {len(self.classes)} classes, "
            f"{policy.height}×{policy.width}, {self._backend_name}"
            f"{', closed' if self._runner is None else ''}>"
        )

    def _open_runner(self) -> Runner:
        if self._runner is None:
            raise BackendError("This Localizer is closed.", hint="Open a new one.")
        return self._runner

    def _shots(self, frames: Sequence[Any], color: ColorOrder) -> list[Shot]:
        """Every frame checked, before any is run."""
        check_color(color)
        swap = color == "bgr"
        return [self._shot(frame, swap, at, len(frames)) for at, frame in enumerate(frames)]

    def _shot(self, frame: Any, swap: bool, at: int, count: int) -> Shot:
        policy = self._manifest.input
        on_gpu = None if type(frame) is np.ndarray else gpu_frame(frame)
        if on_gpu is not None:
            nv12 = on_gpu.view.chroma != 0  # becomes RGB whatever `color` says
            size = (on_gpu.view.height, on_gpu.view.width)
            return Shot(on_gpu, swap and not nv12, place(size, policy))
        pixels, swap = checked_frame(frame, swap, at, count)
        return Shot(pixels, swap, place(pixels.shape[:2], policy))

    def _localization(
        self, answer: Answer, placement: Placement, timing: Timing, good: bool | None = None
    ) -> Localization:
        height, width = placement.frame_size
        mapped = [placement.box_to_frame(box) for box in answer.boxes]
        on_frame = mapped and mapped[0] is not None  # not just on a letterbox's padding
        boxes = tuple(box for box in mapped if box is not None) if on_frame else ()
        found = bool(boxes) and (answer.score >= self._min_score if good is None else good)
        return Localization(
            box=boxes[0] if found else (0.0, 0.0, float(width), float(height)),
            label=answer.label,
            class_name=self._manifest.classes[answer.label],
            score=answer.score,
            found=found,
            map=answer.foreground,
            timing=timing,
            frame_size=placement.frame_size,
            scores=answer.scores,
            boxes=boxes if found and self._options.max_boxes > 1 else (),
            mask_source=None
            if self._options.boxes_only
            else InputMask(placement, self._options.threshold),
        )


class Ticket:
    """A frame on its way; `Localizer.submit` gives one."""

    def __init__(self, localizer: Localizer, pending: Pending, placement: Placement) -> None:
        self._localizer = localizer
        self._pending = pending
        self._placement = placement

    def result(self) -> Localization:
        """Wait for it. Any number of times, in any order, before or after later frames.

        Raises:
            BackendError: The network failed.
        """
        return self._localizer._collect(self._pending, [self._placement])[0]
