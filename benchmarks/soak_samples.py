"""A process watched from outside: resident memory, threads and descriptors over time."""

from __future__ import annotations

import re
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["Sample", "Watch", "first_and_last", "growth_percent", "read_sample", "slope_mib_per_s"]


class Sample(NamedTuple):
    """One look at a process; `at_s` from the first one."""

    at_s: float
    rss_mib: float
    threads: int
    descriptors: int


class Watch:
    """Looks at a process every so often, from a thread, until it is gone or `stop` is called."""

    def __init__(self, pid: int, every_s: float = 1.0) -> None:
        self.samples: list[Sample] = []
        self._pid, self._every_s = pid, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        began = time.monotonic()
        while not self._stop.is_set():
            sample = read_sample(self._pid, time.monotonic() - began)
            if sample is None:
                return
            self.samples.append(sample)
            done = len(self.samples) * self._every_s
            self._stop.wait(max(0.0, began + done - time.monotonic()))


def read_sample(pid: int, at_s: float = 0.0) -> Sample | None:
    """What a process has now; None once it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None
    rss = re.search(r"^VmRSS:\s*(\d+) kB", status, re.M)
    threads = re.search(r"^Threads:\s*(\d+)", status, re.M)
    if rss is None or threads is None:  # it is just ending
        return None
    return Sample(at_s, int(rss[1]) / 1024, int(threads[1]), descriptors)


def first_and_last(values: Sequence[float]) -> tuple[float, float]:
    """Medians of the first and of the last tenth, of at least one value each."""
    tenth = max(1, len(values) // 10)
    return statistics.median(values[:tenth]), statistics.median(values[-tenth:])


def growth_percent(first: float, last: float) -> float:
    """Of the last over the first."""
    return 100 * (last - first) / first


def slope_mib_per_s(samples: Sequence[Sample]) -> float:
    """Of the resident memory, by least squares; 0 for a single sample."""
    if len(samples) < 2:
        return 0.0
    at_s, mib = np.array([(one.at_s, one.rss_mib) for one in samples]).T
    return float(np.polyfit(at_s, mib, 1)[0])
