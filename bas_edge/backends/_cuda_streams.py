"""Streams of work on one GPU, and events in them."""

from __future__ import annotations

import ctypes
import functools
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from bas_edge.backends._cuda_context import Calls, Context
from bas_edge.backends._cuda_graphs import capture
from bas_edge.errors import BackendError, InputError

if TYPE_CHECKING:
    from bas_edge.backends.device import Event, Graph

__all__ = ["CudaEvent", "CudaStream"]

_DISABLE_TIMING = 2  # CU_EVENT_DISABLE_TIMING


class CudaEvent:
    """A point in a stream; see `device.Event`."""

    def __init__(self, device: object, context: Context, *, timed: bool) -> None:
        with context.entered("creating an event") as calls:
            token = calls.event_create(timed=timed)
        self._device = device  # kept open as long as this is in use
        self._context = context
        self._token: int | None = token
        self._timed = timed
        self._give_back = context.track(self, functools.partial(calls.event_destroy, token))

    def token(self, context: Context) -> int:
        """What `Calls` of the same device know it by."""
        if self._token is None:
            raise BackendError("This event was freed.")
        if context is not self._context:
            raise InputError("This event belongs to another device.")
        return self._token

    def is_done(self) -> bool:
        with self._context.entered("asking whether an event has passed") as calls:
            return calls.event_is_done(self.token(self._context))

    def wait(self) -> None:
        with self._context.entered("waiting for an event") as calls:
            calls.event_synchronize(self.token(self._context))

    def elapsed_ms(self, since: Event) -> float:
        start = _own(since)
        if not (self._timed and start._timed):
            raise InputError(
                "An event without timing has no time.", hint="Make both by event(timed=True)."
            )
        with self._context.entered("reading the time between two events") as calls:
            return calls.event_elapsed_ms(start.token(self._context), self.token(self._context))

    def free(self) -> None:
        self._token = None
        self._give_back()


class CudaStream:
    """A queue of work; see `device.Stream`. It does not wait for CUDA's default stream."""

    def __init__(self, device: object, context: Context) -> None:
        with context.entered("creating a stream") as calls:
            handle = calls.stream_create()
        self._device = device  # kept open as long as this is in use
        self._context = context
        self._handle: int | None = handle
        give_back = functools.partial(_end_stream, calls, handle)
        self._give_back = context.track(self, give_back, first=True)

    @property
    def handle(self) -> int:
        if self._handle is None or self._context.is_closed:
            raise BackendError("This stream was freed, or its device was closed.")
        return self._handle

    def upload(self, to_device: int, from_host: int, size_bytes: int) -> None:
        with self._context.entered(f"copying {size_bytes} bytes to the GPU") as calls:
            stream = self.handle
            if size_bytes:
                calls.upload(to_device, from_host, size_bytes, stream)

    def download(self, to_host: int, from_device: int, size_bytes: int) -> None:
        with self._context.entered(f"copying {size_bytes} bytes from the GPU") as calls:
            stream = self.handle
            if size_bytes:
                calls.download(to_host, from_device, size_bytes, stream)

    def record(self, event: Event) -> None:
        with self._context.entered("recording an event") as calls:
            calls.event_record(_own(event).token(self._context), self.handle)

    def wait_for(self, event: Event) -> None:
        with self._context.entered("making a stream wait for an event") as calls:
            calls.stream_wait(self.handle, _own(event).token(self._context))

    def wait_for_stream(self, handle: int) -> None:
        driver = self._context.driver
        event = ctypes.c_void_p()
        with self._context.entered("waiting for another stream"):
            driver.call("cuEventCreate", ctypes.byref(event), _DISABLE_TIMING)
            try:
                driver.call("cuEventRecord", event, handle)
                driver.call("cuStreamWaitEvent", self.handle, event, 0)
            finally:
                driver.call("cuEventDestroy_v2", event)  # once it has passed

    def copy(self, to_device: int, from_device: int, size_bytes: int) -> None:
        with self._context.entered(f"copying {size_bytes} bytes on the GPU"):
            stream = self.handle
            if size_bytes:
                self._context.driver.call(
                    "cuMemcpyDtoDAsync_v2", to_device, from_device, size_bytes, stream
                )

    def capture(self) -> AbstractContextManager[list[Graph]]:
        return capture(self, self._context)

    def synchronize(self) -> None:
        with self._context.entered("waiting for a stream") as calls:
            calls.stream_synchronize(self.handle)

    def free(self) -> None:
        self._handle = None
        self._give_back()


def _own(event: Event) -> CudaEvent:
    if not isinstance(event, CudaEvent):
        raise InputError(f"A CUDA event is needed, but this is a {type(event).__name__}.")
    return event


def _end_stream(calls: Calls, handle: int) -> None:
    try:
        calls.stream_synchronize(handle)  # so that memory freed after it is not in use
    finally:
        calls.stream_destroy(handle)
