"""Captures that follow a script, and what tests of streams wait for. No network, no clock."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import StreamConnectionError
from bas_edge.video import Reconnect, Stream, StreamEvent
from bas_edge.video.sources.capture import ArrayPicture, Capture, Damaged
from bas_edge.video.sources.pacing import StreamOptions

PATIENCE_S = 60.0  # no test needs it; one that hangs ends here
AT_ONCE = Reconnect(first_s=0, longest_s=0)


def pixels_of(number: int) -> NDArray[np.uint8]:
    """A picture [2, 2, 3] that is told by its first pixel."""
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0] = number >> 16 & 255, number >> 8 & 255, number & 255
    return pixels


def number_of(pixels: NDArray[np.uint8]) -> int:
    """The number in `pixels_of`."""
    high, middle, low = (int(value) for value in pixels[0, 0])
    return high << 16 | middle << 8 | low


class NoPixels(ArrayPicture):
    """A picture that nobody can convert."""

    def pixels(self) -> NDArray[np.uint8]:
        raise ValueError("no such pixel format")


class Scripted:
    """A capture that does one step of a script after another.

    A step is a number (a picture), "unusable" (one without pixels), "damage", "sound" (data, but
    no picture), "stay" (silent until closed), an event (silent until it is set), an exception
    (raised), or a function.
    """

    details = "scripted"
    damage: str | None = None

    def __init__(self, *steps: Any, fps: float = 25.0) -> None:
        self.steps = steps
        self.fps: float | None = fps
        self.closed = False
        self.leave = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        for at, step in enumerate(self.steps):
            if isinstance(step, int):
                yield ArrayPicture(pixels_of(step), at / 25, time.time())
            elif step == "unusable":
                yield NoPixels(pixels_of(at), at / 25, time.time())
            elif step == "damage":
                yield Damaged()
            elif step == "sound":
                yield None
            elif step == "stay":
                while not self.leave.wait(0.005):
                    yield None
            elif isinstance(step, threading.Event):
                assert step.wait(PATIENCE_S)
            elif isinstance(step, BaseException):
                raise step
            else:
                step()

    def close(self) -> None:
        self.closed = True
        self.leave.set()


class Source:
    """Connections of which each follows its own script; after the last, nothing answers.

    A script is a `Scripted`, or an exception that connecting raises.
    """

    def __init__(self, *scripts: Any) -> None:
        self.scripts = list(scripts)
        self.attempts = 0

    def connect(self) -> Capture:
        self.attempts += 1
        if not self.scripts:
            raise StreamConnectionError("fake://camera does not answer.")
        script = self.scripts.pop(0)
        if isinstance(script, BaseException):
            raise script
        capture: Capture = script
        return capture


def stream_of(
    *scripts: Any, live: bool = True, reconnect: Reconnect = AT_ONCE, **options: Any
) -> tuple[Stream, list[StreamEvent]]:
    """A stream over such connections, and the list to which its events are added."""
    stream = Stream(
        "camera",
        "fake://camera",
        Source(*scripts).connect,
        live=live,
        options=StreamOptions(**{"policy": "wait", **options}),
        reconnect=reconnect,
    )
    events: list[StreamEvent] = []
    stream.listen(events.append)
    return stream, events


def until(condition: Callable[[], Any], what: str = "", *, every_s: float = 0.002) -> None:
    """Wait until something is so; on a busy machine too, but not for ever."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what or "it never came to be"
        time.sleep(every_s)


def collect(stream: Stream) -> list[int]:
    """The numbers of the frames until it ends, though it end with an error."""
    seen: list[int] = []
    with contextlib.suppress(Exception):
        for frame in stream:
            seen.append(number_of(frame.pixels))  # noqa: PERF401  (a comprehension loses them)
    return seen


def reading_threads() -> list[str]:
    """The names of the threads that read streams."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("bas-edge-read")]
