"""CUDA graphs, through the driver itself: pycuda has none, and so both libraries behave alike."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bas_edge.backends._cuda_context import Context
from bas_edge.backends._cuda_driver import Driver, DriverCallError
from bas_edge.backends._garbage import no_collection
from bas_edge.errors import BackendError

if TYPE_CHECKING:
    from bas_edge.backends.device import Graph, Stream

__all__ = ["CudaGraph", "capture"]

_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may go on allocating


class CudaGraph:
    """Captured work; see `device.Graph`."""

    def __init__(self, stream: Stream, context: Context, executable: int) -> None:
        self._stream = stream  # which keeps the device open
        self._context = context
        self._executable: int | None = executable
        self._give_back = context.track(
            self, functools.partial(context.driver.call, "cuGraphExecDestroy", executable)
        )

    def launch(self, stream: Stream) -> None:
        with self._context.entered("launching a graph"):
            if self._executable is None:
                raise BackendError("This graph was freed.")
            self._context.driver.call("cuGraphLaunch", self._executable, stream.handle)

    def free(self) -> None:
        self._executable = None
        self._give_back()


@contextmanager
def capture(stream: Stream, context: Context) -> Iterator[list[Graph]]:
    """See `device.Stream.capture`.

    Raises:
        BackendError: The block did what cannot be captured, such as allocating or waiting.
    """
    graphs: list[Graph] = []
    driver = context.driver
    # A collection in the block could free memory of others, which CUDA does not allow there.
    with context.entered("capturing a graph"), context.capturing(), no_collection():
        handle = stream.handle
        try:
            driver.call("cuStreamBeginCapture_v2", handle, _THREAD_LOCAL)
            yield graphs
        except BaseException:
            # What CUDA says of an abandoned capture adds nothing to the block's own error.
            with suppress(DriverCallError):
                driver.call("cuGraphDestroy", _end(driver, handle))
            raise
        graphs.append(CudaGraph(stream, context, _instantiate(driver, _end(driver, handle))))


def _end(driver: Driver, stream: int) -> int:
    graph = ctypes.c_void_p()
    driver.call("cuStreamEndCapture", stream, ctypes.byref(graph))
    return graph.value or 0


def _instantiate(driver: Driver, graph: int) -> int:
    executable = ctypes.c_void_p()
    try:
        driver.call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, 0)
    finally:
        driver.call("cuGraphDestroy", graph)
    return executable.value or 0
