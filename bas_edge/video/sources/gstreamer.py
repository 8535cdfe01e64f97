"""GStreamer pipelines through OpenCV, and the strings that Jetson cameras need."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from bas_edge._require import require
from bas_edge.errors import InputError, StreamConnectionError
from bas_edge.video.sources.addresses import redacted, redacted_uri
from bas_edge.video.sources.capture import ArrayPicture, Damaged, Picture

__all__ = ["GStreamerCapture", "csi_pipeline", "csi_pipeline_of", "has_gstreamer", "rtsp_pipeline"]

# One waiting buffer that gives way to the next: the newest picture, at no speed but its own.
_APPSINK = "appsink drop=true max-buffers=1 sync=false"
_LOSSLESS_APPSINK = "appsink drop=false max-buffers=3 sync=false"
_TO_BGR = "videoconvert ! video/x-raw,format=BGR"
_NEWEST_BGR = f"{_TO_BGR} ! {_APPSINK}"
_INSPECT_S = 10.0
_OPENCV = (
    "Use the OpenCV of JetPack or of the Linux distribution (python3-opencv), which has GStreamer: "
    "an environment made with --system-site-packages sees it."
)
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
_CSI_OPTIONS = {"width", "height", "fps", "flip"}
_DEPAYLOADERS = {
    "h264": "rtph264depay ! h264parse",
    "h265": "rtph265depay ! h265parse",
}


def csi_pipeline(
    sensor: int = 0, *, width: int = 1280, height: int = 720, fps: int = 30, flip: int = 0
) -> str:
    """The pipeline of a camera on a Jetson's CSI port, through `nvarguscamerasrc`.

    Args:
        sensor: Which camera, from 0.
        width: Of the pictures, in pixels; the sensor must have this mode, or it is scaled.
        height: As `width`.
        fps: Pictures a second.
        flip: `flip-method` of `nvvidconv`: 0 none, 1 a quarter turn to the left, 2 a half turn,
            3 a quarter turn to the right, 4 mirrored.

    Raises:
        InputError: A number is out of range.
    """
    for name, value, low, high in (
        ("sensor", sensor, 0, 15),
        ("width", width, 16, 16384),
        ("height", height, 16, 16384),
        ("fps", fps, 1, 1000),
        ("flip", flip, 0, 7),
    ):
        if not low <= value <= high:
            raise InputError(f"{name} is {value}, but must be {low} to {high}.")
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! "
        f"video/x-raw(memory:NVMM),width={width},height={height},framerate={fps}/1 ! "
        f"nvvidconv flip-method={flip} ! video/x-raw,format=BGRx ! {_NEWEST_BGR}"
    )


def rtsp_pipeline(uri: str, *, codec: str = "h264", latency_ms: int = 100) -> str:
    """The pipeline of an RTSP stream that a Jetson decodes in hardware (`nvv4l2decoder`).

    Args:
        uri: rtsp://…
        codec: What the camera sends: "h264" or "h265".
        latency_ms: How long packets wait for those before them.

    Raises:
        InputError: Another codec, or an address that would end the pipeline's quotes.
    """
    if codec not in _DEPAYLOADERS:
        raise InputError(f"codec is '{codec}', but must be {' or '.join(_DEPAYLOADERS)}.")
    if '"' in uri or "\\" in uri or not uri.lower().startswith(("rtsp://", "rtsps://")):
        raise InputError(
            f"{redacted_uri(uri)} is no RTSP address for a GStreamer pipeline.",
            hint='It starts with rtsp:// and holds neither " nor \\: write them as %22 and %5C.',
        )
    return (
        f'rtspsrc location="{uri}" protocols=tcp latency={latency_ms} drop-on-latency=true ! '
        f"{_DEPAYLOADERS[codec]} ! nvv4l2decoder ! nvvidconv ! "
        f"video/x-raw,format=BGRx ! {_NEWEST_BGR}"
    )


def csi_pipeline_of(uri: str) -> str:
    """The pipeline of an address such as csi://0?width=1920&height=1080&fps=30&flip=2.

    Raises:
        InputError: Another form, or a number that is none.
    """
    parts = urlsplit(uri)
    given = dict(parse_qsl(parts.query))
    sensor = parts.netloc or "0"
    if unknown := sorted(set(given) - _CSI_OPTIONS):
        raise InputError(
            f"{redacted_uri(uri)} has the option '{unknown[0]}', which a CSI camera does not have.",
            hint=f"It has {', '.join(sorted(_CSI_OPTIONS))}.",
        )
    for name, value in {"sensor": sensor, **given}.items():
        if not value.isdecimal():
            raise InputError(f"{name} is '{value}', but must be a number.")
    return csi_pipeline(int(sensor), **{name: int(value) for name, value in given.items()})


class GStreamerCapture:
    """A GStreamer pipeline through the OpenCV that is installed; see `capture.Capture`.

    OpenCV's wheels come without GStreamer; that of JetPack and of Linux distributions has it.
    A pipeline that is silent cannot be interrupted: it is for the pipeline to end (`rtspsrc
    timeout=…`). It then counts as a lost connection.

    Args:
        pipeline: As `gst-launch-1.0` takes it. Without an appsink it gets one.
        lossless: That appsink holds the pipeline back instead of dropping frames.

    Raises:
        MissingExtraError: OpenCV is not installed.
        InputError: It was built without GStreamer, or GStreamer lacks an element.
        StreamConnectionError: The pipeline does not start.
    """

    def __init__(self, pipeline: str, *, lossless: bool = False) -> None:
        cv2 = require("cv2", purpose="A GStreamer pipeline", hint=_OPENCV)
        if not has_gstreamer(cv2):
            raise InputError(
                f"The OpenCV {cv2.__version__} of this environment was built without GStreamer.",
                hint=_OPENCV,
            )
        if "appsink" not in pipeline:
            pipeline = f"{pipeline} ! {_TO_BGR} ! {_LOSSLESS_APPSINK if lossless else _APPSINK}"
        if (missing := _missing_element(pipeline)) is not None:
            raise InputError(
                f"GStreamer has no element '{missing}' on this machine.",
                hint="Install the plugin that brings it (gst-inspect-1.0 lists what is there); "
                "names that begin with nv are those of a Jetson.",
            )
        self._video: Any = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
        if not self._video.isOpened():
            self._video.release()
            raise StreamConnectionError(
                f"The GStreamer pipeline does not start: {redacted(pipeline)}.",
                hint="Try it alone: gst-launch-1.0 with the same text, and 'fakesink' in place of "
                "appsink and what follows it.",
            )
        fps = float(self._video.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0 < fps <= 1000 else None
        self.damage: str | None = None
        self.details = "GStreamer pipeline"

    def __iter__(self) -> Iterator[Picture | Damaged | None]:
        started: float | None = None
        while True:
            there, bgr = self._video.read()
            if not there:
                return
            now, captured_at = time.monotonic(), time.time()  # the latter may be set at any moment
            started = now if started is None else started
            rgb = np.ascontiguousarray(bgr[:, :, ::-1])
            yield ArrayPicture(rgb, now - started, captured_at)

    def close(self) -> None:
        self._video.release()


def _missing_element(pipeline: str) -> str | None:
    """An element that is not installed: OpenCV before 4.7 would wait for it for ever.

    None where all are there, or there is no gst-inspect-1.0 to ask.
    """
    inspect = shutil.which("gst-inspect-1.0")
    if inspect is None:
        return None
    # A "!" in quotes or within a word divides nothing: it may be a part of a password.
    steps = re.split(r"(?:^|\s)!(?:\s|$)", _QUOTED.sub('""', pipeline))
    names = dict.fromkeys(step.split(maxsplit=1)[0] for step in steps if step.strip())
    for name in names:
        if not re.fullmatch(r"[a-z]\w*", name):  # a pad, or the caps between two elements
            continue
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            asked = subprocess.run([inspect, "--exists", name], check=False, timeout=_INSPECT_S)
            if asked.returncode == 1:
                return name
    return None


def has_gstreamer(cv2: Any) -> bool:
    """Whether this OpenCV was built with GStreamer."""
    return bool(re.search(r"^\s*GStreamer:\s*YES", cv2.getBuildInformation(), re.M))
