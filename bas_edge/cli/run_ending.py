"""What a signal stops of a `bas-edge run`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

__all__ = ["Ending"]


class Ending:
    """What the first signal asks for: a pipeline stops, anything else is given up.

    Attributes:
        asked: Whether a signal came.
        given_up: Whether something was given up.
    """

    def __init__(self) -> None:
        self.asked = self.given_up = False
        self._stop: Callable[[], None] | None = None

    def ask(self) -> None:
        """For `asked_to_end`.

        Raises:
            KeyboardInterrupt: Nothing runs that could be stopped.
        """
        self.asked = True
        if self._stop is None:
            self.given_up = True
            raise KeyboardInterrupt
        self._stop()

    @contextlib.contextmanager
    def stops(self, stop: Callable[[], None]) -> Iterator[None]:
        """Inside, a signal calls `stop`."""
        self._stop = stop
        try:
            yield
        finally:
            self._stop = None
