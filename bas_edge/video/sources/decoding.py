"""Packets of one FFmpeg stream in, whole pictures out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.video.sources.capture import Damaged
from bas_edge.video.sources.h264_order import H264Order
from bas_edge.video.sources.pictures import DecodedPicture, display_matrix

__all__ = ["Decoding"]

_REMEMBERED = 64  # packets whose pictures may still be in the decoder
# After a flush these decoders give nothing out before it is whole again, also where a stream
# has no keyframes but mends itself bit by bit. The others begin with grey.
_KNOW_WHEN_WHOLE = frozenset({"h264", "hevc"})


class Decoding:
    """One pass over one stream: what was delivered, and what was damaged.

    A decoder hides what it could not read: it fills holes from other pictures. Such a picture,
    and where `resync` asks for it every one that builds on it, is counted and left out. So are
    pictures that build on one that never arrived.

    Args:
        container: An open PyAV container.
        stream: The one of its streams to decode.
        resync: It is a live stream, which others may join and lose; see above.

    Attributes:
        delivered: Pictures given out.
        damaged: Pictures left out.
        broken_packet: The last packet was incomplete.
        broken_picture: The last picture did not decode.
        end_s: Where the packets that were read end, in seconds from the first picture.
    """

    def __init__(self, container: Any, stream: Any, *, resync: bool = False) -> None:
        self.delivered = 0
        self.damaged = 0
        self.broken_packet = False
        self.broken_picture = False
        self.end_s = 0.0
        self._container = container
        self._stream = stream
        self._resync = resync
        context = stream.codec_context
        name = context.name if resync else ""
        self._context = context
        self._order = H264Order(bytes(context.extradata or b"")) if name == "h264" else None
        self._needs_keyframe = resync and name not in _KNOW_WHEN_WHOLE
        self._flushes = 0
        self._lost = False  # pictures build on one that is damaged, up to the next keyframe
        self._joined = not resync  # what comes first may build on what was never here
        self._start_s: float | None = None
        if stream.start_time is not None:
            self._start_s = float(stream.start_time * stream.time_base)
        self._arrivals: dict[int, float] = {}  # packet's pts → Unix time
        self._matrix: NDArray[np.int32] | None = None

    def pictures(self, ffmpeg_error: type[Exception]) -> Iterator[DecodedPicture | Damaged]:
        """Until the stream ends. A packet that cannot be read ends it too, as `broken_packet`."""
        for picture in self.heard(ffmpeg_error):
            if picture is not None:
                yield picture

    def heard(self, ffmpeg_error: type[Exception]) -> Iterator[DecodedPicture | Damaged | None]:
        """As `pictures`; None where data came, but no picture (sound, or the decoder waits).

        Raises:
            Exception: With `resync`, what FFmpeg says of a connection that broke.
        """
        packets = self._container.demux(*([] if self._resync else [self._stream]))
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except ffmpeg_error:
                self.broken_packet = True
                if self._resync:
                    raise
                return
            if packet.stream.index != self._stream.index:
                yield None
                continue
            self._note(packet)
            if self._resync and packet.size and not self._follows(packet):
                yield self._damage()
                continue
            try:
                decoded = packet.decode()
            except ffmpeg_error:
                yield self._damage()
                continue
            flushes = self._flushes
            for frame in decoded:
                # What came out together with a damaged picture may build on it.
                yield self._picture(frame) if flushes == self._flushes else self._damage()
            if not decoded and self._resync:
                yield self._swallowed(packet)

    def _follows(self, packet: Any) -> bool:
        """Whether the decoder has what this packet builds on; if not, it is made to forget."""
        if packet.is_corrupt:
            return False
        if self._order is not None and self._order.gap(bytes(packet)):
            self._forget()
        return True

    def _swallowed(self, packet: Any) -> Damaged | None:
        """The decoder gave nothing for a packet: for want of another, or it is yet to come."""
        if not self._lost or packet.is_keyframe or self._needs_keyframe:
            return None
        self.damaged += 1
        return Damaged()

    def _forget(self) -> None:
        """Nothing may build on what the decoder has."""
        self._lost = self._resync
        if self._resync:
            self._flushes += 1
            self._context.flush_buffers()

    def _note(self, packet: Any) -> None:
        if packet.size:
            self.broken_packet = bool(packet.is_corrupt)
        if packet.pts is None:
            return
        end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
        self.end_s = max(self.end_s, end - (self._start_s or 0.0))
        self._arrivals[packet.pts] = time.time()
        if len(self._arrivals) > _REMEMBERED:
            del self._arrivals[next(iter(self._arrivals))]

    def _damage(self) -> Damaged | None:
        if not self._joined:
            self._forget()
            return None
        self.damaged += 1
        self.broken_picture = True
        self._forget()
        return Damaged()

    def _picture(self, frame: Any) -> DecodedPicture | Damaged | None:
        self.broken_picture = bool(frame.is_corrupt)
        if self.broken_picture:
            return self._damage()
        if self._needs_keyframe and (self._lost or not self._joined) and not frame.key_frame:
            if not self._joined:
                return None
            self.damaged += 1
            return Damaged()
        self._lost, self._joined = False, True
        if self.delivered == 0:
            self._matrix = display_matrix(frame)
            if self._start_s is None:
                self._start_s = frame.time
        self.delivered += 1
        time_s = None if frame.time is None else float(frame.time - (self._start_s or 0.0))
        arrived = self._arrivals.pop(frame.pts, None) if frame.pts is not None else None
        return DecodedPicture(frame, self._matrix, time_s, arrived or time.time())
