"""What a source's address says: its kind, a name for it, and the part that nobody may read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from bas_edge.errors import InputError

__all__ = ["SourceKind", "kind_of", "name_of", "redacted"]

SourceKind = Literal["file", "folder", "network", "device", "gstreamer", "csi"]

HIDDEN = "***"

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.I)
_USER = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?P<user>[^/?#\s'\"]*@)", re.I)
# A slash in a password ends the authority early: what stands before it is then no port.
_SLASHED_USER = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?P<user>[^/?#\s'\"@:]*:(?!\d+(?:[/?#]|$))[^\s'\"]*@)", re.I
)
_SECRET = re.compile(
    r"(?P<key>\b(?:user-?id|user-?pw|user(?:name)?|usr|login|pass(?:word|wd|phrase)?|pwd|pw|"
    r"(?:access_?|auth_?|api_?)?(?:token|key)|auth|secret|sig(?:nature)?|credentials?)=)"
    r"(?P<value>\"[^\"]*\"|'[^']*'|[^&\s!;,'\"]+)",
    re.I,
)
_LIVE_SCHEMES = frozenset(
    {"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp", "http", "https", "mms", "mmsh"}
)


def redacted(text: str) -> str:
    """`text` with user names, passwords, tokens and keys replaced by ***.

    Works on an address, on a GStreamer pipeline, and on a sentence that holds either of them.

    Example:
        redacted("rtsp://admin:pw@10.0.0.7/live?token=abc")  # rtsp://***@10.0.0.7/live?token=***
    """
    text = _SLASHED_USER.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _USER.sub(rf"\g<scheme>{HIDDEN}@", text)
    return _SECRET.sub(rf"\g<key>{HIDDEN}", text)


def kind_of(uri: str) -> SourceKind:
    """What an address leads to, by its form; only of a local path is looked at what it is.

    Raises:
        InputError: The scheme is unknown, or there is no such file or folder.
    """
    if " ! " in uri:
        return "gstreamer"
    if uri.isdecimal() or uri.startswith(("/dev/video", "v4l2://")):
        return "device"
    if _URL.match(uri):
        scheme = uri.partition("://")[0].lower()
        if scheme in _LIVE_SCHEMES:
            return "network"
        if scheme == "csi":
            return "csi"
        if scheme != "file":
            raise InputError(
                f"{redacted(uri)} has the scheme '{scheme}', which is not known here.",
                hint="Known are rtsp, rtsps, rtmp, rtp, udp, srt, tcp, http, https, v4l2, csi and "
                "file; anything else through a GStreamer pipeline ('… ! appsink').",
            )
        uri = urlsplit(uri).path
    path = Path(uri)
    if path.is_dir():
        return "folder"
    if path.is_file():
        return "file"
    raise InputError(
        f"{redacted(uri)}: no such file or folder.",
        hint="A camera is an address such as rtsp://host/path, /dev/video0 or csi://0.",
    )


def name_of(uri: str) -> str:
    """A short name for a source: of a file its stem, of an address its host and path."""
    kind = kind_of(uri)
    if kind in ("file", "folder"):
        return Path(urlsplit(uri).path if uri.startswith("file://") else uri).stem or "frames"
    if kind == "gstreamer":
        return uri.split(maxsplit=1)[0]
    if kind == "device":
        return f"video{uri}" if uri.isdecimal() else uri.partition("/dev/")[2] or "video"
    parts = urlsplit(redacted(uri))
    host = (parts.hostname or "").replace(HIDDEN, "")
    if kind == "csi":
        return f"csi{host}"
    return f"{host}{parts.path}".strip("/").replace("/", "-") or parts.scheme
