"""What the sinks that write files have in common: they outlive a full disk."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import ClassVar

from bas_edge.errors import BasEdgeError, InputError

__all__ = ["DiskSink"]

_log = logging.getLogger(__name__)


class DiskSink:
    """Base of sinks that lose what cannot be written, count it, and go on.

    A disk may be full for a minute of the months that a device runs.

    Args:
        go_on: False raises instead.

    Attributes:
        dropped: How much could not be written, in `unit`.
        unit: What is counted, one of them.
    """

    unit: ClassVar[str] = "result"

    def __init__(self, *, go_on: bool = True) -> None:
        self.dropped = 0
        self._go_on = go_on
        self._problems: dict[str, str] = {}  # by stream
        self._last_problem = ""

    @property
    def problem(self) -> str:
        """What cannot be written at the moment, in a sentence; "" while all is well."""
        return next(iter(list(self._problems.values())), "")

    @contextlib.contextmanager
    def _attempt(self, stream: str) -> Iterator[None]:
        """Try to write something of this stream. What is wrong for ever (InputError) is raised.

        `_worked` is for when it is on the disk, which may be later.
        """
        try:
            yield
        except InputError:
            raise
        except BasEdgeError as error:
            if not self._go_on:
                raise
            self.dropped += 1
            if stream not in self._problems:
                _log.warning("%s", error)
            self._last_problem = self._problems[stream] = str(error)

    def _worked(self, stream: str) -> None:
        self._problems.pop(stream, None)

    def _tell_losses(self) -> None:
        """The last act of closing: nothing is lost in silence.

        Raises:
            BasEdgeError: Something could not be written.
        """
        if self.dropped:
            lost = f"{self.dropped} {self.unit}{'s' if self.dropped > 1 else ''}"
            raise BasEdgeError(
                f"Not everything could be written: {lost} lost, the last because: "
                f"{self._last_problem}",
                hint="Check the folder, its permissions and the space that is left.",
            )
