"""What FFmpeg says of a source, as one of our errors: never with its address in full."""

from __future__ import annotations

import errno
import socket
from urllib.parse import urlsplit

from bas_edge._require import require
from bas_edge.errors import (
    StreamAuthenticationError,
    StreamCodecError,
    StreamConnectionError,
    StreamError,
    StreamNotFoundError,
    StreamTimeoutError,
)
from bas_edge.video.sources.addresses import redacted, redacted_uri

__all__ = ["opening_error", "stream_error"]

_SILENT = "Check that the camera is on and reachable, or raise the timeout."

_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
_BUSY = {errno.EBUSY}


def opening_error(error: Exception, uri: str, *, seconds: float, limit_s: float) -> StreamError:
    """The error to raise for what PyAV raised while it opened `uri`.

    FFmpeg calls an RTSP server that says nothing, hangs up or speaks something else "invalid
    data", as it calls video that it cannot read. A camera that is starting does the first two.

    Args:
        error: What was raised.
        uri: The address.
        seconds: How long it took.
        limit_s: How long it might have taken.
    """
    invalid = require("av", extra="video", purpose="Reading video").error.InvalidDataError
    if not uri.lower().startswith(("rtsp://", "rtsps://")) or not isinstance(error, invalid):
        return stream_error(error, uri)
    where = redacted_uri(uri)
    if seconds >= limit_s:
        return StreamTimeoutError(f"{where} was silent for too long.", hint=_SILENT)
    return StreamConnectionError(
        f"{where} cannot be read: what answers there hangs up, or speaks no RTSP.",
        hint="Check the port: cameras listen for RTSP on 554 or 8554, for their web page on 80.",
    )


def stream_error(error: Exception, uri: str) -> StreamError:
    """The error to raise for what PyAV raised.

    FFmpeg's own text is not used: it holds the address with its credentials. Its reason ("401
    Unauthorized") is.
    """
    where = redacted_uri(uri)
    reason = redacted(getattr(error, "strerror", None) or type(error).__name__).rstrip(".")
    if getattr(error, "errno", None) == errno.EIO and not _known_host(uri):
        reason = "its host name is not known here"  # FFmpeg says "Input/output error"
    kind, sentence, hint = _judge(error, where, reason)
    return kind(sentence, hint=hint)


def _known_host(uri: str) -> bool:
    """Whether the host of an address has one, or needs none."""
    try:
        host = urlsplit(uri).hostname
        if host:
            socket.getaddrinfo(host, None)
    except (OSError, ValueError):
        return False
    return True


def _judge(error: Exception, where: str, reason: str) -> tuple[type[StreamError], str, str | None]:
    names = require("av", extra="video", purpose="Reading video").error
    code = getattr(error, "errno", None)
    if isinstance(error, names.HTTPUnauthorizedError | names.HTTPForbiddenError):
        return (
            StreamAuthenticationError,
            f"{where} refuses the user name or the password ({reason}).",
            "Give them in the address: rtsp://NAME:PASSWORD@host/path, with %40 for an @.",
        )
    if isinstance(error, names.HTTPNotFoundError | names.FileNotFoundError):
        return (
            StreamNotFoundError,
            f"{where} does not exist ({reason}).",
            "Check the path after the host name, or the number of the device (ls /dev/video*).",
        )
    if isinstance(error, names.ExitError | names.TimeoutError):
        return (
            StreamTimeoutError,
            f"{where} was silent for too long.",
            _SILENT,
        )
    if isinstance(error, names.PermissionError):
        return (
            StreamConnectionError,
            f"{where} may not be opened by this user ({reason}).",
            "Add the user to the group of the device (usually: video).",
        )
    if code in _BUSY:
        return (
            StreamConnectionError,
            f"{where} is in use by another program ({reason}).",
            "Close the other program, or read the device through a server that both can use.",
        )
    if isinstance(error, names.ProtocolNotFoundError):
        return (
            StreamCodecError,
            f"{where} needs a protocol that this PyAV was built without.",
            "Use another one of the camera's addresses, or a GStreamer pipeline.",
        )
    undecodable = (
        names.DecoderNotFoundError,
        names.DemuxerNotFoundError,
        names.InvalidDataError,
        names.PatchWelcomeError,
        names.NotImplementedError,
    )
    if isinstance(error, undecodable):
        return (
            StreamCodecError,
            f"{where} sends nothing that can be decoded here ({reason}).",
            "Set the camera to H.264, and check that the address is that of a video stream.",
        )
    if isinstance(error, names.EOFError):
        reason = "it was closed from the other side"
    elif code in _UNREACHABLE:
        reason = "there is no way to this host"
    return StreamConnectionError, f"{where} cannot be read: {reason}.", None
