"""A missing H.264 picture is noticed by the numbers of those around it, and nothing else is."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import av
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numbered_frames import picture

from bas_edge.video.sources.h264_order import H264Order

COUNT = 60


def encoded(container: str, **options: str) -> tuple[bytes, list[bytes]]:
    """The extradata and the packets of COUNT frames: "annexb" or "avc" (as in mp4 and FLV)."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 128, 96, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    if container == "avc":
        encoder.flags |= av.codec.context.Flags.global_header
    encoder.options = {"g": "20", **options}
    packets: list[Any] = []
    for number in range(COUNT):
        frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    stream = [bytes(packet) for packet in packets]
    if container == "annexb":
        return b"", stream
    extradata = bytes(encoder.extradata)
    _, sps, pps = extradata.split(b"\0\0\0\1")[:3]
    head = b"\1" + sps[1:4] + b"\xff\xe1" + len(sps).to_bytes(2, "big") + sps
    head += b"\1" + len(pps).to_bytes(2, "big") + pps
    return head, [with_lengths(packet) for packet in stream]


def with_lengths(packet: bytes) -> bytes:
    units = packet.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


KINDS = {
    "a camera's": ("annexb", {"tune": "zerolatency", "preset": "ultrafast"}),
    "four slices": ("annexb", {"tune": "zerolatency", "x264-params": "slices=4"}),
    "B pictures": ("annexb", {"bf": "2", "preset": "medium"}),
    "no keyframes": ("annexb", {"tune": "zerolatency", "x264-params": "intra-refresh=1"}),
    "lengths": ("avc", {"tune": "zerolatency"}),
}


@pytest.fixture(scope="module", params=list(KINDS))
def recording(request: pytest.FixtureRequest) -> tuple[bytes, list[bytes]]:
    container, options = KINDS[request.param]
    return encoded(container, **options)


def test_a_whole_stream_has_no_gap(recording: tuple[bytes, list[bytes]]) -> None:
    extradata, packets = recording
    order = H264Order(extradata)
    assert len(packets) == COUNT
    assert not any(order.gap(packet) for packet in packets + packets)


def test_every_missing_reference_is_noticed_at_the_next_picture(
    recording: tuple[bytes, list[bytes]],
) -> None:
    extradata, packets = recording
    rng = random.Random(0)
    noticed = 0
    for at in rng.sample(range(3, COUNT - 3), 20):
        order = H264Order(extradata)
        gaps = [order.gap(packet) for n, packet in enumerate(packets) if n != at]
        # Where a keyframe follows, and where nothing builds on the missing one, there is none.
        assert sum(gaps) <= 1
        assert gaps.index(True) in (at, at + 1, at + 2) if any(gaps) else True
        noticed += any(gaps)
    assert noticed >= 6  # of B pictures nothing builds on two in three


def test_joining_in_the_middle_is_no_gap(recording: tuple[bytes, list[bytes]]) -> None:
    extradata, packets = recording
    order = H264Order(extradata)
    assert not any(order.gap(packet) for packet in packets[7:])


MARKS = [
    b"\0\0\1",
    b"\0\0\0\1",
    b"\0\0\3",
    b"\x67\x64\0\x1f",
    b"\x65",
    b"\x41",
    b"\1\x64\0\x1f\xff",
]
GARBAGE = st.lists(st.one_of(st.sampled_from(MARKS), st.binary(max_size=9)), max_size=12).map(
    b"".join
)


@given(extradata=GARBAGE, packets=st.lists(GARBAGE, max_size=5))
@example(extradata=b"", packets=[b"\0\0\1\0\0\1"])
@example(extradata=b"", packets=[b"\0\0\0\1\0\0\0\1\x41\x9a"])
def test_garbage_is_read_without_complaint(extradata: bytes, packets: list[bytes]) -> None:
    order = H264Order(extradata)
    for packet in packets:
        assert order.gap(b"\0\0\1\x67" + packet) in (False, True)
        assert order.gap(packet) in (False, True)
