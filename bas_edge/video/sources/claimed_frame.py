"""Frames that were taken from a stream and are not yet pixels, and those that never become any."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import NamedTuple

from bas_edge.video.frames import VideoFrame
from bas_edge.video.sources.stream_reader import Waiting

__all__ = ["HOPELESS", "ClaimedFrame", "Unusable"]

_log = logging.getLogger(__name__)

HOPELESS = 25  # frames in a row, about a second: the next cannot be converted either


class ClaimedFrame(NamedTuple):
    """A frame that was taken from a stream.

    Attributes:
        waiting: The frame.
        before: The one that was taken before it, without its picture; None for the first.
        live: Whether its source is live.
    """

    waiting: Waiting
    before: Waiting | None
    live: bool

    @property
    def dropped(self) -> int:
        """How many between `before` and this one were not taken."""
        return self.waiting.number - (0 if self.before is None else self.before.number + 1)

    @property
    def gap_s(self) -> float:
        """See `VideoFrame.gap_s`."""
        before = self.before
        lost = before is not None and before.connection != self.waiting.connection and self.live
        return self.waiting.arrived - before.arrived if before is not None and lost else 0.0

    def frame(self) -> VideoFrame:
        """Converts it, on the caller's thread; once.

        Raises:
            Exception: A decoder gave something that nobody can convert; FFmpeg has many of them.
        """
        waiting = self.waiting
        assert waiting.picture is not None
        return VideoFrame(
            index=waiting.number,
            time_s=waiting.time_s,
            pixels=waiting.picture.pixels(),
            captured_at=waiting.captured_at,
            dropped=self.dropped,
            gap_s=self.gap_s,
        )

    def without_picture(self) -> ClaimedFrame:
        """For keeping account of it."""
        return self._replace(waiting=self.waiting._replace(picture=None))


class Unusable:
    """Keeps account of a stream's frames that could not be converted; told in their order.

    Attributes:
        count: How many there were.
    """

    def __init__(self, name: str) -> None:
        """`name` is the stream's, for the log."""
        self.count = 0
        self._name = name
        self._first: ClaimedFrame | None = None  # of those in a row, up to the last that was told
        self._in_a_row = 0

    def failed(self, claimed: ClaimedFrame, error: Exception) -> bool:
        """One more; True where so many came in a row that others are hopeless too."""
        if self._first is None:
            self._first = claimed.without_picture()
            self._in_a_row = 0
            _log.error("%s: a frame could not be converted", self._name, exc_info=error)
        self.count += 1
        self._in_a_row += 1
        return self._in_a_row % HOPELESS == 0

    def passed(self, claimed: ClaimedFrame, frame: VideoFrame) -> VideoFrame:
        """What became of `claimed`, with those right before it among its `dropped`."""
        first, self._first = self._first, None
        if first is None:
            return frame
        whole = claimed._replace(before=first.before)
        return replace(frame, dropped=whole.dropped, gap_s=whole.gap_s)
