"""The last seconds of a stream, as encoded packets, and mp4 files made of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge._require import require
from bas_edge.errors import BasEdgeError, InputError
from bas_edge.video.sinks.encoders import TICKS_PER_S, choose_encoder, configure
from bas_edge.video.sinks.file_names import partial
from bas_edge.video.sinks.mp4_output import Mp4Output
from bas_edge.video.sinks.video_sink import even

__all__ = ["EncodedPicture", "PacketFile", "PacketRing"]

_KEYFRAME_S = 1.0


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """One packet of an encoder; `pts` and `dts` in ticks of `TICKS_PER_S` since the ring began."""

    data: bytes
    pts: int
    dts: int
    keyframe: bool


class PacketRing:
    """Encodes every frame at once and keeps what begins at most `before_s` and a second ago.

    A clip begins with an intra frame, of which there is one a second. Kept are the packets, some
    0.2 to 1 MB for a second of 720p, where the frames would be 70 MB and more.

    Args:
        size: (H, W) of all frames.
        fps: About how many a second.
        before_s: How far back a clip may begin.
        codec: As for `VideoSink`.
        max_bytes: Of packets; beyond it the oldest go, however young they are.

    Raises:
        InputError: The encoder cannot be used.
        BasEdgeError: It fails, later.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(
        self, size: tuple[int, int], fps: float, *, before_s: float, codec: str, max_bytes: int
    ) -> None:
        self._av = require("av", extra="video", purpose="Writing a video file")
        self.size, self.codec = size, choose_encoder(codec, size, fps)
        self._before = round(before_s * TICKS_PER_S)
        self._max_bytes = max_bytes
        self._kept: deque[EncodedPicture] = deque()
        self._bytes = 0
        self._origin_s = 0.0  # the time of the first frame
        self._last_pts = -1
        self._next_keyframe = 0
        self._reformatter = self._av.video.reformatter.VideoReformatter()
        self._nowhere = self._av.open("ring", mode="w", format="null")  # files copy its stream
        try:
            rate = Fraction(fps).limit_denominator(1001)
            self.stream = self._nowhere.add_stream(self.codec, rate=rate)
            context = self.stream.codec_context
            configure(context, self.codec, size, fps, low_latency=True)
            if "264" not in self.codec:  # the intra frames of H.264 bring their headers along
                context.flags |= self._av.codec.context.Flags.global_header
            context.open(strict=False)
            self._nowhere.start_encoding()
        except (self._av.error.FFmpegError, ValueError) as error:
            self._nowhere.close()
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"The encoder '{self.codec}' cannot write an mp4 of {size[1]}×{size[0]}: {reason}.",
                hint="Name another encoder, or use 'auto'.",
            ) from None

    def ticks(self, time_s: float) -> int:
        """A time of the stream as a `pts`, once there is a frame."""
        return round((time_s - self._origin_s) * TICKS_PER_S)

    def seconds(self, pts: int) -> float:
        """A `pts` as a time of the stream."""
        return self._origin_s + pts / TICKS_PER_S

    def encode(self, pixels: NDArray[np.uint8], time_s: float) -> list[EncodedPicture]:
        """Encode [H, W, 3] uint8 RGB; gives the packets that this brings, which are kept too."""
        context = self.stream.codec_context
        frame = self._av.VideoFrame.from_numpy_buffer(even(pixels), format="rgb24")
        frame = self._reformatter.reformat(frame, context.width, context.height, context.pix_fmt)
        if self._last_pts < 0:
            self._origin_s = time_s
        pts = max(self.ticks(time_s), self._last_pts + 1)
        frame.pts, frame.time_base = pts, Fraction(1, TICKS_PER_S)
        if pts >= self._next_keyframe:
            frame.pict_type = self._av.video.frame.PictureType.I
            self._next_keyframe = pts + round(_KEYFRAME_S * TICKS_PER_S)
        self._last_pts = pts
        return self._keep(self._packets(frame))

    def finish(self) -> list[EncodedPicture]:
        """The packets that the encoder still holds; afterwards the ring is closed."""
        try:
            return self._keep(self._packets(None))
        finally:
            self._nowhere.close()

    def since(self, time_s: float) -> list[EncodedPicture]:
        """Packets from the last intra frame that is not after `time_s`, or the oldest one kept."""
        pictures, pts = list(self._kept), self.ticks(time_s)
        starts = [at for at, one in enumerate(pictures) if one.keyframe and one.pts <= pts]
        return pictures[starts[-1] if starts else 0 :]

    @property
    def kept_bytes(self) -> int:
        """Bytes of packets in memory."""
        return self._bytes

    def _packets(self, frame: Any) -> Any:
        try:
            return self.stream.encode(frame)
        except (self._av.error.FFmpegError, OSError) as error:
            raise BasEdgeError(
                f"The encoder '{self.codec}' failed: {error.strerror or error}.",
                hint="Name another encoder, or use 'auto'.",
            ) from error

    def _keep(self, packets: Iterable[Any]) -> list[EncodedPicture]:
        """All that are new; the ring always begins with an intra frame."""
        new = [
            EncodedPicture(bytes(one), one.pts, one.dts, bool(one.is_keyframe))
            for one in packets
            if one.size
        ]
        for one in new:
            if self._kept or one.keyframe:
                self._kept.append(one)
                self._bytes += len(one.data)
        while self._first_group_is_over():
            self._drop_first()
            while self._kept and not self._kept[0].keyframe:
                self._drop_first()
        return new

    def _first_group_is_over(self) -> bool:
        second = next((one for one in list(self._kept)[1:] if one.keyframe), None)
        if second is None:
            return self._bytes > self._max_bytes
        old = second.pts <= self._kept[-1].pts - self._before
        return old or self._bytes > self._max_bytes

    def _drop_first(self) -> None:
        self._bytes -= len(self._kept.popleft().data)


class PacketFile:
    """A fragmented mp4 written from packets; `NAME.partial.mp4` until it is finished.

    It begins with the first intra frame.

    Raises:
        BasEdgeError: Here and from every method: the file cannot be written.
    """

    def __init__(self, ring: PacketRing, path: Path) -> None:
        self._av = require("av", extra="video", purpose="Writing a video file")
        self.path = path
        self.frames = 0
        self.first_pts = self.last_pts = 0
        self._output = Mp4Output(partial(path), fragmented=True)
        self._stream = self._output.container.add_stream_from_template(ring.stream)

    def write(self, pictures: Iterable[EncodedPicture]) -> None:
        """Append packets."""
        for one in pictures:
            if not self.frames:
                if not one.keyframe:
                    continue
                self.first_pts = one.pts
            packet = self._av.Packet(one.data)
            packet.time_base = Fraction(1, TICKS_PER_S)
            packet.pts, packet.dts = one.pts - self.first_pts, one.dts - self.first_pts
            packet.is_keyframe = one.keyframe
            packet.stream = self._stream
            self._output.mux(packet)
            self.frames += 1
            self.last_pts = max(self.last_pts, one.pts)

    def finish(self) -> None:
        """Give the file its name."""
        self._output.finish(self.path)

    def salvage(self) -> bool:
        """After an error: see `Mp4Output.salvage`."""
        return self._output.salvage(self.path)
