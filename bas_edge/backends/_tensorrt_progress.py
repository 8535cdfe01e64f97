"""A TensorRT build in a thread of its own, with its progress, its peak memory, and Ctrl-C.

Python delivers Ctrl-C to the main thread only, and only while it runs Python code. The build
therefore runs in a worker, while the calling thread waits where it can be interrupted; the
progress monitor then answers TensorRT's next question, whether to go on, with no.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bas_edge.backends._garbage import forget_frames, no_collection

__all__ = ["BuildProgress", "ProgressCallback", "make_monitor", "peak_bytes", "run_interruptible"]

ProgressCallback = Callable[[str, float], None]  # (phase, share of the whole build, 0 to 1)
_Result = TypeVar("_Result")
_PROCESS = Path("/proc/self")
_POLL_S = 0.1


@dataclass(slots=True)
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class BuildProgress:
    """From TensorRT's nested phases to one share of the whole that never goes back."""

    def __init__(self, callback: ProgressCallback | None = None) -> None:
        self._callback = callback
        self._phases: dict[str, _Phase] = {}
        self._share = 0.0
        self._cancelled = threading.Event()
        self.failure: BaseException | None = None

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Let TensorRT stop at its next step."""
        self._cancelled.set()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins; a phase without a parent begins a whole build."""
        if parent is None:
            self._phases.clear()
            self._share = 0.0
        self._phases[name] = _Phase(parent, max(1, steps))
        self._report(name)

    def step(self, name: str, index: int) -> bool:
        """Step `index` of a phase is done. Returns whether the build is to go on."""
        if name in self._phases:
            self._phases[name].done = index + 1
            self._report(name)
        return not self.cancelled

    def finish(self, name: str) -> None:
        """A phase ends; some end before their last step was told."""
        if name in self._phases:
            self._phases[name].done = self._phases[name].steps
            self._report(name)
            del self._phases[name]

    def _report(self, name: str) -> None:
        if self._callback is None or self.cancelled:
            return
        self._share = max(self._share, min(1.0, self._share_of_root()))
        try:
            self._callback(name, self._share)
        except BaseException as error:  # noqa: BLE001  (must not travel through TensorRT's frames)
            self.failure = error
            self.cancel()

    def _share_of_root(self) -> float:
        """Each phase counts as at most one step of its parent."""
        shares = dict.fromkeys(self._phases, 0.0)
        for name in reversed(list(self._phases)):  # children begin after their parents
            phase = self._phases[name]
            shares[name] = min(1.0, (phase.done + shares[name]) / phase.steps)
            if phase.parent in shares:
                shares[phase.parent] = max(shares[phase.parent], shares[name])
            else:
                return shares[name]
        return 0.0


def make_monitor(trt: Any, progress: BuildProgress) -> Any | None:
    """An IProgressMonitor of the module `trt`; None before TensorRT 9, which has none."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

    def __init__(self: Any) -> None:  # noqa: N807  (the method of a class that is made below)
        trt.IProgressMonitor.__init__(self)

    def phase_start(_self: Any, name: str, parent: str | None, steps: int) -> None:
        progress.start(name, parent, steps)

    def step_complete(_self: Any, name: str, index: int) -> bool:
        return progress.step(name, index)

    def phase_finish(_self: Any, name: str) -> None:
        progress.finish(name)

    members = {
        "__init__": __init__,
        "phase_start": phase_start,
        "step_complete": step_complete,
        "phase_finish": phase_finish,
    }
    return type("BasEdgeMonitor", (trt.IProgressMonitor,), members)()


def run_interruptible(work: Callable[[], _Result], progress: BuildProgress) -> _Result:
    """Call `work` in a thread and wait for it.

    Ctrl-C cancels `progress`; when `work` has returned, KeyboardInterrupt is raised. So is what
    the progress callback or `work` itself raised.
    """
    results: list[_Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        go.wait()
        try:
            if not progress.cancelled:
                with no_collection():
                    results.append(work())
        except BaseException as error:  # noqa: BLE001  (raised again below, in the caller's thread)
            forget_frames(error)
            failures.append(error)
        finally:
            done.set()

    # Events and not Thread.join: before Python 3.13, a join that Ctrl-C interrupts takes a
    # thread that still runs for a finished one.
    go, done = threading.Event(), threading.Event()
    worker = threading.Thread(target=run, name="bas-edge-build", daemon=True)
    interrupt: BaseException | None = None
    try:
        worker.start()
    except BaseException:  # Ctrl-C: the thread may be there, and must not begin
        progress.cancel()
        go.set()
        raise
    while True:
        try:
            go.set()
            while not done.is_set():
                done.wait(_POLL_S)
            break
        except KeyboardInterrupt as error:  # perhaps more than once
            interrupt = error
            progress.cancel()
    for failure in (interrupt, progress.failure, *failures):
        if failure is not None:
            raise failure
    return results[0]


def peak_bytes(*, reset: bool = False) -> int:
    """The process's peak resident memory; 0 where the system does not tell (not Linux).

    Args:
        reset: Begin a new measurement, where the kernel allows it; else the peak is that of the
            process's whole life.
    """
    if reset:
        with contextlib.suppress(OSError, ValueError):
            (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
    with contextlib.suppress(OSError, ValueError):
        status = (_PROCESS / "status").read_text(encoding="ascii", errors="replace")
        if found := re.search(r"^VmHWM:\s*(\d+) kB", status, re.M):
            return int(found[1]) * 1024
    return 0
