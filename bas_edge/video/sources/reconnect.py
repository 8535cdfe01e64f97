"""When to try a lost source again."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from bas_edge.errors import InputError

__all__ = ["Reconnect"]


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Exponential backoff with jitter.

    The wait before attempt n (from 0) is drawn evenly from the upper `jitter` part of
    min(longest_s, first_s · factor^n), so that cameras which lost their power together do not
    all come back in the same second.

    Attributes:
        first_s: Longest wait before the first attempt, in seconds.
        factor: How much longer each next wait is; at least 1.
        longest_s: No wait is longer, in seconds.
        jitter: 0 waits always as long as it may, 1 anything from nothing to that.
        attempts: How often in a row it is tried again before the stream ends: 0 is not at all,
            None for ever.
        calm_s: A connection that lasted this long, in seconds, starts the waits anew.
        always: Try again even where it hardly helps: a source that has never been reached and
            refuses the password, does not know the name, or sends what cannot be decoded. For
            devices that nobody looks at: somebody may mend the camera.
    """

    first_s: float = 1.0
    factor: float = 2.0
    longest_s: float = 60.0
    jitter: float = 0.5
    attempts: int | None = None
    calm_s: float = 10.0
    always: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("first_s", 0, math.inf),
            ("factor", 1, math.inf),
            ("longest_s", self.first_s, math.inf),
            ("jitter", 0, 1),
            ("calm_s", 0, math.inf),
        ):
            value = getattr(self, name)
            if not low <= value <= high or math.isinf(value):
                limits = f"{low:g} to {high:g}" if high < math.inf else f"{low:g} or more"
                raise InputError(f"{name} is {value}, but must be {limits}.")
        if self.attempts is not None and self.attempts < 0:
            raise InputError(
                f"attempts is {self.attempts}, but must be 0 or more.",
                hint="Leave it out to try for as long as it takes.",
            )

    def wait_s(self, failures: int, draw: random.Random) -> float:
        """Seconds to wait after this many failures in a row (1 is the first)."""
        steps = min(failures - 1, 64)  # beyond that only the power would overflow
        longest = min(self.longest_s, self.first_s * self.factor**steps)
        return longest * (1 - self.jitter * draw.random())
