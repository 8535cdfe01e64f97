"""The options of smoothing; docs/steady.md says what each does, with measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from bas_edge.errors import InputError

__all__ = ["Smoothing", "SmoothingName"]

SmoothingName = Literal["off", "light", "strong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothing:
    """How results of one stream are smoothed over time. The defaults are "light".

    Times are in seconds of the video, so nothing here depends on the frame rate.

    Attributes:
        map_time_s: Time constant of the exponential average of the maps: a map that is this old
            counts e times less than a new one. 0 takes each map alone.
        motion: Move the average along with the camera before the new map joins it.
        min_cutoff_hz: Cutoff of the One-Euro filter of the box at rest; 0 leaves the box as the
            smoothed map has it.
        beta: How fast that cutoff rises with speed: Hz more for each frame width (or height) a
            second of the centre, and for each factor of e a second of a side.
        class_time_s: Time constant of the average of the class scores; 0 takes each frame's own.
        class_margin: The label changes when another class leads by more than this, 0 to 1.
        release: What was found stays so until its averaged score is below this share of the
            engine's `min_score`, 0 to 1, or the maps show nothing; it becomes so at `min_score`.
        hold_s: And until that has been so for this long.
        cut: Start anew where two frames share less of a scene than this (`scene_cut.likeness`),
            0 to 1; 0 never does.
        forget_s: Start anew where the next frame is more than this later.

    Raises:
        InputError: An option is out of its range.
    """

    map_time_s: float = 0.08
    motion: bool = True
    min_cutoff_hz: float = 0.0
    beta: float = 0.0
    class_time_s: float = 0.3
    class_margin: float = 0.1
    release: float = 0.6
    hold_s: float = 0.2
    cut: float = 0.65
    forget_s: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "motion":
                continue
            highest = 1.0 if field.name in ("class_margin", "release", "cut") else math.inf
            if not 0 <= value <= highest or math.isinf(value):
                said = "0 to 1" if highest == 1 else "a finite number, at least 0"
                raise InputError(
                    f"{field.name} is {value}, but must be {said}.",
                    hint=f'The preset "light" has {field.name} = {field.default}.',
                )
        if self.forget_s == 0:
            raise InputError(
                "forget_s is 0, but must be longer than the time between two frames.",
                hint='To smooth nothing, use the preset "off".',
            )

    @classmethod
    def named(cls, name: str) -> Smoothing:
        """A preset: "off" changes nothing, "light" shows no lag, "strong" is for slow objects.

        Raises:
            InputError: There is no such preset.
        """
        if name == "off":
            return cls(
                map_time_s=0.0,
                motion=False,
                class_time_s=0.0,
                class_margin=0.0,
                release=1.0,
                hold_s=0.0,
                cut=0.0,
            )
        if name == "light":
            return cls()
        if name == "strong":
            return cls(map_time_s=0.15, class_time_s=1.0, class_margin=0.15, hold_s=0.5)
        raise InputError(
            f"Unknown smoothing {name!r}: it must be one of {', '.join(get_args(SmoothingName))}.",
            hint="Or give the options of docs/steady.md one by one.",
        )

    @property
    def active(self) -> bool:
        """Whether any result can come out other than it went in."""
        averages = self.map_time_s > 0 or self.class_time_s > 0 or self.min_cutoff_hz > 0
        return averages or self.class_margin > 0 or self.release < 1 or self.hold_s > 0

    @property
    def looks(self) -> bool:
        """Whether frames are looked at: for the camera's motion, or for cuts."""
        return self.active and (self.motion or self.cut > 0)
