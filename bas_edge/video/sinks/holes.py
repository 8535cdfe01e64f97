"""Where the frames of a stream do not follow each other."""

from __future__ import annotations

from bas_edge.video.frames import FrameResult

__all__ = ["Holes"]

_TIMES_LONGER = 3.0


class Holes:
    """Finds the frames of streams before which nobody knows what happened.

    The connection was lost before them, or they come later than `least_s` after the frame before
    and three times as late as that one came: a stream of a frame every ten seconds has no holes.

    Args:
        least_s: What is shorter is no hole.
    """

    def __init__(self, least_s: float) -> None:
        self._least_s = least_s
        self._last: dict[str, tuple[float, float]] = {}  # by stream: when, and how long after

    def before(self, result: FrameResult) -> bool:
        """Whether there is a hole before this result; to be asked once for each, in order."""
        now_s = result.time_s
        last_s, usual_s = self._last.get(result.stream, (now_s, 0.0))
        self._last[result.stream] = now_s, now_s - last_s
        late = now_s - last_s > max(self._least_s, _TIMES_LONGER * usual_s)
        return late or result.frame.gap_s > 0
