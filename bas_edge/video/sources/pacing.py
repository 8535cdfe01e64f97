"""Which frames of a source are delivered, when, and at what time of the stream they stand."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass

from bas_edge.errors import InputError
from bas_edge.video.sources.capture import Picture
from bas_edge.video.sources.frame_queue import Policy

__all__ = ["Pacing", "StreamOptions"]

_RATE_FRAMES = 60
_BACK_FRAMES, _AHEAD_S = 2, 10.0  # a clock that is off by more was set anew, or another begins
_SLACK_FRAMES = 0.55  # half an interval early or late, and what containers round


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Which frames of a source are delivered.

    Attributes:
        policy: What happens to frames while nobody takes them; see `FrameQueue`.
        depth: How many frames may wait; None is 1 with "newest" and 3 otherwise.
        stride: Every how many-th frame is delivered; 1 is all.
        max_fps: At most so many frames a second; None is no limit.
        realtime: Deliver the frames of a file at the times they stand at, as a camera would.
        loop: Begin a file again when it ends, for ever.
        stall_s: A live source without a frame for so many seconds is "stalled".
        silence_s: Without a frame for so long its connection counts as lost.
    """

    policy: Policy = "wait"
    depth: int | None = None
    stride: int = 1
    max_fps: float | None = None
    realtime: bool = False
    loop: bool = False
    stall_s: float = 2.0
    silence_s: float = 10.0

    def __post_init__(self) -> None:
        if self.policy not in ("newest", "oldest", "wait"):
            raise InputError(f"policy is '{self.policy}', but must be newest, oldest or wait.")
        if not isinstance(self.stride, int) or self.stride < 1:
            raise InputError(
                f"stride is {self.stride}, but must be a whole number: 1 (all frames) or more."
            )
        if self.depth is not None and (
            not isinstance(self.depth, int) or not 1 <= self.depth <= 1000
        ):
            raise InputError(
                f"depth is {self.depth} frames, but must be a whole number: 1 to 1000."
            )
        if self.max_fps is not None and not 0 < self.max_fps < math.inf:
            raise InputError(f"max_fps is {self.max_fps}, but must be a positive number.")
        if not 0 < self.stall_s <= self.silence_s < math.inf:
            raise InputError(
                f"stall_s is {self.stall_s} and silence_s {self.silence_s}, but both must be "
                "positive, and a source stalls no later than its connection counts as lost."
            )


class Pacing:
    """Decides frame by frame; one thread asks, any may pause."""

    def __init__(self, options: StreamOptions, *, live: bool) -> None:
        self._options = options
        self._live = live
        self._running = threading.Event()
        self._running.set()
        self._offset_s: float | None = None  # of this connection's own clock
        self._last_s = -math.inf
        self._last_at = -math.inf  # monotonic time of the picture that stands at _last_s
        self._next_s = -math.inf  # when max_fps allows the next frame
        self._released: float | None = None  # monotonic time at which the stream's time was 0
        self._arrivals: deque[float] = deque(maxlen=_RATE_FRAMES)

    def connected(self) -> None:
        """A new connection begins: its clock starts again."""
        self._offset_s = None

    @property
    def paused(self) -> bool:
        return not self._running.is_set()

    def pause(self) -> None:
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    def rate(self) -> float:
        """Pictures a second over the last ones; 0.0 where none came for a while."""
        arrivals = list(self._arrivals)
        if len(arrivals) < 2:
            return 0.0
        span_s = max(arrivals[-1], time.monotonic() - 1.0) - arrivals[0]
        return (len(arrivals) - 1) / span_s if span_s > 0 else 0.0

    def place(
        self, index: int, picture: Picture, fps: float | None, stop: threading.Event
    ) -> tuple[float, float] | None:
        """(time_s, captured_at) of a picture that is to be delivered; None if it is not.

        Waits where a file is paused, or is played in real time.
        """
        self._arrivals.append(time.monotonic())
        time_s = self._time_s(picture, fps)
        if self.paused:
            if self._live:
                return None
            held = time.monotonic()
            self._wait_for_resume(stop)
            if self._released is not None:
                self._released += time.monotonic() - held
        captured_at = picture.captured_at
        if self._options.realtime:
            captured_at = self._release(time_s, stop)
        if index % self._options.stride or not self._allowed(time_s, fps):
            return None
        return time_s, captured_at

    def _time_s(self, picture: Picture, fps: float | None) -> float:
        """Goes on over reconnects and whatever the source's clock does; never stands still."""
        now = time.monotonic()  # the machine's own clock may be set at any moment
        step_s = 1 / fps if fps else 0.04
        if self._last_s == -math.inf:
            due_s = 0.0
        elif self._live:
            due_s = self._last_s + now - self._last_at
        else:
            due_s = self._last_s + step_s  # a file that begins again
        own_s = picture.time_s
        if own_s is None:
            time_s = due_s
        else:
            if self._offset_s is None or self._was_set(own_s + self._offset_s, due_s, step_s):
                self._offset_s = due_s - own_s
            time_s = own_s + self._offset_s
        if time_s <= self._last_s:
            time_s = self._last_s + min(step_s, 0.001)
        self._last_s, self._last_at = time_s, now
        return time_s

    def _was_set(self, time_s: float, due_s: float, step_s: float) -> bool:
        """Whether the source's clock is no longer the one that it was."""
        back = time_s < self._last_s - _BACK_FRAMES * step_s
        return back or (self._live and time_s > due_s + _AHEAD_S)

    def _allowed(self, time_s: float, fps: float | None) -> bool:
        limit = self._options.max_fps
        if limit is None:
            return True
        slack_s = _SLACK_FRAMES / fps if fps and fps > limit else 0.5 / limit
        if time_s < self._next_s - slack_s:
            return False
        # From when it was due, so that the rate holds; from now where frames were missing.
        late = time_s > self._next_s + slack_s
        self._next_s = (time_s if late else self._next_s) + 1 / limit
        return True

    def _release(self, time_s: float, stop: threading.Event) -> float:
        """Wait until a frame of a played file is due; when that was, as Unix time."""
        now = time.monotonic()
        if self._released is None:
            self._released = now - time_s
        wait_s = self._released + time_s - now
        if wait_s > 0:
            stop.wait(wait_s)
            return time.time()
        # The file is read more slowly than it plays: a camera would not wait either.
        return time.time() + wait_s if wait_s > -1.0 else self._restart(time_s, now)

    def _restart(self, time_s: float, now: float) -> float:
        self._released = now - time_s
        return time.time()

    def _wait_for_resume(self, stop: threading.Event) -> None:
        while not stop.is_set() and not self._running.wait(0.1):
            pass
