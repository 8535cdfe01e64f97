"""One function for everything that gives frames."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.results import ColorOrder
from bas_edge.video.sources.addresses import SourceKind, kind_of, local_path, name_of, redacted_uri
from bas_edge.video.sources.capture import Capture
from bas_edge.video.sources.frame_queue import Policy
from bas_edge.video.sources.gstreamer import GStreamerCapture, csi_pipeline_of
from bas_edge.video.sources.live_capture import LiveCapture, LiveOptions
from bas_edge.video.sources.local_captures import ArrayCapture, FileCapture, FolderCapture
from bas_edge.video.sources.pacing import StreamOptions
from bas_edge.video.sources.reconnect import Reconnect
from bas_edge.video.sources.stream import Stream
from bas_edge.video.sources.video_source import VideoSource

__all__ = ["open_source"]


def open_source(
    source: str | int | os.PathLike[str] | VideoSource | Iterable[NDArray[np.uint8]],
    *,
    name: str | None = None,
    policy: Policy | None = None,
    depth: int | None = None,
    stride: int = 1,
    max_fps: float | None = None,
    realtime: bool | None = None,
    loop: bool = False,
    stall_s: float = 2.0,
    fps: float = 25.0,
    color: ColorOrder = "rgb",
    live: LiveOptions | None = None,
    reconnect: Reconnect | None = None,
) -> Stream:
    """Frames of a file, a folder of images, a camera, a network stream, or a program.

    Nothing is read before the stream is started or iterated; a live source that cannot be
    reached is then tried again, as `reconnect` says.

    Args:
        source: One of
            a video file, or a `VideoSource` of one; a folder of images;
            rtsp://, rtsps://, rtmp://, http(s)://, udp://, srt:// …: a network stream;
            /dev/video0, 0 or v4l2:///dev/video0?video_size=1280x720&framerate=30: a webcam;
            csi://0?width=1280&height=720&fps=30&flip=0: a camera of a Jetson, through OpenCV;
            a GStreamer pipeline, recognized by its " ! ", through OpenCV;
            an iterable of uint8 [H, W, 3] arrays, which nobody writes into any more.
        name: For results and messages; by default made of the address.
        policy: "wait" loses no frame (files), "newest" gives the newest and drops what is older
            (live sources), "oldest" drops what comes while frames wait.
        depth: How many frames may wait; by default 1 with "newest" and 3 otherwise.
        stride: Every how many-th frame is delivered.
        max_fps: At most so many frames a second, by the stream's time.
        realtime: Play a file at its own speed, as a camera would deliver it. By default where
            its policy is not "wait".
        loop: Begin a file again at its end.
        stall_s: A live source without a frame for so long is "stalled".
        fps: The rate of a folder of images.
        color: The channel order of arrays from a program.
        live: Timeouts, transport and decoder of a live source.
        reconnect: When a live source is tried again.

    Raises:
        InputError: No such file, an unknown scheme, or an option out of range.
    """
    if not 0 < fps < math.inf:
        raise InputError(f"fps is {fps}, but must be a positive number.")
    live, reconnect = live or LiveOptions(), reconnect or Reconnect()
    for given, kind_of_options in ((live, LiveOptions), (reconnect, Reconnect)):
        if not isinstance(given, kind_of_options):
            raise InputError(
                f"{given!r} was given where open_source takes {kind_of_options.__name__}.",
                hint=f"Write {kind_of_options.__name__}(…), from bas_edge.video.",
            )
    if isinstance(source, int):
        source = f"/dev/video{source:d}"
    if isinstance(source, str | os.PathLike | VideoSource):
        opened = source if isinstance(source, VideoSource) else None
        uri = str(source.path) if isinstance(source, VideoSource) else os.fspath(source)
        address_kind: SourceKind = "file" if opened is not None else kind_of(uri)
        kind: SourceKind | None = address_kind
        connect = _connector(uri, address_kind, fps, live, lossless=policy == "wait")
        if opened is not None:
            connect = partial(FileCapture, opened)
        shown, default_name = redacted_uri(uri), name_of(uri)
    else:
        frames, kind = source, None
        if isinstance(source, np.ndarray | bytes) or not isinstance(source, Iterable):
            raise InputError(
                f"A source is an address or an iterable of frames, not a {type(source).__name__}.",
                hint="For one frame use Localizer.run.",
            )

        def connect() -> Capture:
            return ArrayCapture(frames, color)

        shown, default_name = "frames of a program", "program"
    endless = kind in ("network", "device", "gstreamer", "csi")
    if loop and kind not in ("file", "folder"):
        raise InputError(f"{shown} is no file, so it cannot begin again.", hint="Leave out loop.")
    if policy is None:
        policy = "newest" if endless else "wait"
    local = kind in ("file", "folder")
    if realtime and not local:
        raise InputError(
            f"{shown} comes at its own speed already.", hint="Leave out realtime: it is for files."
        )
    options = StreamOptions(
        policy=policy,
        depth=depth,
        stride=stride,
        max_fps=max_fps,
        realtime=local and (policy != "wait" if realtime is None else realtime),
        loop=loop,
        stall_s=stall_s,
        silence_s=max(stall_s, live.silence_s),
    )
    return Stream(
        name or default_name,
        shown,
        connect,
        live=endless,
        options=options,
        reconnect=reconnect,
    )


def _connector(
    uri: str, kind: SourceKind, fps: float, live: LiveOptions, *, lossless: bool
) -> Callable[[], Capture]:
    openers: dict[SourceKind, Callable[[], Any]] = {
        "file": lambda: FileCapture(local_path(uri)),
        "folder": lambda: FolderCapture(local_path(uri), fps),
        "network": lambda: LiveCapture(uri, live),
        "device": lambda: LiveCapture(uri, live),
        "gstreamer": lambda: GStreamerCapture(uri, lossless=lossless),
        "csi": lambda: GStreamerCapture(csi_pipeline_of(uri)),
    }
    if kind == "csi":
        csi_pipeline_of(uri)  # what is wrong with it is said at once
    return openers[kind]
