"""Cameras and network streams through FFmpeg."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from bas_edge._require import require
from bas_edge.errors import InputError, StreamCodecError
from bas_edge.video.addresses import kind_of, redacted
from bas_edge.video.capture import Damaged, Picture
from bas_edge.video.decoding import Decoding
from bas_edge.video.ffmpeg_errors import stream_error

__all__ = ["HardwareDecode", "LiveCapture", "LiveOptions"]

HardwareDecode = Literal["auto", "off", "cuda", "vaapi", "qsv", "drm", "vdpau"]

# Where a hardware decoder shows itself, best first.
_HARDWARE = (("cuda", "/dev/nvidiactl"), ("vaapi", "/dev/dri/renderD128"))


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How a live source is opened.

    Attributes:
        connect_s: Longest time until the first data, in seconds.
        silence_s: Longest time without any data, in seconds; then the connection counts as lost.
        transport: Of RTSP: "tcp" loses no packet, "udp" never waits for one.
        hardware: Decoder: "auto" takes the one this machine shows, and software where there is
            none or where it refuses; "off" is software; a name is that or an error.
        options: More of FFmpeg's own options, by name.
    """

    connect_s: float = 10.0
    silence_s: float = 10.0
    transport: Literal["tcp", "udp"] = "tcp"
    hardware: HardwareDecode = "auto"
    options: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name in ("connect_s", "silence_s"):
            if not 0 < (seconds := getattr(self, name)) < float("inf"):
                raise InputError(f"{name} is {seconds}, but must be a positive number of seconds.")


class LiveCapture:
    """One connection to a camera or a network stream; see `capture.Capture`.

    Pictures come as soon as they can: no frame threads, no reordering queue, no buffer in
    front. After damage nothing is delivered until the next keyframe.

    Args:
        uri: rtsp://…, http://…, /dev/video0, v4l2:///dev/video0?video_size=1280x720, …
        options: See there.

    Raises:
        StreamError: It cannot be opened; the class says why.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, uri: str, options: LiveOptions) -> None:
        self._uri = uri
        self._av = require("av", extra="video", purpose="Reading a camera or a network stream")
        hardware = self._hardware(options.hardware)
        self._container = self._open(options, hardware)
        try:
            self._stream, self.details = self._prepare()
        except BaseException:
            self._container.close()
            raise
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate) if rate and 0 < rate <= 1000 else None
        self._decoding = Decoding(self._container, self._stream, resync=True)

    @property
    def damage(self) -> str | None:
        damaged = self._decoding.damaged
        return f"{damaged} damaged frames left out." if damaged else None

    def __iter__(self) -> Iterator[Picture | Damaged]:
        error = self._av.error.FFmpegError
        try:
            yield from self._decoding.pictures(error)
        except error as failure:
            raise stream_error(failure, self._uri) from None

    def close(self) -> None:
        self._container.close()

    def _open(self, options: LiveOptions, hardware: Any) -> Any:
        address, format_name, settings = _ffmpeg_input(self._uri, options)
        try:
            return self._av.open(
                address,
                format=format_name,
                options=settings,
                timeout=(options.connect_s, options.silence_s),
                hwaccel=hardware,
            )
        except (self._av.error.FFmpegError, OSError) as error:
            raise stream_error(error, self._uri) from None

    def _prepare(self) -> tuple[Any, str]:
        where = redacted(self._uri)
        if not self._container.streams.video:
            raise StreamCodecError(
                f"{where} has no video in it.", hint="Is this the address of a microphone?"
            )
        stream = self._container.streams.video[0]
        context = stream.codec_context
        if context is None:
            raise StreamCodecError(
                f"{where} sends a kind of video that cannot be decoded here.",
                hint="Set the camera to H.264.",
            )
        stream.thread_type = "SLICE"  # frame threads would hold back one picture each
        flags = require("av.codec.context", extra="video", purpose="Reading a camera").Flags
        context.flags |= flags.low_delay
        by = "hardware" if context.is_hwaccel else "software"
        return stream, f"{context.name} {context.width}×{context.height}, decoded in {by}"

    def _hardware(self, wanted: HardwareDecode) -> Any:
        if wanted == "off":
            return None
        accelerators = require("av.codec.hwaccel", extra="video", purpose="Hardware decoding")
        built_in = accelerators.hwdevices_available()
        if wanted == "auto":
            for name, device in _HARDWARE:
                if name in built_in and Path(device).exists():
                    return accelerators.HWAccel(device_type=name, allow_software_fallback=True)
            return None
        if wanted not in built_in:
            raise InputError(
                f"This PyAV decodes with {', '.join(built_in) or 'software only'}, not {wanted}.",
                hint="Leave hardware at 'auto'.",
            )
        return accelerators.HWAccel(device_type=wanted, allow_software_fallback=False)


def _ffmpeg_input(uri: str, options: LiveOptions) -> tuple[str, str | None, dict[str, str]]:
    """What FFmpeg opens: address, format, options."""
    extra = dict(options.options)
    if kind_of(uri) == "device":
        parts = urlsplit(uri)
        path = f"/dev/video{uri}" if uri.isdecimal() else parts.path
        return path, "v4l2", {**dict(parse_qsl(parts.query)), **extra}
    settings = {"fflags": "nobuffer"}
    if uri.lower().startswith("rtsp"):
        settings["rtsp_transport"] = options.transport
    return uri, None, {**settings, **extra}
