"""Which decoder a live source gets: the hardware's, where there is one that works."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from bas_edge._require import require
from bas_edge.errors import InputError

__all__ = ["HardwareDecode", "decoder"]

HardwareDecode = Literal["auto", "off", "cuda", "vaapi", "qsv", "drm", "vdpau"]

# Where a hardware decoder shows itself, best first.
_SHOWN = (("cuda", "/dev/nvidiactl"), ("vaapi", "/dev/dri/renderD128"))


def decoder(wanted: HardwareDecode) -> tuple[Any, str]:
    """What PyAV is to decode with, and why not what one would expect.

    Returns:
        An `av.codec.hwaccel.HWAccel`, or None for software. Then the reason for software where
        the machine shows a decoder that does not work: " (cuda: Operation not permitted)".

    Raises:
        InputError: The one that is asked for is unknown, not built in, or does not work.
        MissingExtraError: PyAV is not installed.
    """
    if wanted not in get_args(HardwareDecode):
        known = ", ".join(get_args(HardwareDecode))
        raise InputError(f"hardware is '{wanted}', but must be one of {known}.")
    if wanted == "off":
        return None, ""
    built_in = require(
        "av.codec.hwaccel", extra="video", purpose="Hardware decoding"
    ).hwdevices_available()
    if wanted != "auto":
        if wanted not in built_in:
            raise InputError(
                f"This PyAV decodes with {', '.join(built_in) or 'software only'}, not {wanted}.",
                hint="Leave hardware at 'auto'.",
            )
        if refusal := _refusal(wanted):
            raise InputError(
                f"The decoder {wanted} of this machine does not work: {refusal}.",
                hint="Check its driver, or leave hardware at 'auto'.",
            )
        return _accelerator(wanted, fallback=False), ""
    refusals = []
    for name, device in _SHOWN:
        if name not in built_in or not Path(device).exists():
            continue
        if not (refusal := _refusal(name)):
            return _accelerator(name, fallback=True), ""
        refusals.append(f"{name}: {refusal}")
    return None, f" ({'; '.join(refusals)})" if refusals else ""


def _accelerator(name: str, *, fallback: bool) -> Any:
    module = require("av.codec.hwaccel", extra="video", purpose="Hardware decoding")
    return module.HWAccel(device_type=name, allow_software_fallback=fallback)


def _refusal(name: str) -> str:
    """Why it does not work; "" where it does. Asked before anything is opened with it."""
    av = require("av", extra="video", purpose="Hardware decoding")
    try:
        av.CodecContext.create("h264", "r", hwaccel=_accelerator(name, fallback=True))
    except (av.error.FFmpegError, NotImplementedError, RuntimeError) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ""
