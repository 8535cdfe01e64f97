"""Which video encoders this machine has, and how they are opened."""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import Any

import numpy as np

from bas_edge._require import require
from bas_edge.errors import InputError

__all__ = [
    "HARDWARE_ENCODERS",
    "PREFERRED_ENCODERS",
    "TICKS_PER_S",
    "available_encoders",
    "choose_encoder",
    "configure",
    "encoder_works",
    "has_encoder",
]

# Software encoders, best picture first. Wheels differ in which of them they bundle.
PREFERRED_ENCODERS = ("libx264", "libopenh264", "mpeg4")
# Hardware encoders: NVIDIA, Intel, AMD, Apple, and the V4L2 devices of small boards.
HARDWARE_ENCODERS = (
    "h264_nvenc",
    "h264_qsv",
    "h264_amf",
    "h264_videotoolbox",
    "h264_v4l2m2m",
)
TICKS_PER_S = 60_000  # 24, 25, 30, 50, 60 and 29.97 fps are exact; MPEG-4 allows up to 65535

# All about as good as libx264 at crf 23. Inference needs the processor more than the annotated
# copy does, hence its preset.
_OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "23"},
    "mpeg4": {"q:v": "3"},
    "h264_nvenc": {"preset": "p4", "rc": "vbr", "cq": "23", "b": "0"},
    "h264_qsv": {"global_quality": "23"},
    "h264_amf": {"rc": "cqp", "qp_i": "23", "qp_p": "25"},
}
# A picture out for each picture in, and intra frames that a decoder can start from.
_LOW_LATENCY = {
    "libx264": {"tune": "zerolatency", "forced-idr": "1"},
    "h264_nvenc": {"delay": "0", "zerolatency": "1", "bf": "0", "forced-idr": "1"},
    "h264_qsv": {"async_depth": "1", "bf": "0", "forced_idr": "1"},
    "h264_amf": {"forced_idr": "1"},
}
_BITS_PER_PIXEL = {"h264_videotoolbox": 0.1, "h264_v4l2m2m": 0.1}  # these know no constant quality
_PIXEL_FORMATS = {"h264_qsv": "nv12"}
_PROBE_SIZE = (352, 640)  # (H, W): every encoder takes it, some refuse smaller ones


def available_encoders() -> list[str]:
    """The encoders to choose from here, best first: hardware that works, then software.

    Hardware encoders count where one really encodes a picture; that is tried once per process.
    """
    av = require("av", extra="video", purpose="Writing a video file")
    hardware = [name for name in HARDWARE_ENCODERS if _works_here(name)]
    return hardware + [name for name in PREFERRED_ENCODERS if has_encoder(av, name)]


def choose_encoder(codec: str, size: tuple[int, int] | None = None, fps: float = 25.0) -> str:
    """The encoder's name: `codec` itself, or for "auto" the best of `available_encoders()`.

    Args:
        codec: By name, or "auto".
        size: (H, W) of the frames, which hardware may refuse; None does not ask it.
        fps: About how many a second.

    Raises:
        InputError: There is no such encoder.
        MissingExtraError: PyAV is not installed.
    """
    av = require("av", extra="video", purpose="Writing a video file")
    if codec == "auto":
        names = available_encoders()
        if not names:
            raise InputError(
                f"This PyAV has none of the encoders {', '.join(PREFERRED_ENCODERS)}.",
                hint="Name one that it has as the codec, or write no video.",
            )
        if size is None:
            return names[0]
        works = (
            name
            for name in names
            if name not in HARDWARE_ENCODERS or encoder_works(name, size, fps)
        )
        return next(works, names[0])
    if not has_encoder(av, codec):
        raise InputError(
            f"This PyAV has no encoder '{codec}'.",
            hint=f"It has, among others: {', '.join(available_encoders())}.",
        )
    return codec


def configure(
    context: Any, name: str, size: tuple[int, int], fps: float, *, low_latency: bool = False
) -> None:
    """Set up an encoder's context, not open yet, for yuv pictures in ticks of `TICKS_PER_S`.

    Args:
        context: PyAV's VideoCodecContext of the encoder `name`.
        name: The encoder.
        size: (H, W) of the frames; odd ones grow by one pixel.
        fps: About how many frames a second there will be.
        low_latency: Give out each picture at once, and begin anew at each intra frame.
    """
    height, width = (edge + edge % 2 for edge in size)
    context.width, context.height = width, height
    context.pix_fmt = _PIXEL_FORMATS.get(name, "yuv420p")
    context.time_base = Fraction(1, TICKS_PER_S)
    context.framerate = Fraction(fps).limit_denominator(1001)  # 30000/1001 stays exact
    if name in _BITS_PER_PIXEL:
        context.bit_rate = round(_BITS_PER_PIXEL[name] * width * height * fps)
    context.options = _OPTIONS.get(name, {}) | (_LOW_LATENCY.get(name, {}) if low_latency else {})


def has_encoder(av: Any, name: str) -> bool:
    """Whether this PyAV was built with the video encoder `name`."""
    try:
        return bool(av.codec.Codec(name, "w").type == "video")
    except (av.error.FFmpegError, ValueError):
        return False


def encoder_works(name: str, size: tuple[int, int], fps: float) -> bool:
    """Whether the encoder really opens for this (H, W) and encodes a picture."""
    av = require("av", extra="video", purpose="Writing a video file")
    if not has_encoder(av, name):
        return False
    try:
        context = av.CodecContext.create(name, "w")
        configure(context, name, size, fps)
        context.open(strict=False)
        pixels = np.zeros((context.height, context.width, 3), np.uint8)
        packets = 0
        for at in range(2):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(format=context.pix_fmt)
            frame.pts, frame.time_base = round(at * TICKS_PER_S / fps), context.time_base
            packets += len(context.encode(frame))
        packets += len(context.encode(None))
    except (av.error.FFmpegError, OSError, ValueError):
        return False
    return packets > 0


@functools.cache
def _works_here(name: str) -> bool:
    return encoder_works(name, _PROBE_SIZE, 25.0)
