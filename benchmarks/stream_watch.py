"""What a client sees of the film that a lab server plays: which frames, how true, and when."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from bas_edge import Localizer
from bas_edge.errors import BasEdgeError
from bas_edge.video import FrameResult, Pipeline, Stream, StreamEvent, VideoFrame, VideoSource

from .frame_stamp import GRID, SQUARE, squares

__all__ = ["Film", "Sight", "Watch", "read_stamp"]

_CELLS = (45, 80)  # of a picture with 16:9, for comparing it with the film
_STAMPED = 16  # cells from the corner that the stamp may cover
_MOST_APART = 30.0  # of 255, where a whole picture is at 10 and a smeared one far above


def read_stamp(pixels: NDArray[np.uint8]) -> int | None:
    """The number in the corner of an RGB picture, or None where it cannot be read for certain."""
    side = SQUARE * GRID
    if min(pixels.shape[:2]) < side:
        return None
    corner = pixels[:side, :side].astype(np.float64).mean(axis=2)
    blocks = corner.reshape(GRID, SQUARE, GRID, SQUARE)[:, 4:12, :, 4:12]  # edges blur
    means = blocks.mean(axis=(1, 3))
    if ((means > 64) & (means < 192)).any():
        return None
    white = means >= 192
    code = int("".join("01"[int(bit)] for bit in white.ravel()), 2)
    return code >> 4 if squares(code >> 4) == white.tolist() else None


class Film:
    """The true pictures, as the means of 45×80 cells."""

    def __init__(self, path: Path) -> None:
        self.cells = np.stack([_cells(frame.pixels) for frame in VideoSource(path)])  # [N, 45, 80]

    def __len__(self) -> int:
        return len(self.cells)

    def apart(self, pixels: NDArray[np.uint8], number: int) -> float:
        """By how much the worst cell outside the stamp differs from the true picture, 0 to 255."""
        difference = np.abs(_cells(pixels) - self.cells[number])
        difference[:_STAMPED, :_STAMPED] = 0
        return float(difference.max())


@dataclass(frozen=True, slots=True)
class Sight:
    """One frame that a client was given.

    Attributes:
        number: Which frame of the film it says it is; None if that cannot be read.
        apart: See `Film.apart`; infinite without a number.
        size: (H, W).
        gap_s: As the client said.
    """

    number: int | None
    apart: float
    size: tuple[int, int]
    gap_s: float

    @property
    def true(self) -> bool:
        """It is a whole picture of the film."""
        return self.apart < _MOST_APART


class Watch:
    """Takes every frame of a stream on a thread of its own, and keeps what it saw.

    Args:
        stream: The client.
        film: The truth.
        localizer: If given, the frames go through a `Pipeline` with it, and this is its sink.
        lines: Where results and changes of state go as JSON lines.

    Attributes:
        error: What ended the stream.
    """

    def __init__(
        self,
        stream: Stream,
        film: Film,
        localizer: Localizer | None = None,
        lines: TextIO | None = None,
    ) -> None:
        self.sights: list[Sight] = []
        self.events: list[StreamEvent] = []
        self.error: BaseException | None = None
        self._stream = stream
        self._film = film
        self._lines = lines
        self._pipeline = None if localizer is None else Pipeline(localizer)
        if self._pipeline is None:
            stream.listen(self.event)
        else:
            self._pipeline.add(stream, sinks=[self])
        self._thread = threading.Thread(target=self._work, name="watch")

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pipeline is not None:
            self._pipeline.stop()
        else:
            self._stream.close()
        self._thread.join()

    @property
    def states(self) -> list[str]:
        """Every state it was in."""
        return [event.state for event in self.events]

    def until(self, met: Callable[[], bool], within_s: float = 20.0) -> bool:
        """Wait for something; False if it did not come, or the stream ended before."""
        deadline = time.monotonic() + within_s
        while not met():
            if time.monotonic() > deadline or not self._thread.is_alive():
                return met()
            time.sleep(0.02)
        return True

    def more(self, frames: int) -> bool:
        """Wait for so many frames from now on."""
        enough = len(self.sights) + frames
        return self.until(lambda: len(self.sights) >= enough)

    def repeated(self) -> int:
        """How many frames were no later than the one before, on the same connection."""
        count = 0
        for before, after in zip(self.sights, self.sights[1:], strict=False):
            if before.number is None or after.number is None or after.gap_s:
                continue
            count += not 0 < (after.number - before.number) % len(self._film) < len(self._film) / 2
        return count

    def write(self, result: FrameResult) -> None:
        """As a sink: a frame, and what was found in it."""
        self._see(result.frame)
        self._write(result.to_dict())

    def event(self, event: StreamEvent) -> None:
        """As a sink, or a listener: the stream changed its state."""
        self.events.append(event)
        self._write(event.to_dict())

    def close(self, *, complete: bool) -> None:
        """As a sink: nothing to finish, whether `complete` or not."""

    def _work(self) -> None:
        try:
            if self._pipeline is not None:
                self._pipeline.run()
            else:
                for frame in self._stream:
                    self._see(frame)
        except BasEdgeError as error:
            self.error = error
        self.error = self.error or self._stream.error

    def _see(self, frame: VideoFrame) -> None:
        number = read_stamp(frame.pixels)
        apart = float("inf")
        if number is not None and number < len(self._film):
            apart = self._film.apart(frame.pixels, number)
        height, width = frame.pixels.shape[:2]
        self.sights.append(Sight(number, apart, (height, width), frame.gap_s))

    def _write(self, line: dict[str, object]) -> None:
        if self._lines is not None:
            self._lines.write(json.dumps(line) + "\n")
            self._lines.flush()


def _cells(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey means of 45×80 cells of an RGB picture whose sides are multiples of that."""
    rows, columns = _CELLS
    height, width = pixels.shape[:2]
    grey = pixels.mean(axis=2, dtype=np.float32)
    cells = grey.reshape(rows, height // rows, columns, width // columns)
    means: NDArray[np.float32] = cells.mean(axis=(1, 3))
    return means
