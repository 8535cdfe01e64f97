"""How many frames to give the network at once, learnt from how long it took."""

from __future__ import annotations

from collections import deque
from statistics import median

__all__ = ["BatchSize"]

_WORTH = 0.95  # a larger batch must cost this much less a frame: it delays its first frame
_TRIES = 3  # of each size before they are compared
_REMEMBERED = 9  # times of each size; their median counts, so that a slow moment does not
_LOOK_AGAIN = 100  # batches; machines heat up, and other programs come and go


class BatchSize:
    """Picks among 1, 2, 4 … `most`, by the time a frame took in batches of each size.

    On a GPU a batch costs less a frame. On a CPU it mostly does not, and only makes its first
    frame wait for its last; there, one frame after another is as fast and fresher.

    Args:
        most: No batch is larger.
    """

    def __init__(self, most: int) -> None:
        self._sizes = [size for size in (1, 2, 4, 8, 16, 32, 64) if size <= most] or [1]
        self._ms: dict[int, deque[float]] = {
            size: deque(maxlen=_REMEMBERED) for size in self._sizes
        }
        self._batches = 0

    def choose(self, ready: int) -> int:
        """How many of the frames that are `ready` to take now; at least 1."""
        sizes = [size for size in self._sizes if size <= ready] or [1]
        self._batches += 1
        for size in sizes:
            if len(self._ms[size]) < _TRIES:
                return size
        if self._batches % _LOOK_AGAIN == 0:
            return sizes[(self._batches // _LOOK_AGAIN) % len(sizes)]
        best = sizes[0]
        for size in sizes[1:]:
            if median(self._ms[size]) < _WORTH * median(self._ms[best]):
                best = size
        return best

    def learn(self, size: int, total_ms: float) -> None:
        """A batch of `size` frames took `total_ms`."""
        if size in self._ms:  # not where a frame of the batch could not be used
            self._ms[size].append(total_ms / size)

    def costs_ms(self) -> dict[int, float]:
        """What a frame costs in a batch of each size that was tried, in ms."""
        return {size: median(times) for size, times in self._ms.items() if times}
