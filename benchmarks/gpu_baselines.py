"""Frames to boxes on a GPU without our kernels: Pillow, a network, and the published steps.

Both baselines differ in the network only: eager torch, or the very plan that ours runs, uploaded
and downloaded in page-locked memory and replayed as one CUDA graph.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bas_edge.backends.base import DevicePlan
from bas_edge.backends.device import DeviceBuffer, Staging
from bas_edge.device_graphs import GraphCache
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.manifest import Manifest

from .eager import fraction_of_range
from .harness import Answer
from .published import average_top_maps, foreground_to_box

__all__ = ["PlanNetwork", "eager_network", "published_call"]

Outputs = Mapping[str, NDArray[Any]]
HostNetwork = Callable[[NDArray[np.uint8]], Outputs]  # frames [N, h, w, 3] → outputs, on the host


class PlanNetwork:
    """A plan as a function from arrays to arrays on the host; waits for each batch."""

    def __init__(self, plan: DevicePlan, batch: int) -> None:
        device = plan.device
        self._plan = plan
        self._batch = batch
        self._context = plan.context()
        self._stream = device.stream()
        self._graphs = GraphCache(self._stream, kept=1)
        self._specs = {spec.name: spec for spec in (*plan.inputs, *plan.outputs)}
        self._shapes = {
            name: (batch, *(side or 0 for side in spec.shape[1:]))
            for name, spec in self._specs.items()
        }
        self._buffers: dict[str, DeviceBuffer] = {}
        self._staging: dict[str, Staging] = {}
        for name, spec in self._specs.items():
            size = spec.dtype.itemsize * int(np.prod(self._shapes[name]))
            self._buffers[name] = device.buffer(size)
            self._staging[name] = device.staging(size)

    def __call__(self, frames: NDArray[np.uint8]) -> Outputs:
        np.copyto(self._host(INPUT_NAME), frames)
        if not self._graphs.launch("batch"):
            with self._plan.device.current():
                self._enqueue()
            self._graphs.ran(
                "batch", self._enqueue, lambda: self._context.refuses_capture(self._stream)
            )
        self._stream.synchronize()
        return {spec.name: self._host(spec.name) for spec in self._plan.outputs}

    def close(self) -> None:
        """Free everything, and the plan."""
        self._stream.synchronize()
        self._graphs.clear()
        self._context.close()
        self._stream.free()
        for memory in (*self._buffers.values(), *self._staging.values()):
            memory.free()
        self._plan.close()

    def _host(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = self._staging[name].array.view(self._specs[name].dtype)
        return array.reshape(self._shapes[name])

    def _enqueue(self) -> None:
        buffers, staging = self._buffers, self._staging
        frames, host = buffers[INPUT_NAME], staging[INPUT_NAME]
        self._stream.upload(frames.address, host.address, frames.size_bytes)
        addresses = {name: buffer.address for name, buffer in buffers.items()}
        self._context.enqueue(addresses, self._batch, self._stream)
        for spec in self._plan.outputs:
            size = buffers[spec.name].size_bytes
            self._stream.download(staging[spec.name].address, addresses[spec.name], size)


def eager_network(network: Any) -> HostNetwork:
    """A `TorchNetwork` on the GPU, eagerly."""
    import torch

    @torch.inference_mode()
    def call(frames: NDArray[np.uint8]) -> Outputs:
        outputs = network(torch.from_numpy(frames).cuda())
        return {name: tensor.cpu().numpy() for name, tensor in outputs.items()}

    return call


def published_call(
    network: HostNetwork, manifest: Manifest, batches: Sequence[Sequence[NDArray[np.uint8]]]
) -> Callable[[int], Answer]:
    """A session whose call takes batch `index` to boxes [N, 4] in pixels of the frames."""
    side = (manifest.input.width, manifest.input.height)

    def call(index: int) -> Answer:
        start = time.perf_counter_ns()
        small = np.stack(
            [
                np.asarray(Image.fromarray(frame).resize(side, Image.Resampling.BILINEAR))
                for frame in batches[index]
            ]
        )
        resized = time.perf_counter_ns()
        outputs = network(small)
        inferred = time.perf_counter_ns()
        boxes = [
            _box(outputs["maps"][at], _scores(outputs, at), manifest, frame.shape[:2])
            for at, frame in enumerate(batches[index])
        ]
        end = time.perf_counter_ns()
        stages = {"pre": resized - start, "infer": inferred - resized, "post": end - inferred}
        return Answer(boxes, {name: ns / 1e6 for name, ns in stages.items()})

    return call


def _scores(outputs: Outputs, at: int) -> NDArray[np.float32]:
    """Of the maps that are there: all classes', or the picked ones'."""
    scores: NDArray[np.float32] = outputs["logits"][at]
    return scores[outputs["classes"][at]] if "classes" in outputs else scores


def _box(
    maps: NDArray[np.float32],
    scores: NDArray[np.float32],
    manifest: Manifest,
    frame_size: tuple[int, ...],
) -> tuple[float, float, float, float]:
    size = (manifest.input.height, manifest.input.width)
    foreground = average_top_maps(maps, scores, manifest.top_k)
    fraction = fraction_of_range(foreground, manifest.threshold)
    x0, y0, x1, y1 = foreground_to_box(foreground, size, fraction)
    sy, sx = frame_size[0] / size[0], frame_size[1] / size[1]
    return (x0 * sx, y0 * sy, x1 * sx, y1 * sy)
