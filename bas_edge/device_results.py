"""What comes back from a GPU: page-locked memory, by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bas_edge.backends.device import Device, Stream

__all__ = ["HostResults"]

_ALIGNED_BYTES = 256
_VALUE_BYTES = 4  # int32 and float32


class HostResults:
    """Arrays of 4-byte values that a stream can download into without waiting.

    Args:
        device: Whose memory comes back.
        shapes: Of each array; the first axis is the batch.
    """

    def __init__(self, device: Device, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._shapes = dict(shapes)
        self._offsets: dict[str, int] = {}
        size = 0
        for name, shape in shapes.items():
            self._offsets[name] = size
            size += aligned(_VALUE_BYTES * int(np.prod(shape)))
        self._staging = device.staging(size)

    def download(self, stream: Stream, name: str, address: int, count: int) -> None:
        """Enqueue the copy of the first `count` rows from `address` on the device."""
        row_bytes = _VALUE_BYTES * int(np.prod(self._shapes[name][1:]))
        stream.download(self._staging.address + self._offsets[name], address, count * row_bytes)

    def floats(self, name: str, count: int) -> NDArray[np.float32]:
        """A copy of the first `count` rows, once they have been downloaded."""
        shape, offset = self._shapes[name], self._offsets[name]
        size = _VALUE_BYTES * count * int(np.prod(shape[1:]))
        rows = self._staging.array[offset : offset + size].view(np.float32)
        return rows.reshape(count, *shape[1:]).copy()

    def integers(self, name: str, count: int) -> NDArray[np.int32]:
        """The same as int32."""
        return self.floats(name, count).view(np.int32)

    def free(self) -> None:
        self._staging.free()


def aligned(size_bytes: int) -> int:
    """Rounded up to where the next array may begin."""
    return -(-size_bytes // _ALIGNED_BYTES) * _ALIGNED_BYTES
