"""What the runtime needs of one GPU, and nothing of any library that gives it.

Everything happens in the device's primary context, which torch, TensorRT and the kernels of
`bas_edge.ops` share. Addresses are plain integers; sizes are bytes.

Whoever makes an object keeps it until the work that uses it is done. One that is collected, or
whose device is closed, is freed then; used after that, it raises a BackendError, and so does every
call that the driver refuses: "CUDA: creating a stream failed: CUDA_ERROR_… (…), …."
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Device", "DeviceBuffer", "Event", "Graph", "Staging", "Stream"]


class DeviceBuffer(Protocol):
    """Memory on the device, until free(). Its content is undefined at first."""

    @property
    def address(self) -> int: ...

    @property
    def size_bytes(self) -> int: ...

    def free(self) -> None:
        """Give the memory back. Safe to call twice."""
        ...


class Staging(Protocol):
    """Page-locked memory on the host, so that copies from and to it are asynchronous.

    On an integrated GPU (Jetson) it is mapped: `device_address` is the same memory as the device
    sees it, and no copy is needed. Elsewhere `device_address` is None.
    """

    @property
    def array(self) -> NDArray[np.uint8]:
        """[size] uint8, the memory itself. It is given back after the last array of it is gone."""
        ...

    @property
    def address(self) -> int: ...

    @property
    def device_address(self) -> int | None: ...

    @property
    def size_bytes(self) -> int: ...

    def free(self) -> None:
        """Give the memory back. Safe to call twice."""
        ...


class Event(Protocol):
    """A point in a stream, set by Stream.record()."""

    def is_done(self) -> bool:
        """Whether the device has passed it, without waiting. True before it is ever recorded."""
        ...

    def wait(self) -> None:
        """Block this thread, with the GIL released, until the device has passed it."""
        ...

    def elapsed_ms(self, since: Event) -> float:
        """Milliseconds from `since` to this one, both passed; to about 0.5 µs.

        Raises:
            InputError: One of them was made without `timed`.
        """
        ...

    def free(self) -> None:
        """Give the event back. Safe to call twice."""
        ...


class Graph(Protocol):
    """Work captured from a stream, ready to be launched again and again.

    It holds the addresses that were captured, not the memory: keep that as long.
    """

    def launch(self, stream: Stream) -> None: ...

    def free(self) -> None:
        """Give the graph back. Safe to call twice."""
        ...


class Stream(Protocol):
    """A queue of work on the device. It and CUDA's default stream do not wait for each other."""

    @property
    def handle(self) -> int:
        """The cudaStream_t, as TensorRT and the kernels take it."""
        ...

    def upload(self, to_device: int, from_host: int, size_bytes: int) -> None:
        """Copy host → device; asynchronous when `from_host` is Staging. 0 bytes are no work."""
        ...

    def download(self, to_host: int, from_device: int, size_bytes: int) -> None:
        """Copy device → host; asynchronous when `to_host` is Staging."""
        ...

    def copy(self, to_device: int, from_device: int, size_bytes: int) -> None:
        """Copy device → device, asynchronously."""
        ...

    def record(self, event: Event) -> None: ...

    def wait_for(self, event: Event) -> None:
        """Let later work of this stream start only once `event` has passed."""
        ...

    def wait_for_stream(self, handle: int) -> None:
        """Let later work start only once what another stream, of anyone's, holds now is done.

        1 is the handle of CUDA's default stream. Not to be captured.
        """
        ...

    def capture(self) -> AbstractContextManager[list[Graph]]:
        """Record what the `with` block enqueues, instead of running it.

        The list is empty inside the block and holds the one Graph after it. When the block
        raises, the capture is abandoned and the stream is usable again. The context is current
        inside. This thread must not allocate or wait there, other threads may; what it frees, or
        what is collected, is given back after the block.
        """
        ...

    def synchronize(self) -> None:
        """Block this thread, with the GIL released, until all its work is done."""
        ...

    def free(self) -> None:
        """Wait for its work, then give the stream back. Safe to call twice."""
        ...


class Device(Protocol):
    """One GPU. Every method may be called from any thread; each makes the context current."""

    @property
    def index(self) -> int: ...

    @property
    def name(self) -> str:
        """As the driver names it, such as "NVIDIA H200"."""
        ...

    @property
    def compute_capability(self) -> tuple[int, int]:
        """(8, 7) on Orin, (9, 0) on Hopper."""
        ...

    @property
    def driver_cuda(self) -> tuple[int, int]:
        """The newest CUDA that the driver runs, such as (13, 0)."""
        ...

    @property
    def is_integrated(self) -> bool:
        """Whether host and device share one memory (Jetson)."""
        ...

    def memory_bytes(self) -> tuple[int, int]:
        """(free, total) now."""
        ...

    def index_of(self, address: int) -> int | None:
        """The device on which memory lies, of whoever made it; None where that is not known."""
        ...

    def current(self) -> AbstractContextManager[None]:
        """The primary context is current inside the block, and what was before is after it.

        For calls of others, such as TensorRT: the methods here do it for themselves.
        """
        ...

    def buffer(self, size_bytes: int) -> DeviceBuffer: ...

    def staging(self, size_bytes: int) -> Staging: ...

    def stream(self) -> Stream: ...

    def event(self, *, timed: bool = False) -> Event: ...

    def close(self) -> None:
        """Wait for the streams, free every object, release the primary context.

        It is released when no block of current() and no array of Staging is left. Safe to call
        twice, in any thread; done by itself when the device is collected and when Python ends.
        """
        ...
