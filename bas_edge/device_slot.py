"""Everything one batch in flight needs on a GPU: stream, memory, kernels, and its CUDA graphs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from bas_edge.backends.base import DevicePlan
from bas_edge.backends.device import DeviceBuffer
from bas_edge.device_contexts import BatchContexts
from bas_edge.device_frames import GpuFrame
from bas_edge.device_graphs import GraphCache
from bas_edge.device_input import DeviceInput
from bas_edge.device_results import HostResults
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.errors import InputError
from bas_edge.ops import cuda
from bas_edge.results import Timing
from bas_edge.runner import Answer, RunOptions, Shot, maps_not_finite, not_finite, softmax

__all__ = ["DeviceSlot"]

_GRAPHS = 16  # kept for different frame sizes and batches; the oldest goes first


class DeviceSlot:
    """Runs one batch at a time: submit(), then result().

    Once a kind of batch (its sizes, and where its frames lie) has been seen twice, one launch of a
    CUDA graph does it all: upload, resize, network, boxes, download.
    """

    def __init__(self, plan: DevicePlan, options: RunOptions) -> None:
        manifest, device = options.manifest, plan.device
        self._options = options
        self._device = device
        self._most = plan.batches[2]
        shapes = {
            spec.name: tuple(side or self._most for side in spec.shape) for spec in plan.outputs
        }
        self._maps_name = "foreground" if manifest.maps == "mean" else "maps"
        _, maps_per_image, *map_size = shapes[self._maps_name]
        size = (manifest.input.height, manifest.input.width)
        self._working: tuple[Sequence[Shot], float, float] | None = None
        with ExitStack() as stack:  # a failure gives back what was made before it
            self._stream = device.stream()
            stack.callback(self._stream.free)
            self._finished = device.event()
            stack.callback(self._finished.free)
            self._graphs = GraphCache(self._stream, kept=_GRAPHS)
            self._input = DeviceInput(
                device,
                self._stream,
                size=size,
                batch=self._most,
                kept=_GRAPHS * self._most,
                before_change=self._forget_graphs,
            )
            stack.callback(self._input.free)
            self._outputs: dict[str, DeviceBuffer] = {}
            for name, shape in shapes.items():
                self._outputs[name] = device.buffer(4 * int(np.prod(shape)))
                stack.callback(self._outputs[name].free)
            words = cuda.record_words(options.max_boxes)
            self._records = device.buffer(4 * self._most * words)
            stack.callback(self._records.free)
            self._results = HostResults(
                device,
                {
                    "records": (self._most, words),
                    "logits": shapes["logits"],
                    "foreground": (self._most, *map_size),
                },
            )
            stack.callback(self._results.free)
            with device.current():
                self._localize = cuda.LocalizeMaps(
                    form=manifest.maps,
                    classes=len(manifest.classes),
                    maps=maps_per_image,
                    top_k=options.top_k,
                    threshold=options.threshold.value,
                    rule=options.threshold.rule,
                    max_images=self._most,
                    map_size=(map_size[0], map_size[1]),
                    size=size,
                    max_boxes=options.max_boxes,
                )
            stack.callback(self._drop_kernels)
            self._contexts = BatchContexts(plan)
            stack.callback(self._contexts.close)
            stack.callback(self._graphs.clear)
            self._cleanup = stack.pop_all()

    @property
    def graphs_refused(self) -> str:
        """Why some work is not captured into CUDA graphs; empty where all is."""
        return self._graphs.refusal

    def submit(self, shots: Sequence[Shot]) -> None:
        """Start a batch. Host frames are copied before this returns."""
        start = time.perf_counter()
        on_gpu = isinstance(shots[0].frame, GpuFrame)
        offsets = [0] * len(shots) if on_gpu else self._input.stage(shots)
        started = time.perf_counter()
        try:
            self._enqueue(shots, offsets, on_gpu)
            self._stream.record(self._finished)
        except BaseException:
            self._stream.synchronize()  # what was enqueued may still read the caller's frames
            raise
        # With the shots, because frames on the GPU have to live until they were read.
        self._working = (tuple(shots), (started - start) * 1e3, started)

    def result(self) -> tuple[list[Answer], Timing]:
        """Wait for the batch and read what came back; as often as one likes, until submit().

        Raises:
            BackendError: The GPU failed, or the network gave values that are not finite.
        """
        assert self._working is not None
        shots, pre_ms, started = self._working
        count = len(shots)
        self._finished.wait()
        inferred = time.perf_counter()
        answers = self._read(count)
        done = time.perf_counter()
        return answers, Timing(
            pre_ms / count,
            (inferred - started) * 1e3 / count,
            (done - inferred) * 1e3 / count,
        )

    def check(self, shots: Sequence[Shot]) -> None:
        """Refuse frames of both kinds together, and frames on another GPU.

        Raises:
            InputError: There are such.
        """
        if _all_on_gpu(shots):
            self._input.check(shots)

    def forget(self) -> None:
        """Let go of the frames, once the answer was read."""
        self._working = None

    def close(self) -> None:
        """Wait, then free everything, even where the GPU is lost."""
        with self._cleanup:
            self._stream.synchronize()

    # Enqueueing

    def _enqueue(self, shots: Sequence[Shot], offsets: Sequence[int], on_gpu: bool) -> None:
        count = len(shots)

        def network() -> None:
            self._enqueue_network(count)

        def everything() -> None:
            self._input.enqueue(shots, offsets)
            network()

        def refuses() -> str:
            return self._contexts.shared or self._contexts.of(count).refuses_capture(self._stream)

        # Frames on the GPU lie elsewhere each time, so only what follows them is captured.
        whole = None if on_gpu else ("frames", *((s.placement, s.swap) for s in shots))
        if whole is not None and self._graphs.launch(whole):
            return
        with self._device.current():
            self._input.enqueue(shots, offsets)
            if not self._graphs.launch(("network", count)):
                network()
                self._graphs.ran(("network", count), network, refuses)
            if whole is not None:
                self._graphs.ran(whole, everything, refuses)

    def _enqueue_network(self, count: int) -> None:
        stream = self._stream
        context = self._contexts.of(count)
        if self._contexts.shared:
            self._graphs.clear()  # its shape changes, which no captured run survives
        outputs = {name: buffer.address for name, buffer in self._outputs.items()}
        addresses = {INPUT_NAME: self._input.address, **outputs}
        context.enqueue(addresses, self._contexts.batch_of(count), stream)
        maps = outputs[self._maps_name]
        self._localize.run(
            logits=outputs["logits"],
            maps=maps,
            images=count,
            records=self._records.address,
            stream=stream.handle,
        )
        self._results.download(stream, "records", self._records.address, count)
        if not self._options.boxes_only:
            foreground = self._localize.foreground or maps
            self._results.download(stream, "foreground", foreground, count)
            self._results.download(stream, "logits", outputs["logits"], count)

    def _forget_graphs(self) -> None:
        self._stream.synchronize()
        self._graphs.clear()

    # Closing

    def _drop_kernels(self) -> None:
        with self._device.current():
            del self._localize

    # Reading

    def _read(self, count: int) -> list[Answer]:
        words = self._results.integers("records", count)
        records = cuda.read_records(words, self._options.max_boxes)
        if cuda.has_bad_scores(records.status):
            raise not_finite()
        try:
            cuda.raise_for_status(records.status)
        except InputError as error:
            raise maps_not_finite(error) from None
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


def _all_on_gpu(shots: Sequence[Shot]) -> bool:
    on_gpu = {isinstance(shot.frame, GpuFrame) for shot in shots}
    if len(on_gpu) > 1:
        raise InputError(
            "Frames on the GPU and on the host cannot be in one batch.",
            hint="Give them to run_batch one kind at a time.",
        )
    return True in on_gpu
