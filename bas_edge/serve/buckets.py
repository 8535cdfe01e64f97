"""How often somebody may do something."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

__all__ = ["Bucket", "Buckets"]


class Bucket:
    """Holds up to `burst` permits and gets `rate` new ones a second.

    Args:
        rate: Permits a second.
        burst: The most that are kept; full at first.
        clock: Seconds that only go forward.
    """

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._level, self._at = burst, clock()

    def take(self) -> bool:
        """Take one permit, if there is one."""
        if self.wait_s() > 0:
            return False
        self._level -= 1
        return True

    def wait_s(self) -> int:
        """Whole seconds until there is a permit; 0 if there is one."""
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        # A hair less than one counts: sums of fractions round.
        return 0 if self._level > 1 - 1e-9 else max(1, math.ceil((1 - self._level) / self._rate))


class Buckets:
    """A bucket for each of the `most` that came last, such as addresses."""

    def __init__(
        self,
        rate: float,
        burst: float,
        *,
        most: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._most = most
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()

    def of(self, key: Hashable) -> Bucket:
        """The bucket of `key`; a full one if it was not seen lately."""
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = Bucket(self._rate, self._burst, self._clock)
        self._buckets[key] = bucket
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return bucket
