"""Frames of a video file, upright, one at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from bas_edge._require import require
from bas_edge.errors import InputError
from bas_edge.video.frames import VideoFrame
from bas_edge.video.sources.capture import Damaged
from bas_edge.video.sources.decoding import Decoding
from bas_edge.video.sources.pictures import DecodedPicture

__all__ = ["VIDEO_SUFFIXES", "VideoSource"]

# What a folder or a glob takes for a video; a file named outright may end in anything.
VIDEO_SUFFIXES = frozenset(
    {".avi", ".h264", ".h265", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts"}
    | {".webm", ".wmv"}
)


class VideoSource:
    """A video file as an iterable of upright RGB frames.

    Every iteration opens the file anew and holds one frame at a time. A damaged file
    delivers the frames that decode, and the others have a number too, as in a `Stream`;
    `damage` then says, in one sentence, what is missing.

    Args:
        path: The file.
        until_s: Deliver only what stands before this second of it; None delivers all.

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

    def __init__(self, path: str | Path, *, until_s: float | None = None) -> None:
        self.path = Path(path)
        self._until_s = math.inf if until_s is None else until_s
        self._av = require("av", extra="video", purpose="Reading a video file")
        self.damage: str | None = None
        with self._open() as container:
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            self.fps = float(rate)
            self.duration_s = _declared_duration_s(container, stream)
            estimate = None if self.duration_s is None else round(self.duration_s * self.fps)
            count: int | None = stream.frames or estimate
            if count is not None and until_s is not None:
                count = min(count, math.ceil(until_s * self.fps))
            self.frame_count = count
        # Frame threads would decode ahead what nobody takes.
        pictures = self._pictures(thread_type="SLICE")
        first = next((one for one in pictures if not isinstance(one, Damaged)), None)
        if first is None:
            raise InputError(
                f"{self.path}: not one frame of this video can be decoded.",
                hint="Check that the file plays, or convert it to H.264 in mp4.",
            )
        self.size: tuple[int, int] = first.pixels().shape[:2]

    def __iter__(self) -> Iterator[VideoFrame]:
        """Decode from the first frame; sets `damage` at the end."""
        return self._read(None)

    def pick(self, indices: Collection[int]) -> Iterator[VideoFrame]:
        """The frames that a whole iteration, or a `Stream`, would give these indices, in order.

        The frames between them are decoded, as the codec needs them, but not converted; a
        damaged one is left out. Ends after the last one, or where the file ends: only then
        `damage` is set.
        """
        wanted = frozenset(indices)
        if wanted:
            yield from self._read(wanted)

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

    def pictures(self) -> Iterator[DecodedPicture | Damaged]:
        """Decode from the first frame; a picture becomes pixels only where it is asked to.

        Sets `damage` at the end.
        """
        return self._pictures(thread_type="AUTO")

    def _pictures(self, thread_type: str) -> Iterator[DecodedPicture | Damaged]:
        self.damage = None
        with self._open() as container:
            stream = container.streams.video[0]
            stream.thread_type = thread_type
            decoding = Decoding(container, stream)
            for picture in decoding.pictures(self._av.error.FFmpegError):
                if not isinstance(picture, Damaged):
                    time_s = picture.time_s
                    if time_s is None:
                        time_s = (decoding.delivered - 1) / self.fps
                    if time_s >= self._until_s:
                        decoding.delivered -= 1
                        break
                yield picture
        self.damage = self._damage_of(decoding)

    def _read(self, wanted: frozenset[int] | None) -> Iterator[VideoFrame]:
        last = None if wanted is None else max(wanted)
        for index, picture in enumerate(self.pictures()):
            if not isinstance(picture, Damaged) and (wanted is None or index in wanted):
                time_s = index / self.fps if picture.time_s is None else picture.time_s
                yield VideoFrame(index, time_s, picture.pixels(), picture.captured_at)
            if index == last:
                return

    def _damage_of(self, decoding: Decoding) -> str | None:
        # Three frames, or a twentieth, is more than rounding and edit lists explain.
        slack_s = max(3 / self.fps, 0.05 * (self.duration_s or 0.0))
        end_s = min(self.duration_s or 0.0, self._until_s)
        short = end_s - decoding.end_s > slack_s
        delivered, expected = decoding.delivered, self.frame_count
        if short or decoding.broken_packet or decoding.broken_picture:
            about = "" if expected is None else f", about {expected} were expected"
            return f"{self.path} ends in the middle: {delivered} frames decoded{about}."
        if decoding.damaged:
            return f"{self.path}: {decoding.damaged} damaged frames skipped, {delivered} decoded."
        return None

    def _open(self) -> Any:
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file.")
        try:
            container = self._av.open(str(self.path), metadata_errors="replace")
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


def _declared_duration_s(container: Any, stream: Any) -> float | None:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    # Without a length of its own (Matroska), the container's holds only if nothing else is in it.
    if container.duration is not None and len(container.streams) == 1:
        return float(container.duration / 1_000_000)  # AV_TIME_BASE is one microsecond
    return None
