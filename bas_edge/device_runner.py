"""Frames through a plan on a GPU: a ring of slots, so that several batches are in flight."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Sequence
from contextlib import ExitStack

from bas_edge.backends.base import DevicePlan
from bas_edge.device_slot import DeviceSlot
from bas_edge.errors import BackendError, BasEdgeError, KernelError
from bas_edge.results import Timing
from bas_edge.runner import Answer, RunOptions, Shot

__all__ = ["DeviceRunner", "SharedPlan"]

_log = logging.getLogger("bas_edge")


class SharedPlan:
    """A plan and how many runners use it; the last one to leave closes it. Any thread."""

    def __init__(self, plan: DevicePlan) -> None:
        self.plan = plan
        self._users = 0
        self._lock = threading.Lock()

    def join(self) -> DevicePlan:
        with self._lock:
            self._users += 1
        return self.plan

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            self.plan.close()


class DeviceRunner:
    """See `runner.Runner`. A plan whose smallest batch is larger than what is given runs that."""

    def __init__(self, shared: SharedPlan, options: RunOptions, *, in_flight: int = 2) -> None:
        self._shared = shared
        self._options = options
        self._plan = shared.join()
        self._slots: list[DeviceSlot] = []
        self._pending: list[_Pending | None] = []
        self._next = 0
        # Also when it is dropped, and when Python ends: before the device lets go of its context.
        self._close = weakref.finalize(
            self, _close, os.getpid(), shared, self._slots, self._pending
        )
        try:
            self._slots.append(DeviceSlot(self._plan, options))
            for _ in range(in_flight - 1):
                self._add_slot()
        except BaseException:
            self._close()
            raise
        self._pending += [None] * len(self._slots)

    def _add_slot(self) -> None:
        """One more in flight, where the plan allows several contexts."""
        try:
            self._slots.append(DeviceSlot(self._plan, self._options))
        except (BackendError, KernelError) as error:
            _log.warning(f"Only {len(self._slots)} batch in flight at a time: {error}")

    @property
    def name(self) -> str:
        return self._plan.name

    @property
    def max_batch(self) -> int:
        return self._plan.batches[2]

    @property
    def in_flight(self) -> int:
        return len(self._slots)

    @property
    def device_index(self) -> int | None:
        return self._plan.device.index

    @property
    def graphs_refused(self) -> str:
        """Why no CUDA graph is used; empty where they are."""
        return next((slot.graphs_refused for slot in self._slots if slot.graphs_refused), "")

    def check(self, shots: Sequence[Shot]) -> None:
        self._slots[0].check(shots)

    def submit(self, shots: Sequence[Shot]) -> _Pending:
        at = self._next
        former = self._pending[at]
        if former is not None:
            former.collect()  # its answer waits there; the slot is free again
        self._slots[at].submit(shots)
        pending = self._pending[at] = _Pending(self._slots[at])
        self._next = (at + 1) % len(self._slots)
        return pending

    def clone(self, options: RunOptions | None = None) -> DeviceRunner:
        return DeviceRunner(self._shared, options or self._options, in_flight=len(self._slots))

    def close(self) -> None:
        self._close()


class _Pending:
    """See `runner.Pending`."""

    def __init__(self, slot: DeviceSlot) -> None:
        self._slot: DeviceSlot | None = slot
        self._answers: tuple[list[Answer], Timing] | None = None
        self._error: BasEdgeError | None = None

    def collect(self) -> None:
        """Wait and keep the answer, or the error, for result().

        Ctrl-C in the middle leaves it as it was: it can be waited for and read again.
        """
        slot = self._slot
        if slot is None:
            return
        try:
            self._answers = slot.result()
        except BasEdgeError as error:
            self._error = error
        slot.forget()
        self._slot = None

    def result(self) -> tuple[list[Answer], Timing]:
        self.collect()
        if self._error is not None:
            raise self._error
        assert self._answers is not None
        return self._answers


def _close(
    process: int,
    shared: SharedPlan,
    slots: Sequence[DeviceSlot],
    pending: Sequence[_Pending | None],
) -> None:
    if os.getpid() != process:
        return  # a forked child, in which CUDA does not work: it all belongs to the parent
    with ExitStack() as stack:  # each is closed, whatever becomes of the others
        stack.callback(shared.leave)
        for slot in slots:
            stack.callback(slot.close)
        for each in pending:
            if each is not None:
                stack.callback(each.collect)
