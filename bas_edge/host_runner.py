"""Frames through a network on the host: NumPy arrays in, the CPU ops around a Backend."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.backends import Backend
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.errors import InputError
from bas_edge.foreground import foreground_boxes, foreground_maps
from bas_edge.framing import frame_to_input
from bas_edge.results import Timing
from bas_edge.runner import Answer, RunOptions, Shot, maps_not_finite, softmax

__all__ = ["HostRunner"]

_MAX_BATCH = 8  # frames that go through the network together; more only costs memory on a CPU


class HostRunner:
    """See `runner.Runner`. submit() does all the work, so nothing is ever in flight."""

    def __init__(self, backend: Backend, options: RunOptions) -> None:
        policy = options.manifest.input
        self.backend = backend
        self._options = options
        self._batch = np.empty((_MAX_BATCH, policy.height, policy.width, 3), np.uint8)

    @property
    def name(self) -> str:
        return self.backend.name

    @property
    def max_batch(self) -> int:
        return _MAX_BATCH

    @property
    def in_flight(self) -> int:
        return 1

    @property
    def device_index(self) -> int | None:
        return None

    def check(self, shots: Sequence[Shot]) -> None:
        for shot in shots:
            _on_host(shot)

    def submit(self, shots: Sequence[Shot]) -> _Done:
        start = time.perf_counter_ns()
        batch = self._fill_batch(shots)  # [N, h, w, 3]
        resized = time.perf_counter_ns()
        outputs = self.backend.run({INPUT_NAME: batch})
        inferred = time.perf_counter_ns()
        try:
            answers = self._answers(outputs)
        except InputError as error:  # what an op says of the network's numbers
            raise maps_not_finite(error) from None
        done = time.perf_counter_ns()
        count_ns = len(shots) * 1e6
        timing = Timing(
            (resized - start) / count_ns,
            (inferred - resized) / count_ns,
            (done - inferred) / count_ns,
        )
        return _Done(answers, timing)

    def clone(self, options: RunOptions | None = None) -> HostRunner:
        return HostRunner(self.backend.clone(), options or self._options)

    def close(self) -> None:
        self.backend.close()

    def _fill_batch(self, shots: Sequence[Shot]) -> NDArray[np.uint8]:
        if len(shots) == 1 and not shots[0].swap:
            return frame_to_input(_on_host(shots[0]), shots[0].placement)[None]
        for slot, shot in zip(self._batch, shots, strict=False):
            pixels = frame_to_input(_on_host(shot), shot.placement)
            if shot.swap:
                for channel in range(3):  # four times as fast as pixels[:, :, ::-1]
                    slot[:, :, channel] = pixels[:, :, 2 - channel]
            else:
                slot[...] = pixels
        return self._batch[: len(shots)]

    def _answers(self, outputs: Mapping[str, NDArray[Any]]) -> list[Answer]:
        maps = self._options.manifest.maps
        foreground = foreground_maps(outputs, maps, self._options.top_k)  # [N, h, w]
        scores = softmax(outputs["logits"])  # [N, C]
        labels = outputs["logits"].argmax(axis=1).tolist()
        boxes = foreground_boxes(foreground, self._options)
        nothing = np.empty(0, np.float32)
        keep = not self._options.boxes_only
        return [
            Answer(
                label=label,
                score=float(scores[i, label]),
                boxes=boxes[i],
                foreground=foreground[i] if keep else nothing.reshape(0, 0),
                scores=scores[i] if keep else nothing,
            )
            for i, label in enumerate(labels)
        ]


class _Done:
    """See `runner.Pending`."""

    def __init__(self, answers: list[Answer], timing: Timing) -> None:
        self._answers = answers
        self._timing = timing

    def result(self) -> tuple[list[Answer], Timing]:
        return self._answers, self._timing


def _on_host(shot: Shot) -> NDArray[np.uint8]:
    if not isinstance(shot.frame, np.ndarray):
        raise InputError(
            "The frame lies on a GPU, but this engine runs on the CPU.",
            hint="Copy it to the host first, or open the engine with a TensorRT backend.",
        )
    return shot.frame
