"""The CUDA ops as functions from NumPy arrays to NumPy arrays, so that tests read like the CPU's.

`Memory` is where the arrays live meanwhile: on a GPU, or, with the emulated kernels, on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bas_edge.backends._cuda import open_device
from bas_edge.backends.device import Device, DeviceBuffer, Stream
from bas_edge.ops import Boxes, Rule, cuda

Array = NDArray[Any]


class Memory(Protocol):
    stream: int

    def put(self, array: Array) -> int:
        """The address of a copy of `array`, valid until release()."""

    def get(self, address: int, shape: tuple[int, ...], dtype: Any) -> Array:
        """A copy of what is there once the stream's work is done."""

    def release(self) -> None: ...


class HostMemory:
    """For emulated kernels. New memory holds bytes that no op would write."""

    stream = 0

    def __init__(self) -> None:
        self._kept: dict[int, Array] = {}

    def put(self, array: Array) -> int:
        kept = np.array(array, order="C", copy=True).reshape(-1).view(np.uint8)
        self._kept[kept.ctypes.data] = kept
        return int(kept.ctypes.data)

    def get(self, address: int, shape: tuple[int, ...], dtype: Any) -> Array:
        if address in self._kept:
            count = int(np.prod(shape)) * np.dtype(dtype).itemsize
            return self._kept[address][:count].view(dtype).reshape(shape).copy()
        return read_host(address, shape, dtype)

    def release(self) -> None:
        self._kept.clear()


def read_host(address: int, shape: tuple[int, ...], dtype: Any) -> Array:
    import ctypes

    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(ctypes.string_at(address, size), dtype).reshape(shape).copy()


class DeviceMemory:
    """On a GPU, with one stream for everything."""

    def __init__(self, device: Device, stream: Stream) -> None:
        self._device = device
        self._stream = stream
        self._kept: list[DeviceBuffer] = []
        self.stream = stream.handle

    def put(self, array: Array) -> int:
        data = np.ascontiguousarray(array)
        buffer = self._device.buffer(data.nbytes)
        self._kept.append(buffer)
        self._stream.upload(buffer.address, data.ctypes.data, data.nbytes)
        self._stream.synchronize()  # `data` is read until then
        return buffer.address

    def get(self, address: int, shape: tuple[int, ...], dtype: Any) -> Array:
        result = np.empty(shape, dtype)
        self._stream.download(result.ctypes.data, address, result.nbytes)
        self._stream.synchronize()
        return result

    def release(self) -> None:
        for buffer in self._kept:
            buffer.free()
        self._kept.clear()


@contextmanager
def gpu_memory() -> Iterator[Callable[[], DeviceMemory]]:
    """Makes memory on the first GPU, whose primary context is current inside the block.

    Ops are to be made and run there, so that CUDA's runtime adopts no context of its own accord.
    """
    device = open_device()
    try:
        stream = device.stream()
        with device.current():
            yield lambda: DeviceMemory(device, stream)
    finally:
        device.close()


def untouched(shape: tuple[int, ...], dtype: Any) -> Array:
    return np.full(int(np.prod(shape)) * np.dtype(dtype).itemsize, 0xA5, np.uint8).view(dtype)


