"""The primary context of one GPU, as every object of the device layer shares it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from bas_edge.backends._cuda_driver import Driver, DriverCallError, backend_error
from bas_edge.errors import BackendError

__all__ = ["Calls", "Context"]


class Calls(Protocol):
    """What a Python library of CUDA does for us, in integers. All raise DriverCallError.

    Handles and addresses are integers. The primary context is retained when an object is made,
    and all but the first five members need it to be current.
    """

    @property
    def name(self) -> str: ...
    @property
    def compute_capability(self) -> tuple[int, int]: ...
    @property
    def is_integrated(self) -> bool: ...

    def push(self) -> int:
        """Make the context current in this thread; the result is for pop()."""
        ...

    def pop(self, before: int) -> None: ...

    def release(self) -> None:
        """Let go of the primary context, which is current in no thread through us."""
        ...

    def memory_info(self) -> tuple[int, int]: ...
    def alloc(self, size_bytes: int) -> int: ...
    def free(self, address: int) -> None: ...
    def alloc_host(self, size_bytes: int, *, mapped: bool) -> int: ...
    def free_host(self, address: int) -> None: ...
    def device_address(self, host_address: int) -> int: ...

    def stream_create(self) -> int: ...
    def stream_destroy(self, stream: int) -> None: ...
    def stream_synchronize(self, stream: int) -> None: ...
    def stream_wait(self, stream: int, event: int) -> None: ...
    def upload(self, to_device: int, from_host: int, size_bytes: int, stream: int) -> None: ...
    def download(self, to_host: int, from_device: int, size_bytes: int, stream: int) -> None: ...

    def event_create(self, *, timed: bool) -> int: ...
    def event_destroy(self, event: int) -> None: ...
    def event_record(self, event: int, stream: int) -> None: ...
    def event_is_done(self, event: int) -> bool: ...
    def event_synchronize(self, event: int) -> None: ...
    def event_elapsed_ms(self, start: int, end: int) -> float: ...


class _Here(threading.local):
    """What this thread is doing."""

    captures = 0  # blocks of Stream.capture() that it is in
    counting = 0  # blocks of _Counted that it is in

    def __init__(self) -> None:
        self.late: list[Callable[[], None]] = []  # to be given back when it is in neither

    def catch_up(self) -> None:
        while self.late and not self.captures and not self.counting:
            self.late.pop(0)()


class _Counted:
    """One thread at a time inside, where nothing is given back, whatever is collected there.

    So no thread waits for the driver while others wait for it.
    """

    def __init__(self, here: _Here) -> None:
        self._here = here
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._here.counting += 1
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self._here.counting -= 1
        self._here.catch_up()


class Context:
    """Pushes and pops the context around each use, and releases it once nothing needs it.

    Objects made in it are given back by their free(), when they are collected or by close(),
    whichever comes first, and only then.
    """

    def __init__(self, calls: Calls, driver: Driver) -> None:
        self.calls = calls
        self.driver = driver
        self._process = os.getpid()
        self._here = _Here()
        self._counted = _Counted(self._here)
        self._objects: dict[tuple[bool, int], weakref.finalize[..., Any]] = {}
        self._made = 0
        self._users = 0  # blocks of entered() in all threads
        self._pins = 0  # host memory that somebody may still look at
        self._closed = False
        self._released = False

    @property
    def is_closed(self) -> bool:
        return self._closed

    @contextmanager
    def entered(self, doing: str) -> Iterator[Calls]:
        """The context is current inside the block; what was current before is so again after it.

        Raises:
            BackendError: The device is closed, or a call of the block failed: "CUDA: `doing`
                failed: …".
        """
        with self._counted:
            if self._closed:
                raise BackendError("This GPU device was closed.", hint="Open it again.")
            self._users += 1
        try:
            before = self.calls.push()
            try:
                yield self.calls
            finally:
                self.calls.pop(before)
        except DriverCallError as error:
            raise backend_error(self.driver, doing, error) from None
        finally:
            with self._counted:
                self._users -= 1
            self._release_if_unused()

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """What is given back by this thread inside the block is so after it.

        Memory must not be freed while a stream is captured, and collection may come any time.
        """
        here = self._here
        here.captures += 1
        try:
            yield
        finally:
            here.captures -= 1
            here.catch_up()

    def track(
        self,
        owner: object,
        give_back: Callable[[], None],
        *,
        first: bool = False,
        pin: bool = False,
    ) -> Callable[[], object]:
        """Have `give_back` called once, in the context; the result calls it now, or does nothing.

        close() begins with what is `first`: streams, which wait for work that uses the others. A
        `pin` keeps the context instead, also after close(): `owner` is memory that somebody may
        still be reading.
        """
        with self._counted:
            self._made += 1
            key = (first, self._made)
            finalizer = weakref.finalize(owner, self._dispose, key, give_back, pin)
            finalizer.atexit = False  # close() is called then, and has the right order
            if pin:
                self._pins += 1
            else:
                self._objects[key] = finalizer
        return finalizer

    def close(self) -> None:
        """Give everything back, then the context once no thread is in it."""
        with self._counted:
            if self._closed:
                return
            self._closed = True
        for key in sorted(self._objects, reverse=True):
            finalizer = self._objects.get(key)
            if finalizer is not None:
                finalizer()
        self._release_if_unused()

    def _dispose(self, key: tuple[bool, int], give_back: Callable[[], None], pin: bool) -> None:
        if os.getpid() != self._process:
            return  # a forked child must not touch the GPU objects of its parent

        def once() -> None:
            # A lost context takes its objects along; its error was told when it happened.
            with suppress(DriverCallError):
                before = self.calls.push()
                try:
                    give_back()
                finally:
                    self.calls.pop(before)
            with self._counted:
                self._objects.pop(key, None)
                self._pins -= pin
            self._release_if_unused()

        self._here.late.append(once)
        self._here.catch_up()

    def _release_if_unused(self) -> None:
        if not self._closed:
            return  # close() will look again
        with self._counted:
            needed = self._users or self._pins or self._objects
            if self._released or needed:
                return
            self._released = True
        with suppress(DriverCallError):  # a driver that shuts down takes the context along
            self.calls.release()
