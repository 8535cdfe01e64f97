"""Which results are worth a message."""

from __future__ import annotations

from typing import Literal, get_args

from bas_edge.errors import InputError
from bas_edge.video.frames import FrameResult

__all__ = ["Every", "ResultFilter"]

Every = Literal["result", "change", "event"]


class ResultFilter:
    """Lets through every result, only changes, or none.

    A change is a result that found other classes than the one before of its stream, something
    where that found nothing, or the other way round. A stream begins with nothing found.

    Args:
        every: "result", "change", or "event" for no result at all.

    Raises:
        InputError: Another word.
    """

    def __init__(self, every: Every) -> None:
        if every not in get_args(Every):
            raise InputError(
                f"every is {every!r}, which is none of {', '.join(get_args(Every))}.",
                hint='"change" tells what comes and goes, "result" is a message for each frame.',
            )
        self._every = every
        self._seen: dict[str, frozenset[str]] = {}  # the classes found last, by stream

    def passes(self, result: FrameResult) -> bool:
        """Whether to send this one; to be asked once for each result, in order."""
        if self._every != "change":
            return self._every == "result"
        now = frozenset(one.class_name for one in result.finding.objects)
        changed = now != self._seen.get(result.stream, frozenset())
        self._seen[result.stream] = now
        return changed
