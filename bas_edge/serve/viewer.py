"""One viewer: which streams it wants, and how many pictures it can take."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Iterable
from typing import NamedTuple

from bas_edge.serve.live_views import LiveViews, Seen
from bas_edge.serve.picture import Look
from bas_edge.serve.shared_pictures import SharedPictures

__all__ = ["Delivery", "Viewer"]

IN_FLIGHT = 2  # pictures of a stream on their way: one being drawn, one being sent


class Delivery(NamedTuple):
    """A picture for a viewer; `id` is what it says when it has drawn it."""

    id: int
    seen: Seen
    jpeg: bytes


class _Wanted:
    def __init__(self, look: Look) -> None:
        self.look = look
        self.shown = 0  # number of the result that it has
        self.not_before = 0.0
        self.in_flight: set[int] = set()


class Viewer:
    """Hands pictures to one viewer at the rate it can take; lives on the event loop.

    A picture is made when the viewer is ready for one and is then the newest, so a slow viewer
    gets fewer pictures and never old ones.

    Args:
        views: Where results are.
        pictures: What encodes them.
        max_fps: Most pictures a second of one stream.
    """

    def __init__(self, views: LiveViews, pictures: SharedPictures, max_fps: float) -> None:
        self._views, self._pictures = views, pictures
        self._shortest_s = 1 / max_fps
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._wanted: dict[str, _Wanted] = {}
        self._sent = 0
        self.closed = False
        self._stop_listening = views.listen(self._came)

    def watch(self, looks: Iterable[tuple[str, Look]]) -> None:
        """From now on show these streams, so."""
        former, self._wanted = self._wanted, {}
        for stream, look in looks:
            wanted = former.get(stream) or _Wanted(look)
            if wanted.look != look:
                wanted.look, wanted.shown = look, 0
            self._wanted[stream] = wanted
        self._wake.set()

    def drawn(self, number: int) -> bool:
        """The viewer is through with a delivery; False if it had no such one."""
        for wanted in self._wanted.values():
            if number in wanted.in_flight:
                wanted.in_flight.remove(number)
                self._wake.set()
                return True
        return False

    def close(self) -> None:
        """Let `next` return for the last time. Safe to call twice; on the event loop."""
        self.closed = True
        self._stop_listening()
        self._wake.set()

    async def next(self, timeout_s: float) -> Delivery | None:
        """The next picture; None after `timeout_s` seconds without one, and once closed."""
        deadline = time.monotonic() + timeout_s
        while not self.closed:
            now = time.monotonic()
            stream, at = self._due()
            if stream is not None and at <= now:
                wanted = self._wanted[stream]
                wanted.not_before = now + self._shortest_s
                delivery = await self._deliver(stream, wanted)
                if delivery is not None:
                    return delivery
                continue
            left = min(deadline, at) - now
            if deadline <= now:
                return None
            self._wake.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(left, 0.001))
        return None

    def _due(self) -> tuple[str | None, float]:
        """The stream that has waited longest for a picture it can have, and when it may have it."""
        best: tuple[str | None, float] = (None, math.inf)
        for stream, wanted in self._wanted.items():
            if len(wanted.in_flight) >= IN_FLIGHT or wanted.not_before >= best[1]:
                continue
            seen = self._views.newest(stream)
            if seen is not None and seen.number != wanted.shown:
                best = (stream, wanted.not_before)
        return best

    async def _deliver(self, stream: str, wanted: _Wanted) -> Delivery | None:
        picture = await self._pictures.newest(stream, wanted.look)
        if picture is None:
            return None
        self._sent += 1
        wanted.shown = picture[0].number
        wanted.in_flight.add(self._sent)
        return Delivery(self._sent, *picture)

    def _came(self, stream: str) -> None:
        """On a sink's thread."""
        with contextlib.suppress(RuntimeError):  # the event loop is closed: so is this viewer
            self._loop.call_soon_threadsafe(self._look_again, stream)

    def _look_again(self, stream: str) -> None:
        if stream in self._wanted:
            self._wake.set()
