"""Cameras and network streams through FFmpeg."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from bas_edge._require import require
from bas_edge.errors import BasEdgeError, InputError, StreamCodecError, StreamConnectionError
from bas_edge.video.sources.addresses import kind_of, redacted, redacted_uri
from bas_edge.video.sources.capture import Damaged, Picture
from bas_edge.video.sources.decoding import Decoding
from bas_edge.video.sources.ffmpeg_errors import opening_error, stream_error
from bas_edge.video.sources.hardware import HardwareDecode, decoder

__all__ = ["HardwareDecode", "LiveCapture", "LiveOptions"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How a live source is opened.

    Attributes:
        connect_s: Longest time until the first data, in seconds.
        silence_s: Longest time without any data, in seconds; then the connection counts as lost.
        transport: Of RTSP: "tcp" loses no packet, "udp" never waits for one.
        hardware: Decoder: "auto" takes the one this machine shows, and software where there is
            none or where it refuses; "off" is software; a name is that or an error.
        options: More of FFmpeg's own options, by name. Never shown, as they may hold secrets.
    """

    connect_s: float = 10.0
    silence_s: float = 10.0
    transport: Literal["tcp", "udp"] = "tcp"
    hardware: HardwareDecode = "auto"
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.transport not in ("tcp", "udp"):
            raise InputError(f"transport is '{self.transport}', but must be tcp or udp.")
        for name in ("connect_s", "silence_s"):
            if not 0 < (seconds := getattr(self, name)) < float("inf"):
                raise InputError(f"{name} is {seconds}, but must be a positive number of seconds.")


class LiveCapture:
    """One connection to a camera or a network stream; see `capture.Capture`.

    Pictures come as soon as they can: no frame threads, and no buffer in front. After damage
    nothing is delivered until the stream is whole again, as a rule at its next keyframe.

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
        hardware, refusal = decoder(options.hardware)
        self._container = self._open(options, hardware)
        try:
            self._stream, self.details = self._prepare(
                refusal, dict(options.options).get("err_detect", "explode")
            )
        except BaseException:
            self._container.close()
            raise
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate) if rate and 0 < rate <= 1000 else None
        # A file behind http:// says how long it is; a camera cannot.
        self.ends = (self._container.duration or 0) > 0
        self._decoding = Decoding(self._container, self._stream, resync=True)

    @property
    def damage(self) -> str | None:
        damaged = self._decoding.damaged
        return f"{damaged} damaged frames left out." if damaged else None

    def __iter__(self) -> Iterator[Picture | Damaged | None]:
        error = self._av.error.FFmpegError
        try:
            yield from self._decoding.heard(error)
        except error as failure:
            raise stream_error(failure, self._uri) from None
        except BasEdgeError:
            raise
        except Exception as failure:  # noqa: BLE001  (what a camera sends must not end it for ever)
            # PyAV trips over some streams: an IndexError where one of them begins late.
            trace = redacted("".join(traceback.format_exception(failure)))
            _log.warning("%s: reading failed\n%s", redacted_uri(self._uri), trace)
            raise StreamConnectionError(
                f"{redacted_uri(self._uri)} cannot be read: {type(failure).__name__} in PyAV."
            ) from None

    def close(self) -> None:
        self._container.close()

    def _open(self, options: LiveOptions, hardware: Any) -> Any:
        address, format_name, settings = _ffmpeg_input(self._uri, options)
        began = time.monotonic()
        try:
            return self._av.open(
                address,
                format=format_name,
                options=settings,
                timeout=(options.connect_s, options.silence_s),
                hwaccel=hardware,
                metadata_errors="replace",  # a title may be in any encoding
            )
        except (self._av.error.FFmpegError, OSError) as error:
            seconds = time.monotonic() - began
            raise opening_error(
                error, self._uri, seconds=seconds, limit_s=options.connect_s
            ) from None
        except RuntimeError:  # PyAV, where no decoder of the hardware takes the stream
            raise StreamCodecError(
                f"{redacted_uri(self._uri)} sends no video that {options.hardware} decodes.",
                hint="Set the camera to H.264, or leave hardware at 'auto'.",
            ) from None
        except ValueError as error:
            if isinstance(error, LookupError):
                raise
            raise InputError(
                f"This PyAV cannot read {redacted_uri(self._uri)}: it knows no {format_name}.",
                hint="Webcams are read on Linux.",
            ) from None

    def _prepare(self, refusal: str, strictness: str) -> tuple[Any, str]:
        where = redacted_uri(self._uri)
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
        # Frame threads would hold back one picture each; with slice threads the H.264 decoder
        # does not notice what is missing in a picture.
        stream.thread_type = "SLICE" if context.name == "hevc" else "NONE"
        if context.name != "hevc":
            context.thread_count = 1
        # Only H.264's decoder marks pictures that it mended, and says nothing of those it keeps
        # to itself while it waits to be whole again. A refusal is heard at once.
        context.options = {"err_detect": strictness}
        by = "hardware" if context.is_hwaccel else f"software{refusal}"
        return stream, f"{context.name} {context.width}×{context.height}, decoded in {by}"


def _ffmpeg_input(uri: str, options: LiveOptions) -> tuple[str, str | None, dict[str, str]]:
    """What FFmpeg opens: address, format, options."""
    extra = dict(options.options)
    if kind_of(uri) == "device":
        parts = urlsplit(uri)
        path = f"/dev/video{uri}" if uri.isdecimal() else parts.path
        return path, "v4l2", {**dict(parse_qsl(parts.query)), **extra}
    # What is looked at to find out what comes is not kept: it would be late. A file behind
    # http:// needs it; if its connection breaks, FFmpeg asks for the rest of it.
    http = uri.lower().startswith("http")
    settings = {"reconnect": "1"} if http else {"fflags": "nobuffer"}
    if uri.lower().startswith("rtsp"):
        settings["rtsp_transport"] = options.transport
        settings["allowed_media_types"] = "video"  # sound alone would pass for a live camera
    return uri, None, {**settings, **extra}
