"""`ResizeFrame` on frames as cameras and decoders leave them on a GPU."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bas_edge import ops
from bas_edge.backends.device import DeviceBuffer
from bas_edge.ops import cuda
from bas_edge.ops.yuv import nv12_to_rgb

from .cases.resize_frame import example_frame
from .gpu_counts import resize_work
from .gpu_inputs import Arrays
from .gpu_op import GpuOp

__all__ = ["ResizeOp"]


class ResizeOp(GpuOp):
    """`ResizeFrame` of one whole frame, adjacent rows, to 224 × 224."""

    name = "resize_frame"

    def __init__(
        self,
        frame_size: tuple[int, int],
        pixels: Literal["RGB", "NV12"],
        size: tuple[int, int] = (224, 224),
    ) -> None:
        self.frame_size = frame_size
        self.pixels = pixels
        self.size = size
        self.title = f"{pixels}, {frame_size[1]}x{frame_size[0]}"
        self.work = resize_work(frame_size, size, pixels)

    def _contents(self) -> list[Arrays]:
        frames = [example_frame(seed, self.frame_size) for seed in range(4)]
        if self.pixels == "RGB":
            return [{"pixels": frame} for frame in frames]
        return [{"pixels": f[..., 1].copy(), "chroma": f[::2, ::2, ::2].copy()} for f in frames]

    def _result_bytes(self) -> int:
        return 3 * self.size[0] * self.size[1]

    def _make(self) -> cuda.ResizeFrame:
        height, width = self.frame_size
        return cuda.ResizeFrame(
            frame_size=self.frame_size,
            shown=(0, 0, width, height),
            size=self.size,
            target=(0, 0, self.size[1], self.size[0]),
        )

    def _run(self, op: cuda.ResizeFrame, at: int, result: DeviceBuffer, stream: int) -> None:
        height, width = self.frame_size
        has_chroma = self.pixels == "NV12"
        frame = cuda.DeviceFrame(
            height=height,
            width=width,
            pixels=self.inputs.address(at, "pixels"),
            pitch_bytes=width if has_chroma else 3 * width,
            chroma=self.inputs.address(at, "chroma") if has_chroma else 0,
            chroma_pitch_bytes=(width + 1) // 2 * 2 if has_chroma else 0,
        )
        op.run(frame, input_address=result.address, stream=stream)

    def _expected(self, content: Arrays) -> NDArray[np.uint8]:
        if self.pixels == "RGB":
            return ops.resize_frame(content["pixels"], self.size)
        return ops.resize_frame(nv12_to_rgb(content["pixels"], content["chroma"]), self.size)

    def _compare(self, at: int, expected: NDArray[np.uint8]) -> None:
        self.require(at, "the pixels", self.download(expected.shape, np.uint8), expected)
