"""What a source's address says: its kind, a name for it, and the part that nobody may read."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from bas_edge.errors import InputError

__all__ = ["SourceKind", "kind_of", "local_path", "name_of", "redacted", "redacted_uri"]

SourceKind = Literal["file", "folder", "network", "device", "gstreamer", "csi"]

HIDDEN = "***"

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.I)
_HOST = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#]*", re.I)
# A "/", "?" or "#" that was not written as %2F ends the user's part for FFmpeg, but not for who
# wrote it. So everything up to the last @ is hidden, even if that hides a harmless path.
_USER = r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?:{any}*:{any}*@|[^/?#\s]*@)"
_USER_IN_TEXT = re.compile(_USER.format(any=r"\S"), re.I)
_USER_IN_QUOTES = re.compile('(?<=")' + _USER.format(any='[^"]'), re.I)  # of a pipeline
_USER_IN_ADDRESS = re.compile("^" + _USER.format(any="."), re.I | re.S)
_KEYS = (
    r"user|username|usr|login|loginuse|user-?id|"
    r"[\w.-]*(?:password|passwd|passphrase|passcode|pass|pas|pwd|psw|pw|token|key|secret|signature|"
    r"sig|auth|jwt|credentials?|session(?:-?id)?|sid|cookies?)"
)
_KEY = rf"(?P<key>\b(?:{_KEYS})(?:=|%3d))"
_SECRET_TO_END = re.compile(f"{_KEY}.+", re.I | re.S)
_SECRET = re.compile(
    rf"{_KEY}"
    r"(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^&\s]+?(?=[\"']?(?:[&\s]|$)))",
    re.I,
)
_HEADER = re.compile(r"(?P<key>\bauthorization\s*[:=]\s*)(?:(?:basic|bearer|digest)\s+)?\S+", re.I)
_LIVE_SCHEMES = frozenset(
    {"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp", "http", "https", "mms", "mmsh"}
)


def redacted(text: str) -> str:
    """`text` with user names, passwords, tokens and keys replaced by ***.

    Works on an address, on a GStreamer pipeline, and on a sentence that holds either of them.

    Example:
        redacted("rtsp://admin:pw@10.0.0.7/live?token=abc")  # rtsp://***@10.0.0.7/live?token=***
    """
    text = _USER_IN_QUOTES.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _USER_IN_TEXT.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _HEADER.sub(rf"\g<key>{HIDDEN}", text)
    return _SECRET.sub(rf"\g<key>{HIDDEN}", text)


def redacted_uri(uri: str) -> str:
    """As `redacted`, of one address alone: also where a password has a space in it."""
    uri = redacted(_USER_IN_ADDRESS.sub(rf"\g<scheme>{HIDDEN}@", uri))
    host = _HOST.match(uri)
    if host is None:
        return uri
    return host[0] + "&".join(map(_redacted_part, uri[host.end() :].split("&")))


def _redacted_part(part: str) -> str:
    """What lies between two "&" of an address."""
    if _SECRET_TO_END.search(unquote(part)) and not _SECRET_TO_END.search(part):  # pass%77ord=
        return f"/{HIDDEN}" if part.startswith("/") else HIDDEN
    return _SECRET_TO_END.sub(rf"\g<key>{HIDDEN}", part)


def kind_of(uri: str) -> SourceKind:
    """What an address leads to.

    A scheme says it; then whether there is a file or folder of this name; then the form: "0" is
    a webcam and "… ! …" a GStreamer pipeline.

    Raises:
        InputError: The scheme is unknown, the address is empty or broken, or there is no such file
            or folder.
    """
    if not uri:  # to Path that is the current folder
        raise InputError(
            "The source is empty.", hint="Is the variable set that it was to come from?"
        )
    if uri.startswith(("/dev/video", "v4l2://")):
        return "device"
    if _URL.match(uri):
        scheme, host = _parts(uri)[:2]
        port = host.rpartition(":")[2]
        if port.isdecimal() and int(port) > 65535:
            raise InputError(f"{redacted_uri(uri)} has a port over 65535, and there is none such.")
        if scheme in _LIVE_SCHEMES:
            return "network"
        if scheme == "csi":
            return "csi"
        if scheme != "file":
            raise InputError(
                f"{redacted_uri(uri)} has the scheme '{scheme}', which is not known here.",
                hint="Known are rtsp, rtsps, rtmp, rtp, udp, srt, tcp, http, https, v4l2, csi and "
                "file; anything else through a GStreamer pipeline ('… ! appsink').",
            )
    path = local_path(uri)
    with contextlib.suppress(OSError):  # of a long pipeline: that is no name of a file
        if path.is_dir():
            return "folder"
        if path.is_file():
            return "file"
    if " ! " in uri:
        return "gstreamer"
    if uri.isdecimal():
        return "device"
    raise InputError(
        f"{redacted_uri(uri)}: no such file or folder.",
        hint="A camera is an address such as rtsp://host/path, /dev/video0 or csi://0.",
    )


def name_of(uri: str) -> str:
    """A short name for a source: of a file its stem, of an address its host and path."""
    kind = kind_of(uri)
    if kind in ("file", "folder"):
        return local_path(uri).resolve().stem or "frames"
    if kind == "gstreamer":
        return uri.split(maxsplit=1)[0]
    if kind == "device":
        return (
            f"video{uri}" if uri.isdecimal() else _parts(uri).path.partition("/dev/")[2] or "video"
        )
    parts = _parts(redacted_uri(uri))
    host = (parts.hostname or "").replace(HIDDEN, "")
    if kind == "csi":
        return f"csi{host}"
    return f"{host}{parts.path}".strip("/").replace("/", "-") or parts.scheme


def local_path(uri: str) -> Path:
    """Of a path, or of file:///path with its %20."""
    return Path(unquote(_parts(uri).path) if uri[:7].lower() == "file://" else uri)


def _parts(uri: str) -> SplitResult:
    try:
        return urlsplit(uri)
    except ValueError as error:
        raise InputError(f"{redacted_uri(uri)} is no address: {redacted(str(error))}.") from None
