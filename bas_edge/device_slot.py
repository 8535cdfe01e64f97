"""Everything one batch in flight needs on a GPU: stream, memory, kernels, and its CUDA graphs."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bas_edge.backends.base import DevicePlan
from bas_edge.backends.device import DeviceBuffer, Staging
from bas_edge.device_frames import GpuFrame
from bas_edge.device_graphs import GraphCache
from bas_edge.device_results import HostResults, aligned
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.errors import InputError
from bas_edge.framing import PADDING, Placement
from bas_edge.ops import cuda
from bas_edge.results import Timing
from bas_edge.runner import Answer, RunOptions, Shot, not_finite, softmax

__all__ = ["DeviceSlot"]

_GRAPHS = 16  # kept for different frame sizes and batches; the oldest goes first

_Key = tuple[object, ...]


class DeviceSlot:
    """Runs one batch at a time: submit(), then result().

    Once a kind of batch (its sizes, and where its frames lie) has been seen twice, one launch of a
    CUDA graph does it all: upload, resize, network, boxes, download.
    """

    def __init__(self, plan: DevicePlan, options: RunOptions) -> None:
        manifest, device = options.manifest, plan.device
        self._plan = plan
        self._options = options
        self._device = device
        self._min_batch, _, self._max_batch = plan.batches
        self._output_shapes = {
            spec.name: tuple(side or self._max_batch for side in spec.shape)
            for spec in plan.outputs
        }
        self._resizers: OrderedDict[_Key, cuda.ResizeFrame] = OrderedDict()
        self._working: tuple[Sequence[Shot], float] | None = None

        policy = manifest.input
        maps_name = "foreground" if manifest.maps == "mean" else "maps"
        _, maps_per_image, map_height, map_width = self._output_shapes[maps_name]
        self._maps_name = maps_name
        self._map_size = (map_height, map_width)
        self._stream = device.stream()
        self._graphs = GraphCache(device, self._stream, kept=_GRAPHS)
        self._context = plan.context()
        self._finished = device.event()
        self._input_bytes = policy.height * policy.width * 3
        self._buffers: dict[str, DeviceBuffer] = {
            INPUT_NAME: device.buffer(self._max_batch * self._input_bytes)
        }
        for name, shape in self._output_shapes.items():
            self._buffers[name] = device.buffer(4 * int(np.prod(shape)))
        self._words = cuda.record_words(options.max_boxes)
        self._results = HostResults(
            device,
            {
                "records": (self._max_batch, self._words),
                "logits": self._output_shapes["logits"],
                "foreground": (self._max_batch, *self._map_size),
            },
        )
        self._records = device.buffer(4 * self._max_batch * self._words)
        with device.current():
            self._localize = cuda.LocalizeMaps(
                form=manifest.maps,
                classes=len(manifest.classes),
                maps=maps_per_image,
                top_k=options.top_k,
                threshold=options.threshold.value,
                rule=options.threshold.rule,
                max_images=self._max_batch,
                map_size=self._map_size,
                size=(policy.height, policy.width),
                max_boxes=options.max_boxes,
            )
        self._staging: Staging | None = None
        self._uploaded: DeviceBuffer | None = None

    @property
    def graphs_refused(self) -> str:
        """Why no CUDA graph is used; empty where they are."""
        return self._graphs.refused

    @property
    def is_busy(self) -> bool:
        """Whether a submit() still waits for its result()."""
        return self._working is not None

    def submit(self, shots: Sequence[Shot]) -> None:
        """Start a batch. Host frames are copied before this returns."""
        start = time.perf_counter()
        host_bytes = self._stage(shots)
        started = time.perf_counter()
        if host_bytes is not None:
            key: _Key = ("frames", *((s.placement, s.swap) for s in shots))
            self._graphs.run(key, lambda: self._enqueue_all(shots, host_bytes))
        else:  # addresses change from call to call, so only what follows them is captured
            with self._device.current():
                self._enqueue_input(shots, [0] * len(shots))
            self._graphs.run(("batch", len(shots)), lambda: self._enqueue_network(len(shots)))
        self._stream.record(self._finished)
        self._working = (tuple(shots), (started - start) * 1e3)
        self._started = started

    def result(self) -> tuple[list[Answer], Timing]:
        """Wait for the batch and read what came back.

        Raises:
            BackendError: The GPU failed, or the network gave values that are not finite.
        """
        assert self._working is not None
        shots, pre_ms = self._working
        try:
            self._finished.wait()
            inferred = time.perf_counter()
            answers = self._read(len(shots))
        finally:
            self._working = None
        done = time.perf_counter()
        count = len(shots)
        return answers, Timing(
            pre_ms / count,
            (inferred - self._started) * 1e3 / count,
            (done - inferred) * 1e3 / count,
        )

    def close(self) -> None:
        """Wait, then free everything."""
        self._stream.synchronize()
        self._graphs.clear()
        self._context.close()
        self._resizers.clear()
        del self._localize
        self._results.free()
        for memory in (*self._buffers.values(), self._records, self._staging, self._uploaded):
            if memory is not None:
                memory.free()
        self._finished.free()
        self._stream.free()

    # Enqueueing

    def _stage(self, shots: Sequence[Shot]) -> list[int] | None:
        """Copy host frames into page-locked memory: where each lies; None with frames on a GPU."""
        if any(isinstance(shot.frame, GpuFrame) for shot in shots):
            if not all(isinstance(shot.frame, GpuFrame) for shot in shots):
                raise InputError(
                    "Frames on the GPU and on the host cannot be in one batch.",
                    hint="Give them to run_batch one kind at a time.",
                )
            return None
        crops = [_shown(shot) for shot in shots]
        offsets = [0]
        for crop in crops:
            offsets.append(offsets[-1] + aligned(crop.nbytes))
        staging = self._staging_of(offsets[-1])
        for crop, offset in zip(crops, offsets, strict=False):
            np.copyto(staging.array[offset : offset + crop.nbytes].reshape(crop.shape), crop)
        return offsets[:-1]

    def _staging_of(self, size_bytes: int) -> Staging:
        if self._staging is None or self._staging.size_bytes < size_bytes:
            self._stream.synchronize()
            self._graphs.clear()  # they hold the old addresses
            for memory in (self._staging, self._uploaded):
                if memory is not None:
                    memory.free()
            self._staging = self._device.staging(size_bytes)
            mapped = self._staging.device_address is not None
            self._uploaded = None if mapped else self._device.buffer(size_bytes)
        return self._staging

    def _enqueue_all(self, shots: Sequence[Shot], offsets: Sequence[int]) -> None:
        self._enqueue_input(shots, offsets)
        self._enqueue_network(len(shots))

    def _enqueue_input(self, shots: Sequence[Shot], offsets: Sequence[int]) -> None:
        for slot, (shot, offset) in enumerate(zip(shots, offsets, strict=True)):
            frame, placement = shot.frame, shot.placement
            if isinstance(frame, GpuFrame):
                if frame.stream is not None:
                    self._stream.wait_for_stream(frame.stream)
                view, shown = frame.view, placement.shown
            else:
                view = self._uploaded_view(placement, offset)
                shown = (0, 0, view.width, view.height)
            self._resizer(view, shown, shot).run(
                view,
                input_address=self._buffers[INPUT_NAME].address + slot * self._input_bytes,
                stream=self._stream.handle,
            )

    def _uploaded_view(self, placement: Placement, offset: int) -> cuda.DeviceFrame:
        """Upload the shown part of a staged frame, unless the GPU sees the same memory."""
        left, top, right, bottom = placement.shown
        height, width = bottom - top, right - left
        assert self._staging is not None
        if self._uploaded is None:
            assert self._staging.device_address is not None
            address = self._staging.device_address + offset
        else:
            address = self._uploaded.address + offset
            self._stream.upload(address, self._staging.address + offset, height * width * 3)
        return cuda.DeviceFrame(height=height, width=width, pixels=address, pitch_bytes=3 * width)

    def _resizer(
        self, view: cuda.DeviceFrame, shown: tuple[int, int, int, int], shot: Shot
    ) -> cuda.ResizeFrame:
        """Made on first use and kept; that is never inside a capture, which comes second."""
        key = (view.height, view.width, shown, shot.placement.target, shot.swap)
        resizer = self._resizers.get(key)
        if resizer is None:
            if len(self._resizers) >= _GRAPHS * self._max_batch:
                self._stream.synchronize()
                self._graphs.clear()  # they hold its tables
                self._resizers.popitem(last=False)
            policy = self._options.manifest.input
            resizer = self._resizers[key] = cuda.ResizeFrame(
                frame_size=(view.height, view.width),
                shown=shown,
                size=(policy.height, policy.width),
                target=shot.placement.target,
                padding=PADDING,
                swap_channels=shot.swap,
            )
        return resizer

    def _enqueue_network(self, count: int) -> None:
        stream = self._stream
        addresses = {name: buffer.address for name, buffer in self._buffers.items()}
        self._context.enqueue(addresses, max(count, self._min_batch), stream)
        self._localize.run(
            logits=addresses["logits"],
            maps=addresses[self._maps_name],
            images=count,
            records=self._records.address,
            stream=stream.handle,
        )
        self._results.download(stream, "records", self._records.address, count)
        if not self._options.boxes_only:
            foreground = self._localize.foreground or addresses[self._maps_name]
            self._results.download(stream, "foreground", foreground, count)
            self._results.download(stream, "logits", addresses["logits"], count)

    # Reading

    def _read(self, count: int) -> list[Answer]:
        words = self._results.integers("records", count)
        records = cuda.read_records(words, self._options.max_boxes)
        if cuda.has_bad_scores(records.status):
            raise not_finite()
        cuda.raise_for_status(records.status)
        nothing = np.empty(0, np.float32)
        foreground, scores = nothing.reshape(0, 0), nothing
        answers = []
        if not self._options.boxes_only:
            maps = self._results.floats("foreground", count)
            probabilities = softmax(self._results.floats("logits", count))
        for i in range(count):
            label, score = int(records.labels[i]), float(records.scores[i])
            if not self._options.boxes_only:
                foreground, scores = maps[i], probabilities[i]
                score = float(scores[label])
            boxes = records.boxes.boxes[i, : records.boxes.count[i]].tolist()
            answers.append(
                Answer(label, score, tuple(tuple(box) for box in boxes), foreground, scores)
            )
        return answers


def _shown(shot: Shot) -> NDArray[np.uint8]:
    """The part of a host frame that the network sees; no more is uploaded."""
    assert isinstance(shot.frame, np.ndarray)
    left, top, right, bottom = shot.placement.shown
    return shot.frame[top:bottom, left:right]
