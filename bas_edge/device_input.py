"""Frames into a plan's input on a GPU: staged, uploaded and resized, or resized where they lie."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bas_edge.backends.device import Device, DeviceBuffer, Staging, Stream
from bas_edge.device_frames import GpuFrame
from bas_edge.device_results import aligned
from bas_edge.errors import InputError
from bas_edge.framing import PADDING
from bas_edge.ops import cuda
from bas_edge.runner import Shot

__all__ = ["DeviceInput"]

_Key = tuple[object, ...]


class DeviceInput:
    """The input tensor of one slot, [batch, h, w, 3] uint8, and the way into it.

    Args:
        device: The GPU.
        stream: Where all work is enqueued.
        size: (h, w) of the network's input.
        batch: Most frames.
        kept: Frame sizes whose tables are kept.
        before_change: Called before an address that was enqueued changes; it waits for the stream
            and forgets what was captured.
    """

    def __init__(
        self,
        device: Device,
        stream: Stream,
        *,
        size: tuple[int, int],
        batch: int,
        kept: int,
        before_change: Callable[[], None],
    ) -> None:
        self._device = device
        self._stream = stream
        self._size = size
        self._kept = kept
        self._before_change = before_change
        self._frame_bytes = size[0] * size[1] * 3
        self._tensor = device.buffer(batch * self._frame_bytes)
        self._resizers: OrderedDict[_Key, cuda.ResizeFrame] = OrderedDict()
        self._staging: Staging | None = None
        self._uploaded: DeviceBuffer | None = None

    @property
    def address(self) -> int:
        """Of the tensor."""
        return self._tensor.address

    def stage(self, shots: Sequence[Shot]) -> list[int]:
        """Copy host frames into page-locked memory: the offset of each."""
        crops = [_shown(shot) for shot in shots]
        offsets = [0]
        for crop in crops:
            offsets.append(offsets[-1] + aligned(crop.nbytes))
        staging = self._staging_of(offsets[-1])
        for crop, offset in zip(crops, offsets, strict=False):
            np.copyto(staging.array[offset : offset + crop.nbytes].reshape(crop.shape), crop)
        return offsets[:-1]

    def check(self, shots: Sequence[Shot]) -> None:
        """Refuse frames that lie on another GPU, before anything is enqueued."""
        for shot in shots:
            assert isinstance(shot.frame, GpuFrame)
            view = shot.frame.view
            places = {self._device.index_of(at) for at in (view.pixels, view.chroma) if at}
            for index in places - {None, self._device.index}:
                raise InputError(
                    f"The frame lies on GPU {index}, but this engine runs on GPU "
                    f"{self._device.index}.",
                    hint=f"Move it with .to('cuda:{self._device.index}'), or open the engine "
                    f"with device={index}.",
                )

    def enqueue(self, shots: Sequence[Shot], offsets: Sequence[int]) -> None:
        """Upload where need be, and resize every frame into its place."""
        streams = {shot.frame.stream for shot in shots if isinstance(shot.frame, GpuFrame)}
        for handle in streams - {None}:
            assert handle is not None
            self._stream.wait_for_stream(handle)
        for slot, (shot, offset) in enumerate(zip(shots, offsets, strict=True)):
            if isinstance(shot.frame, GpuFrame):
                view, shown = shot.frame.view, shot.placement.shown
            else:
                view = self._uploaded_view(shot, offset)
                shown = (0, 0, view.width, view.height)
            self._resizer(view, shown, shot).run(
                view,
                input_address=self._tensor.address + slot * self._frame_bytes,
                stream=self._stream.handle,
            )

    def free(self) -> None:
        """Give everything back; nothing that was enqueued may still run."""
        with self._device.current():
            self._resizers.clear()
        for memory in (self._tensor, self._staging, self._uploaded):
            if memory is not None:
                memory.free()

    def _staging_of(self, size_bytes: int) -> Staging:
        if self._staging is not None and self._staging.size_bytes >= size_bytes:
            return self._staging
        self._before_change()
        if self._staging is not None:  # so that sizes that grow slowly do not come here each time
            size_bytes = max(size_bytes, self._staging.size_bytes * 3 // 2)
        for memory in (self._staging, self._uploaded):
            if memory is not None:
                memory.free()
        self._staging = self._uploaded = None  # so that a failure below leaves nothing half
        staging = self._device.staging(size_bytes)
        if staging.device_address is None:
            self._uploaded = self._device.buffer(size_bytes)
        self._staging = staging
        return staging

    def _uploaded_view(self, shot: Shot, offset: int) -> cuda.DeviceFrame:
        """Upload the shown part of a staged frame, unless the GPU sees the same memory."""
        left, top, right, bottom = shot.placement.shown
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
        """Made on first use, which is never inside a capture, and kept."""
        target = shot.placement.target
        key = (view.height, view.width, shown, target, shot.swap)
        resizer = self._resizers.get(key)
        if resizer is None:
            if len(self._resizers) >= self._kept:
                self._before_change()
                self._resizers.popitem(last=False)
            resizer = self._resizers[key] = cuda.ResizeFrame(
                frame_size=(view.height, view.width),
                shown=shown,
                size=self._size,
                target=target,
                padding=PADDING,
                swap_channels=shot.swap,
            )
        self._resizers.move_to_end(key)
        return resizer


def _shown(shot: Shot) -> NDArray[np.uint8]:
    """The part of a host frame that the network sees; no more is uploaded."""
    assert isinstance(shot.frame, np.ndarray)
    left, top, right, bottom = shot.placement.shown
    return shot.frame[top:bottom, left:right]
