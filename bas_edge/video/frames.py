"""What travels through a pipeline: frames, results, and what happened to a stream."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import BasEdgeError, InputError

if TYPE_CHECKING:
    from bas_edge.finding import Finding
    from bas_edge.results import Localization
    from bas_edge.segmentation.result import Segmentation

__all__ = ["FrameResult", "Stability", "StreamEvent", "StreamState", "VideoFrame", "utc"]

StreamState = Literal["connecting", "running", "stalled", "reconnecting", "ended"]


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One frame that a source delivered. It was decoded whole: none is ever invented.

    Attributes:
        index: Number of the frame among all that its source decoded, from 0 and on over
            reconnects. Where numbers are missing, frames were dropped.
        time_s: Presentation time in seconds, 0 at the first frame. Where a source reconnected,
            it goes on by the clock.
        pixels: [H, W, 3] uint8 RGB, upright. Shared by everything that sees this frame, so
            nobody may write into it.
        captured_at: When it arrived, before it was decoded (through OpenCV: after): Unix time
            in seconds. Of a file, when it was read.
        dropped: How many frames right before it were not delivered: left out by the policy, the
            stride or max_fps, damaged, or of a kind that cannot be converted. Frames lost on the
            way here cannot be counted.
        gap_s: 0.0, or, where the connection was lost before this frame, how many seconds lie
            between it and the last frame before.
    """

    index: int
    time_s: float
    pixels: NDArray[np.uint8]
    captured_at: float = 0.0
    dropped: int = 0
    gap_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Stability:
    """How steady one box is against that of the frame before, both found.

    Attributes:
        iou: Intersection over union of the two boxes, 0 to 1.
        jitter_px: Mean distance of the four corners from where they were, in frame pixels.
    """

    iou: float
    jitter_px: float


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """What was found in one frame of one stream.

    Attributes:
        stream: The stream's name.
        frame: The frame.
        finding: What was found; smoothed, where the stream is smoothed. `localization` and
            `segmentation` are the same by the engine's task.
        age_ms: From `frame.captured_at` until this result was there.
        seen: What the engine made of this frame alone; None where nothing was smoothed.
        stability: Against the frame before; None without two boxes to compare.
    """

    stream: str
    frame: VideoFrame
    finding: Finding
    age_ms: float = 0.0
    seen: Finding | None = None
    stability: Stability | None = None

    @property
    def localization(self) -> Localization:
        """`finding`, of a Localizer.

        Raises:
            InputError: It is of a Segmenter.
        """
        from bas_edge.results import Localization

        return _of_kind(self.finding, Localization)

    @property
    def segmentation(self) -> Segmentation:
        """`finding`, of a Segmenter.

        Raises:
            InputError: It is of a Localizer.
        """
        from bas_edge.segmentation.result import Segmentation

        return _of_kind(self.finding, Segmentation)

    @property
    def index(self) -> int:
        """Number of the frame; see `VideoFrame.index`."""
        return self.frame.index

    @property
    def time_s(self) -> float:
        """Presentation time of the frame; see `VideoFrame.time_s`."""
        return self.frame.time_s

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the stream, the frame, then `finding.to_dict()`."""
        line: dict[str, Any] = {
            "stream": self.stream,
            "frame": self.frame.index,
            "time_s": round(self.frame.time_s, 6),
            "captured_at": utc(self.frame.captured_at),
            "age_ms": round(self.age_ms, 3),
            "dropped": self.frame.dropped,
        }
        if self.frame.gap_s:
            line["gap_s"] = round(self.frame.gap_s, 3)
        line.update(self.finding.to_dict())
        if self.stability is not None:
            line["stability"] = {
                "iou": round(self.stability.iou, 4),
                "jitter_px": round(self.stability.jitter_px, 2),
            }
        return line


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """A stream changed its state.

    Attributes:
        stream: The stream's name.
        state: What it is now.
        at: When: Unix time in seconds.
        reason: Why, in a sentence without credentials; "" where there is nothing to say.
        error: What was caught, where something failed.
    """

    stream: str
    state: StreamState
    at: float
    reason: str = ""
    error: BasEdgeError | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; told from a frame's line by its key "event"."""
        return {
            "event": "state",
            "stream": self.stream,
            "state": self.state,
            "at": utc(self.at),
            "reason": self.reason,
        }


_Kind = TypeVar("_Kind")


def _of_kind(finding: object, kind: type[_Kind]) -> _Kind:
    if not isinstance(finding, kind):
        raise InputError(
            f"This result is a {type(finding).__name__}, not a {kind.__name__}.",
            hint="`finding` has what every engine gives.",
        )
    return finding


def utc(unix_s: float) -> str:
    """Unix seconds as ISO 8601 in UTC with milliseconds: "2026-11-22T04:05:06.789Z"."""
    moment = datetime.fromtimestamp(unix_s, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
