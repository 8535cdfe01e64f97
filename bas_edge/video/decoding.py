"""Packets of one FFmpeg stream in, whole pictures out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.video.capture import Damaged
from bas_edge.video.pictures import DecodedPicture, display_matrix

__all__ = ["Decoding"]

_REMEMBERED = 64  # packets whose pictures may still be in the decoder


class Decoding:
    """One pass over one stream: what was delivered, and what was damaged.

    A decoder hides what it could not read: it fills holes from other pictures. Such a picture,
    and where `resync` asks for it every one that builds on it, is counted and left out.

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
        self._lost = False  # pictures build on one that is damaged, up to the next keyframe
        self._start_s: float | None = None
        if stream.start_time is not None:
            self._start_s = float(stream.start_time * stream.time_base)
        self._arrivals: dict[int, float] = {}  # packet's pts → Unix time
        self._matrix: NDArray[np.int32] | None = None

    def pictures(self, ffmpeg_error: type[Exception]) -> Iterator[DecodedPicture | Damaged]:
        """Until the stream ends. A packet that cannot be read ends it too, as `broken_packet`.

        Raises:
            Exception: With `resync`, what FFmpeg says of a connection that broke.
        """
        packets = self._container.demux(self._stream)
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
            self._note(packet)
            try:
                decoded = packet.decode()
            except ffmpeg_error:
                yield self._damage()
                continue
            for frame in decoded:
                yield self._picture(frame)

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

    def _damage(self) -> Damaged:
        self.damaged += 1
        self.broken_picture = True
        self._lost = self._resync
        return Damaged()

    def _picture(self, frame: Any) -> DecodedPicture | Damaged:
        self.broken_picture = bool(frame.is_corrupt)
        if self.broken_picture or (self._resync and self.broken_packet):
            return self._damage()
        if self._lost and not frame.key_frame:
            self.damaged += 1
            return Damaged()
        self._lost = False
        if self.delivered == 0:
            self._matrix = display_matrix(frame)
            if self._start_s is None:
                self._start_s = frame.time
        self.delivered += 1
        time_s = None if frame.time is None else float(frame.time - (self._start_s or 0.0))
        arrived = self._arrivals.pop(frame.pts, None) if frame.pts is not None else None
        return DecodedPicture(frame, self._matrix, time_s, arrived or time.time())
