"""The runtime of segmentation: frame → resize → network → the class of each pixel."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from bas_edge.backends import Backend
from bas_edge.engine.bundle import open_engine
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.manifest import Manifest
from bas_edge.engine.task import require_task
from bas_edge.errors import BackendError, InputError
from bas_edge.frames import Frame, checked_frame
from bas_edge.framing import Placement, frame_to_input, place
from bas_edge.localizer_options import check_threads
from bas_edge.open_runner import open_network
from bas_edge.ops import scores_to_masks
from bas_edge.ops.class_masks import ClassMasks
from bas_edge.results import ColorOrder, Timing, check_color
from bas_edge.segmentation.masks import check_class_count
from bas_edge.segmentation.result import Segmentation, SegmentedClass

__all__ = ["Segmenter", "masks_of_network"]


class Segmenter:
    """A loaded engine for segmentation.

    Thread-safety: every method may be called from any thread; calls run one after another. For
    calls that run side by side give each thread its own `clone()`, which shares the weights.

    Example:
        with Segmenter("voc.engine") as segmenter:
            result = segmenter.run(cv2.imread("street.jpg"), color="bgr")
            print([found.class_name for found in result.objects])
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        backend: str = "auto",
        threads: int | None = None,
        spin: bool = True,
        device: int = 0,
        rebuild: bool = False,
    ) -> None:
        """Open an engine bundle, or a bare `.onnx` file with bas-edge metadata.

        Args:
            path: The bundle's folder or the file. The hash of everything that is used is checked.
            backend: One of `bas_edge.backends.backend_names()`, or "auto": what the engine was
                built for, or ONNX Runtime (with a log line) where there is no NVIDIA driver. A
                plan runs the network alone on the GPU; frames are resized and masks made on the
                host.
            threads: CPU threads of the network; None lets the backend choose.
            spin: Whether these stay awake between frames; see `Localizer`.
            device: With a TensorRT backend: the GPU, as CUDA numbers it.
            rebuild: With a TensorRT backend: where the engine's plan is damaged, or was built
                for another GPU or version, build it again from the engine's own graph, into it.

        Raises:
            InputError: An argument is out of range, there is nothing at `path`, it is an engine
                for localization, or has more than the 254 classes that a mask can hold.
            EngineError: The engine is damaged, of another version, or breaks the graph contract.
            EngineMismatchError: The plan was built for another GPU or library version.
            MissingExtraError: The backend's library is not installed.
            BackendError: No driver or GPU, or the backend refuses the graph or the plan.
        """
        check_threads(threads)
        engine = open_engine(path, check_plans=False)
        require_task(engine.path, engine.manifest, "segmentation")
        check_class_count(len(engine.manifest.classes), engine.path)
        self._manifest = engine.manifest
        self._backend: Backend | None = open_network(
            engine, backend=backend, threads=threads, spin=spin, device=device, rebuild=rebuild
        )
        self._backend_name = self._backend.name
        self._lock = threading.Lock()

    @property
    def manifest(self) -> Manifest:
        """What the engine says about itself."""
        return self._manifest

    @property
    def classes(self) -> tuple[str, ...]:
        """C names, without the background; `SegmentedClass.label` is an index into them."""
        return self._manifest.classes

    @property
    def backend_name(self) -> str:
        """The backend in use, such as "onnxruntime"; never "auto"."""
        return self._backend_name

    def run(self, frame: Frame, *, color: ColorOrder = "rgb") -> Segmentation:
        """Segment one frame.

        Args:
            frame: [H, W, 3] uint8, any strides, read-only or not; or a Pillow image.
            color: The order of the channels, "rgb" or "bgr"; not looked at for a Pillow image.

        Raises:
            InputError: The frame has another type, dtype or shape.
            BackendError: The network failed, or this Segmenter is closed.
        """
        return self.run_batch((frame,), color=color)[0]

    def run_batch(
        self, frames: Iterable[Frame], *, color: ColorOrder = "rgb"
    ) -> list[Segmentation]:
        """Segment each frame, one after another; frames may differ in size.

        Every frame is checked before the first is run.
        """
        check_color(color)
        given = list(frames)
        swap = color == "bgr"
        checked = [checked_frame(frame, swap, at, len(given)) for at, frame in enumerate(given)]
        with self._lock:
            backend = self._open_backend()
            return [self._segment(backend, *shot) for shot in checked]

    def clone(self) -> Segmenter:
        """A second Segmenter with the same engine, for another thread.

        It shares the weights where the backend can, and is closed on its own.

        Raises:
            BackendError: This Segmenter is closed.
        """
        twin = object.__new__(type(self))
        twin._manifest = self._manifest
        with self._lock:
            twin._backend = self._open_backend().clone()
        twin._backend_name = self._backend_name
        twin._lock = threading.Lock()
        return twin

    def close(self) -> None:
        """Free the backend's memory, after a run in progress. Safe to call twice."""
        with self._lock:
            if self._backend is not None:
                self._backend.close()
                self._backend = None

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_backend(self) -> Backend:
        if self._backend is None:
            raise BackendError("This Segmenter is closed.", hint="Open a new one.")
        return self._backend

    def _segment(self, backend: Backend, frame: NDArray[np.uint8], swap: bool) -> Segmentation:
        start = time.perf_counter_ns()
        placement = place(frame.shape[:2], self._manifest.input)
        pixels = frame_to_input(frame, placement)  # [h, w, 3]
        if swap:
            pixels = np.ascontiguousarray(pixels[:, :, ::-1])
        resized = time.perf_counter_ns()
        scores = backend.run({INPUT_NAME: pixels[None]})["scores"]  # [1, 1 + C, cells, cells]
        inferred = time.perf_counter_ns()
        found = masks_of_network(scores, placement.input_size)
        whole, count = placement.counted_on_frame(found.masks[0])
        objects = _objects(found.boxes[0], count, placement, self.classes)
        done = time.perf_counter_ns()
        timing = Timing(
            (resized - start) / 1e6, (inferred - resized) / 1e6, (done - inferred) / 1e6
        )
        return Segmentation(whole, objects, timing)


def masks_of_network(scores: NDArray[np.float32], size: tuple[int, int]) -> ClassMasks:
    """`scores_to_masks`, where the scores [N, 1 + C, cells, cells] are what a network gave.

    Raises:
        BackendError: A score is a NaN, an Inf, or 2^126 or more.
    """
    try:
        return scores_to_masks(scores, size)
    except InputError as error:
        raise BackendError(
            f"The network gave scores that are not finite: {error}",
            hint="Check the engine with bas-edge inspect, and build it again; in fp16, try fp32.",
        ) from error


def _objects(
    boxes: NDArray[np.int32],
    count: NDArray[np.int64],
    placement: Placement,
    classes: Sequence[str],
) -> tuple[SegmentedClass, ...]:
    """The classes of a frame, by their boxes [1 + C, 4] on its input and `count` of its pixels."""
    height, width = placement.frame_size
    found = []
    for value in np.flatnonzero(count[1:]) + 1:
        x0, y0, x1, y1 = boxes[value].tolist()
        on_frame = placement.box_to_frame((x0, y0, x1, y1))
        if on_frame is not None:  # else it lies in the padding of a letterbox
            label = int(value) - 1
            area = int(count[value]) / (height * width)
            found.append(SegmentedClass(label, classes[label], on_frame, area))
    return tuple(sorted(found, key=lambda one: (-one.area, one.label)))
