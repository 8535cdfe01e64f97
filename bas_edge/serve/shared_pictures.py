"""Pictures for viewers: made when somebody looks, once for all who look alike."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import NamedTuple

from bas_edge.serve.live_views import LiveViews, Seen
from bas_edge.serve.picture import Look, render

__all__ = ["SharedPictures"]


class _Made(NamedTuple):
    seen: Seen
    jpeg: asyncio.Future[bytes]


class SharedPictures:
    """Encodes the newest result of a stream, off the event loop.

    Args:
        views: Where results are.
        executor: Where pictures are made.

    Attributes:
        encoded: How many were made.
    """

    def __init__(self, views: LiveViews, executor: Executor) -> None:
        self.encoded = 0
        self._views, self._executor = views, executor
        self._made: dict[tuple[str, Look], _Made] = {}

    async def newest(self, stream: str, look: Look) -> tuple[Seen, bytes] | None:
        """The newest result and its JPEG; None before the first. For the event loop's thread."""
        seen = self._views.newest(stream)
        if seen is None:
            return None
        made = self._made.get((stream, look))
        if made is None or made.seen.number != seen.number:
            self._forget(stream, seen.number)
            loop = asyncio.get_running_loop()
            jpeg = loop.run_in_executor(self._executor, render, seen.result, look)
            made = self._made[stream, look] = _Made(seen, jpeg)
            self.encoded += 1
        # Shielded: a viewer that leaves takes the picture from nobody else.
        return made.seen, await asyncio.shield(made.jpeg)

    def _forget(self, stream: str, number: int) -> None:
        old = [
            key
            for key, made in self._made.items()
            if key[0] == stream and made.seen.number != number
        ]
        for key in old:
            del self._made[key]
