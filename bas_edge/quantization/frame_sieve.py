"""What becomes of each decoded frame, and whether those that are left can serve."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bas_edge.errors import InputError
from bas_edge.quantization.frame_store import FrameStore, InputFrame

__all__ = ["LEAST_FRAMES", "CalibrationItem", "FrameSieve", "LoadedFrame"]

LEAST_FRAMES = 100  # fewer leave out too much of what the engine will see
_MOST_UNFIT = 10  # percent of the frames: unreadable, or of one colour


@dataclass(frozen=True, slots=True)
class CalibrationItem:
    """One frame that is used.

    Attributes:
        path: The image, or the video that it is from.
        sha256: Of that file's bytes.
        size_bytes: Of that file.
        frame: Which frame of the video, from 0; None for an image.
    """

    path: Path
    sha256: str
    size_bytes: int
    frame: int | None = None

    @property
    def content(self) -> str:
        """What decides the pixels: equal for two copies of one image."""
        return self.sha256 if self.frame is None else f"{self.sha256}#{self.frame}"

    def __str__(self) -> str:
        return str(self.path) if self.frame is None else f"{self.path}, frame {self.frame}"


class LoadedFrame(NamedTuple):
    """One decoded frame; frames with the same `key` look the same to the network."""

    item: CalibrationItem
    frame: InputFrame
    key: str
    flat: bool  # of one colour


@dataclass(slots=True)
class FrameSieve:
    """Sorts decoded frames into those that are used and those that are not."""

    text: str  # the source, as the user named it
    limit: int | None
    store: FrameStore
    items: list[CalibrationItem] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    unreadable: list[str] = field(default_factory=list)  # reasons
    flat: list[str] = field(default_factory=list)  # names
    copies: list[str] = field(default_factory=list)

    def add(self, one: LoadedFrame | InputError) -> None:
        if isinstance(one, InputError):
            self.unreadable.append(str(one))
        elif one.flat:
            self.flat.append(str(one.item))
        elif one.key in self.keys:
            self.copies.append(str(one.item))
        else:
            self.keys.add(one.key)
            self.items.append(one.item)
            self.store.append(one.frame)

    def check(self, chosen: int, force: bool) -> tuple[str, ...]:
        """The notes on `chosen` frames, all of which were added.

        Raises:
            InputError: They cannot serve.
        """
        text, notes = self.text, []
        if self.unreadable:
            said = f"{len(self.unreadable)} of {chosen} images of {text} cannot be read"
            if len(self.unreadable) * 100 > _MOST_UNFIT * chosen:
                raise InputError(
                    f"{said}; at most {_MOST_UNFIT} % may be. The first: {self.unreadable[0]}",
                    hint="Remove those files, or fetch them again.",
                )
            notes.append(f"{said} and were left out; the first: {self.unreadable[0]}")
        if self.flat:
            said = f"{len(self.flat)} of {chosen} images of {text} are of one colour"
            if len(self.flat) * 100 > _MOST_UNFIT * chosen:
                raise InputError(
                    f"{said} at network size; at most {_MOST_UNFIT} % may be. "
                    f"The first: {self.flat[0]}.",
                    hint="Calibrate on what the engine will see: no masks, no black frames.",
                )
            notes.append(f"{said} and were left out; the first: {self.flat[0]}.")
        if self.copies:
            notes.append(
                f"{len(self.copies)} of {chosen} images of {text} are copies of another and count "
                f"once; the first: {self.copies[0]}."
            )
        decoded = len(self.items) + len(self.unreadable) + len(self.flat) + len(self.copies)
        if decoded < chosen:
            notes.append(f"{text} ends early: {decoded} of {chosen} frames could be decoded.")
        if len(self.items) < LEAST_FRAMES:
            notes.append(self._too_few(chosen, force))
        return tuple(notes)

    def _too_few(self, chosen: int, force: bool) -> str:
        count = len(self.items)
        if force and count:
            return (
                f"Calibrated on {count} images, fewer than {LEAST_FRAMES}: other frames may exceed "
                "the ranges."
            )
        said = f"{self.text} has {count} different images for calibration"
        if count < chosen:
            said += f" among {chosen}"
        if self.limit is not None and chosen == self.limit:
            said += f", limited to {self.limit}"
            hint = "Raise the limit, or add --force to calibrate on these."
        else:
            hint = "Give more images, or add --force to calibrate on these."
        raise InputError(f"{said}; at least {LEAST_FRAMES} are needed.", hint=hint)
