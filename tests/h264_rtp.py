"""Frames as H.264 and as RTP packets (RFC 6184), for the test server."""

from __future__ import annotations

import re
import struct
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

PAYLOAD_TYPE = 96
CLOCK_HZ = 90_000
SLICE, IDR, SPS, PPS = 1, 5, 7, 8  # types of NAL units
FU_A = 28  # a part of one


@dataclass(frozen=True)
class Picture:
    """One access unit. `keyframe`: it begins a closed group of pictures, parameter sets first."""

    units: tuple[bytes, ...]  # NAL units without start codes
    keyframe: bool


@dataclass(frozen=True)
class Recording:
    """An encoded loop of frames; the group of pictures that begins it follows the one that ends."""

    pictures: tuple[Picture, ...]
    size: tuple[int, int]  # (H, W)

    def sdp(self, codec: str = "H264") -> str:
        """The session description, with the parameter sets."""
        sets = [unit for unit in self.pictures[0].units if unit[0] & 31 in (SPS, PPS)]
        sprop = ",".join(b64encode(unit).decode() for unit in sets)
        lines = (
            "v=0",
            "o=- 1 1 IN IP4 127.0.0.1",
            "s=test",
            "c=IN IP4 0.0.0.0",
            "t=0 0",
            "a=control:*",
            f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
            f"a=rtpmap:{PAYLOAD_TYPE} {codec}/{CLOCK_HZ}",
            f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;"
            f"profile-level-id={sets[0][1:4].hex()};sprop-parameter-sets={sprop}",
            "a=control:track0",
        )
        return "".join(f"{line}\r\n" for line in lines)


def record(
    frames: list[NDArray[np.uint8]], fps: int, keyframe_every: int, slices: int = 1
) -> Recording:
    """Encode RGB frames [H, W, 3] of one even size, without B frames: one in, one out."""
    H, W = frames[0].shape[:2]
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = W, H
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, fps)
    encoder.thread_count = 1
    every = f"keyint={keyframe_every}:min-keyint={keyframe_every}:scenecut=0:open-gop=0"
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "crf": "16",
        "x264-params": f"{every}:repeat-headers=1:annexb=1:bframes=0:slices={slices}",
    }
    packets = []
    for number, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return Recording(tuple(_picture(bytes(packet)) for packet in packets), (H, W))


def _picture(stream: bytes) -> Picture:
    units = [unit for unit in re.split(rb"\x00\x00\x00?\x01", stream) if unit]
    kept = tuple(unit for unit in units if unit[0] & 31 in (SLICE, IDR, SPS, PPS))
    return Picture(kept, any(unit[0] & 31 == IDR for unit in kept))


def payloads(picture: Picture, most: int = 1200) -> Iterator[bytes]:
    """The RTP payloads of one picture: a NAL unit each, or parts of at most `most` bytes."""
    for unit in picture.units:
        if len(unit) <= most:
            yield unit
            continue
        kind = unit[0] & 31
        parts = [unit[at : at + most - 2] for at in range(1, len(unit), most - 2)]
        for number, part in enumerate(parts):
            start, end = number == 0, number == len(parts) - 1
            yield bytes((unit[0] & 0xE0 | FU_A, start << 7 | end << 6 | kind)) + part


def rtp(payload: bytes, *, sequence: int, timestamp: int, last: bool, source: int) -> bytes:
    """One RTP packet; `last` of its picture."""
    kind = last << 7 | PAYLOAD_TYPE
    return (
        struct.pack(
            "!BBHII", 0x80, kind, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, source & 0xFFFFFFFF
        )
        + payload
    )
