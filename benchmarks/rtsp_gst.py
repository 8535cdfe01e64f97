"""GStreamer's RTSP server, playing a film in an endless loop. Runs on the system's interpreter.

    /usr/bin/python3 benchmarks/rtsp_gst.py --video FILE [--port N] [--user NAME --password WORD]

Needs no package of this repository. Prints "ready PORT"; obeys `size WIDTH HEIGHT` on its
standard input, and ends with it. Every picture has the number of its frame in the film in its
upper left corner (`frame_stamp`).
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from frame_stamp import SQUARE, squares  # noqa: E402 - after the versions
from gi.repository import GLib, Gst, GstApp, GstRtsp, GstRtspServer  # noqa: E402 - as above

DECODE = (
    "filesrc name=film ! qtdemux ! h264parse ! avdec_h264 ! videoconvert ! videoscale"
    " ! video/x-raw,format=I420,width={width},height={height},pixel-aspect-ratio=1/1"
    " ! appsink name=out sync=false max-buffers=4"
)
STREAM = (
    "( appsrc name=src is-live=true format=time do-timestamp=true block=false"
    " ! videoconvert ! x264enc tune=zerolatency speed-preset=ultrafast pass=qual quantizer=20"
    " key-int-max=15 bframes=0 sliced-threads={sliced} threads={threads}"
    " ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


class Film:
    """Decoded I420 frames of one size, and who is playing them now."""

    def __init__(self, path: str, width: int, height: int) -> None:
        self.path = path
        self.began = time.monotonic()
        self.load(width, height)

    def load(self, width: int, height: int) -> None:
        """Decode the film in this size; from then on it is played so."""
        if width % 8 or height % 2:
            raise ValueError("the width must be a multiple of 8 and the height even")
        pipeline = Gst.parse_launch(DECODE.format(width=width, height=height))
        pipeline.get_by_name("film").set_property("location", self.path)
        sink = pipeline.get_by_name("out")
        pipeline.set_state(Gst.State.PLAYING)
        frames: list[bytes] = []
        fps = (25, 1)
        while sample := sink.emit("pull-sample"):
            buffer = sample.get_buffer()
            pixels = bytearray(buffer.extract_dup(0, buffer.get_size()))
            stamp(pixels, width, height, len(frames))
            frames.append(bytes(pixels))
            found, numerator, denominator = (
                sample.get_caps().get_structure(0).get_fraction("framerate")
            )
            if found and numerator:
                fps = (numerator, denominator)
        pipeline.set_state(Gst.State.NULL)
        if not frames:
            raise ValueError(f"{self.path} has no H.264 in mp4")
        caps = Gst.Caps.from_string(
            f"video/x-raw,format=I420,width={width},height={height},"
            f"framerate={fps[0]}/{fps[1]},pixel-aspect-ratio=1/1"
        )
        self.playing = (frames, caps, fps[0] / fps[1])

    def feed(self, source: Any, stopped: threading.Event) -> None:
        """Push the frame whose turn it is, until stopped. The film runs whoever looks."""
        frames, caps, fps = self.playing
        shown: Any = None
        turn = int((time.monotonic() - self.began) * fps)
        while not stopped.wait(max(0.0, self.began + turn / fps - time.monotonic())):
            frames, caps, fps = self.playing
            if caps is not shown:
                source.set_caps(caps)
                shown = caps
            frame = Gst.Buffer.new_wrapped(frames[turn % len(frames)])
            if source.push_buffer(frame) != Gst.FlowReturn.OK:
                return
            turn += 1


def stamp(pixels: bytearray, width: int, height: int, number: int) -> None:
    """Write the squares of a number into an I420 frame whose rows are not padded."""
    side = SQUARE * 4
    for row, line in enumerate(squares(number)):
        luma = b"".join(bytes([235 if white else 16]) * SQUARE for white in line)
        for y in range(row * SQUARE, (row + 1) * SQUARE):
            pixels[y * width : y * width + side] = luma
    for plane in (width * height, width * height * 5 // 4):
        for y in range(side // 2):
            at = plane + y * width // 2
            pixels[at : at + side // 2] = b"\x80" * (side // 2)


def configure(_: Any, media: Any, film: Film) -> None:
    source = media.get_element().get_by_name("src")
    assert isinstance(source, GstApp.AppSrc)
    stopped = threading.Event()
    media.connect("unprepared", lambda *_: stopped.set())
    threading.Thread(target=film.feed, args=(source, stopped), daemon=True).start()


def restrict(server: Any, factory: Any, user: str, password: str, scheme: str) -> None:
    """Let in nobody but this user."""
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth = GstRtspServer.RTSPAuth()
    if scheme == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for name in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("user", name, True)
    factory.set_permissions(permissions)


def obey(film: Film, loop: Any) -> None:
    """Commands, until whoever started this hangs up."""
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "size":
            film.load(int(rest[0]), int(rest[1]))
            print("size changed", flush=True)
    loop.quit()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", required=True, help="H.264 in mp4")
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--port", default="0")
    parser.add_argument("--path", default="live")
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    parser.add_argument("--scheme", choices=["digest", "basic"], default="digest")
    parser.add_argument(
        "--halves",
        action="store_true",
        help="two slices a picture: GStreamer 1.22 repeats the parameter sets between those of a "
        "keyframe, and FFmpeg takes each for a picture of its own",
    )
    options = parser.parse_args()
    Gst.init(None)
    width, height = (int(side) for side in options.size.split("x"))
    film = Film(options.video, width, height)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    factory = GstRtspServer.RTSPMediaFactory()
    threads = (
        {"sliced": "true", "threads": 2} if options.halves else {"sliced": "false", "threads": 1}
    )
    factory.set_launch(STREAM.format(**threads))
    factory.set_shared(True)
    factory.connect("media-configure", configure, film)
    if options.user:
        restrict(server, factory, options.user, options.password, options.scheme)
    server.get_mount_points().add_factory(f"/{options.path}", factory)
    if server.attach(None) == 0:
        print(f"port {options.port} cannot be used", file=sys.stderr)
        return 1
    loop = GLib.MainLoop()
    threading.Thread(target=obey, args=(film, loop), daemon=True).start()
    print(f"ready {server.get_bound_port()}", flush=True)
    loop.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
