"""Many different inputs of an op in a GPU's memory, gone through in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.backends.device import Device, DeviceBuffer, Stream

__all__ = ["ROTATED_BYTES", "Arrays", "RotatingInputs", "download"]

ROTATED_BYTES = 256 << 20  # what an op reads before it comes back to the first input
_MOST_SETS = 512

Arrays = Mapping[str, NDArray[Any]]


class RotatingInputs:
    """Sets of inputs at different addresses; set i holds the content `contents[i % len]`.

    Args:
        read_bytes: What the op reads of one set.
        rotated_bytes: Sets are made until the op reads that much, but at least two, and no more
            than 512 or than a quarter of the free memory holds.
    """

    def __init__(
        self,
        device: Device,
        stream: Stream,
        contents: Sequence[Arrays],
        *,
        read_bytes: int,
        rotated_bytes: int = ROTATED_BYTES,
    ) -> None:
        self._stream = stream
        self.contents = contents
        set_bytes = sum(array.nbytes for array in contents[0].values())
        room = device.memory_bytes()[0] // 4 // set_bytes
        self.count = max(2, min(-(-rotated_bytes // read_bytes), _MOST_SETS, room))
        self.read_bytes = self.count * read_bytes
        self._originals = [self._upload(device, arrays) for arrays in contents]
        self._sets: list[dict[str, DeviceBuffer]] = []
        for at in range(self.count):
            self._sets.append({name: device.buffer(a.nbytes) for name, a in contents[0].items()})
            self.rewrite(at)
        stream.synchronize()

    def address(self, at: int, name: str) -> int:
        return self._sets[at][name].address

    def content(self, at: int) -> Arrays:
        """What lies in set `at`."""
        return self.contents[at % len(self.contents)]

    def rewrite(self, at: int) -> None:
        """Enqueue: write set `at` once more, so that it is what the caches saw last."""
        for name, original in self._originals[at % len(self.contents)].items():
            self._stream.copy(self._sets[at][name].address, original.address, original.size_bytes)

    def free(self) -> None:
        for buffers in (*self._originals, *self._sets):
            for buffer in buffers.values():
                buffer.free()

    def _upload(self, device: Device, arrays: Arrays) -> dict[str, DeviceBuffer]:
        buffers = {}
        for name, array in arrays.items():
            data = np.ascontiguousarray(array)
            buffers[name] = device.buffer(data.nbytes)
            self._stream.upload(buffers[name].address, data.ctypes.data, data.nbytes)
            self._stream.synchronize()  # `data` is read until then
        return buffers


def download(stream: Stream, address: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """What lies at `address` once the stream's work is done."""
    result = np.empty(shape, dtype)
    stream.download(result.ctypes.data, address, result.nbytes)
    stream.synchronize()
    return result
