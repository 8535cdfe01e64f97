"""Numbers that sinks are given, checked when a sink is made and not at its first frame."""

from __future__ import annotations

import math

from bas_edge.errors import InputError
from bas_edge.video.sinks.encoders import TICKS_PER_S

__all__ = ["check_fps", "check_not_negative", "check_positive"]


def check_fps(fps: float) -> None:
    """Refuse a frame rate that no mp4 of ours has.

    Raises:
        InputError: It names the value.
    """
    if not 0 < fps <= TICKS_PER_S:
        raise InputError(f"fps is {fps}, but must be over 0 to {TICKS_PER_S}.")


def check_positive(**values: float | None) -> None:
    """Refuse what is not over 0 and finite; None is let through.

    Raises:
        InputError: It names the value.
    """
    for name, value in values.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} is {value}, but must be over 0 and finite.")


def check_not_negative(**values: float) -> None:
    """Refuse what is under 0, infinite or no number.

    Raises:
        InputError: It names the value.
    """
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise InputError(f"{name} is {value}, but must be 0 or more, and finite.")