class CudaOps:
    """Each method makes its op, runs it once and brings the result back."""

    def __init__(self, new_memory: Callable[[], Memory]) -> None:
        self._new_memory = new_memory

    def aggregate_maps(
        self, maps: NDArray[np.float32], scores: NDArray[np.float32], k: int
    ) -> NDArray[np.float32]:
        images, classes, *cells = maps.shape
        memory = self._new_memory()
        op = cuda.AggregateMaps(
            max_images=max(images, 1), classes=classes, cells=cells[0] * cells[1], k=k
        )
        foreground = memory.put(untouched((images, *cells), np.float32))
        op.run(
            maps=memory.put(maps),
            scores=memory.put(scores),
            images=images,
            foreground=foreground,
            stream=memory.stream,
        )
        cuda.raise_for_status(memory.get(op.status, (images,), np.int32))
        result = memory.get(foreground, (images, *cells), np.float32)
        memory.release()
        return result

    def maps_to_boxes(
        self,
        foreground: NDArray[np.float32],
        size: tuple[int, int],
        threshold: float | NDArray[np.float32],
        *,
        rule: Rule = "fixed",
        min_area: int = 1,
        max_boxes: int = 1,
    ) -> Boxes:
        options = {"rule": rule, "min_area": min_area, "max_boxes": max_boxes}
        return self._boxes_and_masks(foreground, size, threshold, options)[0]

    def maps_to_masks(
        self,
        foreground: NDArray[np.float32],
        size: tuple[int, int],
        threshold: float | NDArray[np.float32],
        *,
        rule: Rule = "fixed",
    ) -> NDArray[np.bool_]:
        return self._boxes_and_masks(foreground, size, threshold, {"rule": rule})[1]

    def _boxes_and_masks(
        self,
        foreground: NDArray[np.float32],
        size: tuple[int, int],
        threshold: float | NDArray[np.float32],
        options: dict[str, Any],
    ) -> tuple[Boxes, NDArray[np.bool_]]:
        images, *map_size = foreground.shape
        max_boxes = options.get("max_boxes", 1)
        op = cuda.MapsToBoxes(
            max_images=max(images, 1), map_size=(map_size[0], map_size[1]), size=size, **options
        )
        memory = self._new_memory()
        each = isinstance(threshold, np.ndarray)
        words = cuda.record_words(max_boxes)
        records = memory.put(untouched((images, words), np.int32))
        masks = memory.put(untouched((images, *size), np.bool_))
        op.run(
            foreground=memory.put(foreground),
            threshold=0.0 if each else threshold,
            thresholds=memory.put(threshold) if each else 0,
            images=images,
            records=records,
            masks=masks,
            stream=memory.stream,
        )
        read = cuda.read_records(memory.get(records, (images, words), np.int32), max_boxes)
        cuda.raise_for_status(read.status)
        found = memory.get(masks, (images, *size), np.bool_)
        memory.release()
        return read.boxes, found

    def upsample_maps(
        self, foreground: NDArray[np.float32], size: tuple[int, int]
    ) -> NDArray[np.float32]:
        images, *map_size = foreground.shape
        op = cuda.MapsToBoxes(
            max_images=max(images, 1), map_size=(map_size[0], map_size[1]), size=size
        )
        memory = self._new_memory()
        pixels = memory.put(untouched((images, *size), np.float32))
        op.upsample(
            foreground=memory.put(foreground), images=images, pixels=pixels, stream=memory.stream
        )
        result = memory.get(pixels, (images, *size), np.float32)
        memory.release()
        return result

    def localize_maps(
        self, logits: NDArray[np.float32], maps: NDArray[np.float32], **options: Any
    ) -> tuple[cuda.Records, NDArray[np.float32], NDArray[np.bool_]]:
        """The records, the foreground maps and the masks."""
        images, count, *map_size = maps.shape
        size = options["size"]
        op = cuda.LocalizeMaps(
            classes=logits.shape[1],
            maps=count,
            max_images=max(images, 1),
            map_size=(map_size[0], map_size[1]),
            **options,
        )
        memory = self._new_memory()
        max_boxes = options.get("max_boxes", 1)
        words = cuda.record_words(max_boxes)
        records = memory.put(untouched((images, words), np.int32))
        masks = memory.put(untouched((images, *size), np.bool_))
        maps_address = memory.put(maps)
        for _ in range(2):  # the second run finds the workspace used
            op.run(
                logits=memory.put(logits),
                maps=maps_address,
                images=images,
                records=records,
                masks=masks,
                stream=memory.stream,
            )
        result = (
            cuda.read_records(memory.get(records, (images, words), np.int32), max_boxes),
            memory.get(op.foreground or maps_address, (images, *map_size), np.float32),
            memory.get(masks, (images, *size), np.bool_),
        )
        memory.release()
        return result

    def resize_frame(
        self,
        frame: NDArray[np.uint8],
        size: tuple[int, int],
        *,
        chroma: NDArray[np.uint8] | None = None,
        matrix: Any = "bt709",
        pitch_bytes: int = 0,
        shown: tuple[int, int, int, int] | None = None,
        target: tuple[int, int, int, int] | None = None,
        padding: int = 0,
        swap_channels: bool = False,
    ) -> NDArray[np.uint8]:
        """`frame` is [H, W, 3], or with `chroma` the luma [H, W] of NV12."""
        height, width = frame.shape[:2]
        op = cuda.ResizeFrame(
            frame_size=(height, width),
            shown=shown or (0, 0, width, height),
            size=size,
            target=target or (0, 0, size[1], size[0]),
            padding=padding,
            swap_channels=swap_channels,
        )
        memory = self._new_memory()
        pixels, pitch = _pitched(frame, pitch_bytes)
        uv, uv_pitch = (None, 0) if chroma is None else _pitched(chroma, pitch_bytes)
        resized = memory.put(untouched((*size, 3), np.uint8))
        on_device = cuda.DeviceFrame(
            height=height,
            width=width,
            pixels=memory.put(pixels),
            pitch_bytes=pitch,
            chroma=0 if uv is None else memory.put(uv),
            chroma_pitch_bytes=uv_pitch,
            matrix=matrix,
        )
        op.run(on_device, input_address=resized, stream=memory.stream)
        result = memory.get(resized, (*size, 3), np.uint8)
        memory.release()
        return result


def _pitched(plane: NDArray[np.uint8], extra: int) -> tuple[NDArray[np.uint8], int]:
    """Its rows with `extra` bytes after each."""
    rows = plane.reshape(len(plane), -1)
    padded = np.full((len(rows), rows.shape[1] + extra), 0xEE, np.uint8)
    padded[:, : rows.shape[1]] = rows
    return padded, padded.shape[1]
