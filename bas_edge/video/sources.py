"""Frames of a video file, upright, one at a time."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge._require import require
from bas_edge.errors import InputError
from bas_edge.video.frames import VideoFrame

__all__ = ["VIDEO_SUFFIXES", "VideoSource", "display_orientation"]

# What a folder or a glob takes for a video; a file named outright may end in anything.
VIDEO_SUFFIXES = frozenset(
    {".avi", ".h264", ".h265", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts"}
    | {".webm", ".wmv"}
)


class VideoSource:
    """A video file as an iterable of upright RGB frames.

    Every iteration opens the file anew and holds one frame at a time. A damaged file
    delivers the frames that decode; `damage` then says, in one sentence, what is missing.

    Attributes:
        path: The file.
        fps: Average frames per second.
        size: (H, W) of the frames, rotation applied.
        frame_count: How many frames the file says it has, or an estimate; None if unknown.
        duration_s: Length that the container declares for the stream; None if unknown.
        damage: None, or what the last iteration could not decode.

    Raises:
        InputError: No such file, not a video, no video stream, or not one frame decodes.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._av = require("av", extra="video", purpose="Reading a video file")
        self.damage: str | None = None
        with self._open() as container:
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            self.fps = float(rate)
            self.duration_s = _declared_duration_s(container, stream)
            estimate = None if self.duration_s is None else round(self.duration_s * self.fps)
            self.frame_count: int | None = stream.frames or estimate
        first = next(iter(self), None)
        if first is None:
            raise InputError(
                f"{self.path}: not one frame of this video can be decoded.",
                hint="Check that the file plays, or convert it to H.264 in mp4.",
            )
        self.size: tuple[int, int] = first.pixels.shape[:2]

    def __iter__(self) -> Iterator[VideoFrame]:
        """Decode from the first frame; sets `damage` at the end."""
        return self._read(None)

    def pick(self, indices: Collection[int]) -> Iterator[VideoFrame]:
        """The frames that a whole iteration would give these indices, in their order.

        The frames between them are decoded, as the codec needs them, but not converted. Ends
        after the last one, or where the file ends: only then `damage` is set.
        """
        wanted = frozenset(indices)
        if not wanted:
            return
        last = max(wanted)
        for frame in self._read(wanted):
            yield frame
            if frame.index == last:
                return

    def count_packets(self) -> int:
        """How many packets with data the stream has, counted without decoding.

        As a rule that is how many frames it delivers, whatever the container declares.
        """
        count = 0
        with self._open() as container:
            packets = container.demux(container.streams.video[0])
            while True:
                try:
                    packet = next(packets)
                except (StopIteration, self._av.error.FFmpegError):
                    return count
                count += bool(packet.size)

    def _read(self, wanted: frozenset[int] | None) -> Iterator[VideoFrame]:
        self.damage = None
        with self._open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            reading = _Reading(stream, self.fps, wanted)
            yield from reading.frames(container, self._av.error.FFmpegError)
        self.damage = reading.damage(self.path, self.duration_s, self.frame_count)

    def _open(self) -> Any:
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file.")
        try:
            container = self._av.open(str(self.path))
        except self._av.error.FFmpegError as error:
            reason = error.strerror or type(error).__name__
            raise InputError(
                f"{self.path} cannot be opened as a video: {reason}.",
                hint="It is no video, or a recording that was cut off before its index was written "
                "(docs/troubleshooting.md).",
            ) from None
        if not container.streams.video:
            container.close()
            raise InputError(f"{self.path} has no video stream.")
        return container


class _Reading:
    """One pass over one stream: what was delivered, and what was damaged.

    `wanted` holds the indices of the frames to convert; None is all.
    """

    def __init__(self, stream: Any, fps: float, wanted: frozenset[int] | None) -> None:
        self.stream = stream
        self.fps = fps
        self.wanted = wanted
        self.delivered = 0
        self.damaged = 0
        self.broken_packet = False  # the last packet was incomplete
        self.broken_picture = False  # the last picture did not decode
        self.end_s = 0.0  # where the packets that were read end
        self.matrix: NDArray[np.int32] | None = None  # how the first picture is to be turned

    def frames(self, container: Any, ffmpeg_error: type[Exception]) -> Iterator[VideoFrame]:
        start_s = float((self.stream.start_time or 0) * self.stream.time_base)
        packets = container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except ffmpeg_error:
                self.broken_packet = True
                return
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self.end_s = max(self.end_s, float(end) - start_s)
            if packet.size:
                self.broken_packet = bool(packet.is_corrupt)
            try:
                decoded = packet.decode()
            except ffmpeg_error:
                self.damaged += 1
                self.broken_picture = True
                continue
            for frame in decoded:
                self.broken_picture = bool(frame.is_corrupt)
                if self.broken_picture:
                    self.damaged += 1
                    continue
                if self.delivered == 0:
                    # Only once: reading it makes a cycle, which keeps the frame until a collection.
                    matrix = frame.side_data.get("DISPLAYMATRIX")
                    self.matrix = None if matrix is None else np.frombuffer(bytes(matrix), np.int32)
                if self.wanted is None or self.delivered in self.wanted:
                    yield self._upright(frame, start_s)
                self.delivered += 1

    def _upright(self, frame: Any, start_s: float) -> VideoFrame:
        time_s = self.delivered / self.fps if frame.time is None else frame.time - start_s
        pixels = frame.to_ndarray(format="rgb24")
        if self.matrix is not None:
            pixels = display_orientation(pixels, self.matrix)
        return VideoFrame(self.delivered, float(time_s), pixels, captured_at=time.time())

    def damage(self, path: Path, duration_s: float | None, expected: int | None) -> str | None:
        # Three frames, or a twentieth, is more than rounding and edit lists explain.
        slack_s = max(3 / self.fps, 0.05 * (duration_s or 0.0))
        short = duration_s is not None and duration_s - self.end_s > slack_s
        if short or self.broken_packet or self.broken_picture:
            about = "" if expected is None else f", about {expected} were expected"
            return f"{path} ends in the middle: {self.delivered} frames decoded{about}."
        if self.damaged:
            return f"{path}: {self.damaged} damaged frames skipped, {self.delivered} decoded."
        return None


def display_orientation(pixels: NDArray[np.uint8], matrix: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Turn and mirror a frame as the container's 3×3 display matrix asks.

    Args:
        pixels: [H, W, 3] as decoded.
        matrix: int32 [9], row-major; (x, y) is shown at (a·x + c·y, b·x + d·y) where
            a, b = matrix[0:2] and c, d = matrix[3:5] (ISO/IEC 14496-12, `tkhd`).

    Returns:
        [H, W, 3], or [W, H, 3] for a quarter turn; contiguous. Angles other than quarter
        turns leave the frame as it is: no camera writes them.
    """
    a, b, c, d = (int(np.sign(matrix[at])) for at in (0, 1, 3, 4))
    if a and d and not (b or c):
        turned, flip_x, flip_y = pixels, a < 0, d < 0
    elif b and c and not (a or d):
        turned, flip_x, flip_y = pixels.transpose(1, 0, 2), c < 0, b < 0
    else:
        return pixels
    return np.ascontiguousarray(turned[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def _declared_duration_s(container: Any, stream: Any) -> float | None:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    # Without a length of its own (Matroska), the container's holds only if nothing else is in it.
    if container.duration is not None and len(container.streams) == 1:
        return float(container.duration / 1_000_000)  # AV_TIME_BASE is one microsecond
    return None
