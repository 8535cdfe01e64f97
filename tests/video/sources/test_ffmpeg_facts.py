"""What FFmpeg does with a broken stream: what the video sources build on, and guard against.

Measured with PyAV 18.1 (FFmpeg 8.1) on the test camera; "open" is `av.open`, and a timeout is
PyAV's `timeout=(open, read)`, in seconds.

    situation                        what comes                            when
    -------------------------------  ------------------------------------  -------------------------
    port refused                     open: ConnectionRefusedError 111      at once
    host or port that drops packets  open: ExitError                       after `open`
    no such host name                open: OSError 5 (EIO)                 at once
    RTSP port that says nothing      open: InvalidDataError, no timeout!   after `open`
    HTTP port that says nothing      open: ExitError                       after `open`
    RTSP port that hangs up at once  open: InvalidDataError                at once
    HTTP port that hangs up at once  open: EOFError                        at once
    RTSP port that speaks otherwise  open: InvalidDataError                `open`, or as it hangs up
    401, 403, 404, 400, 5xx          open: HTTPUnauthorizedError,          at once
                                     HTTPForbiddenError, HTTPNotFoundError,
                                     HTTPBadRequestError, HTTPServerError;
                                     any other 4xx: HTTPOtherClientError
    unknown codec                    opens; codec_context is None, and     after `open`
                                     decode is DecoderNotFoundError
    no picture from the beginning    opens (!); read: ExitError            after `open`, then `read`
    RTSP server killed (RST or FIN)  demux ends without an error, after    at once
                                     the held-back and one empty packet
    HTTP server killed (RST)         read: OSError 5 (EIO)                 at once
    RTSP stalls                      read: ExitError                       after 2 × `read` (!)
    HTTP stalls                      read: ExitError                       after `read`
    another resolution               pictures of the new size              from its keyframe on
    bytes wrong                      InvalidDataError, or is_corrupt       on that picture only
    a packet missing                 nothing (!), or as above

- Texts hold the whole address with its password (`str(error)`, `error.filename`); `strerror` does
  not.
- Over RTSP the parser holds each picture back until the next one begins. That is one picture of
  delay, and why a stall takes twice `read`: the first timeout sets the held one free.
- FFmpeg's option `timeout` (microseconds) gives TimeoutError 110 in place of ExitError, at the same
  times, and InvalidDataError just the same.
- packet.is_corrupt was never set on RTSP, neither for wrong bytes nor for missing packets.
- Only the picture that was hit is marked, never those that build on it: all up to the next keyframe
  are to be left out. A picture that was lost whole marks none at all; its number in the slice
  headers (`frame_num`) is missing, and that is the only trace.
- Slice threads (`thread_type` "SLICE" or "AUTO" with more than one thread) turn error concealment
  off, and with it the marks on pictures with holes; one thread keeps them.
- `err_detect=explode` makes errors of most marks; it does not find more missing pictures.
- `fflags=discardcorrupt`, `ec=0` and `flags=-output_corrupt` change nothing here; `fflags=noparse`
  makes the stream undecodable. With `fflags=nobuffer` what was read while opening is gone, so the
  first picture is a later keyframe.
- Opening takes as long as the probing: 1.2 to 1.9 s, or 0.7 with `analyzeduration=100000` and
  `fpsprobesize=0`.
- The first packet's pts is None unless `nobuffer` is set; pts count from about 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

import av
import pytest
from numbered_frames import frame_number, numbered, picture, psnr

START = b"\0\0\0\1"
RTSP = {"rtsp_transport": "tcp"}


def decode(pictures: Iterable[Iterable[bytes]], *, threads: int) -> list[tuple[int, bool, bool]]:
    """(number of the picture or -1, whether it is the true one, whether it is marked)."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_type = "SLICE" if threads > 1 else "NONE"
    decoder.thread_count = threads
    seen = []
    packets = [av.Packet(b"".join(START + unit for unit in units)) for units in pictures]
    for packet in [*packets, None]:
        for frame in decoder.decode(packet):
            pixels = frame.to_ndarray(format="rgb24")
            number = frame_number(pixels)
            true = number is not None and psnr(pixels, picture(number)) > 28
            seen.append((-1 if number is None else number, true, bool(frame.is_corrupt)))
    return seen


def test_after_a_lost_picture_false_ones_come_unmarked(rtsp: ModuleType) -> None:
    whole = rtsp.record(numbered(20), 25, 10).pictures
    kept = [one.units for number, one in enumerate(whole) if number != 4]
    seen = decode(kept, threads=1)
    assert not any(marked for _, _, marked in seen)
    assert [number for number, true, _ in seen if true] == [0, 1, 2, 3, *range(10, 20)]
    assert len(seen) > 14  # the rest are false


@pytest.mark.parametrize("threads", [1, 2])
def test_slice_threads_hide_a_missing_half(rtsp: ModuleType, threads: int) -> None:
    whole = rtsp.record(numbered(10), 25, 10, slices=2).pictures
    units = [one.units for one in whole]
    units[4] = units[4][:-1]
    seen = decode(units, threads=threads)
    assert [true for _, true, _ in seen[:4]] == [True] * 4
    assert not any(true for _, true, _ in seen[4:])
    assert [marked for _, _, marked in seen[4:]] == [threads == 1] + [False] * 5


def test_the_password_is_in_the_text_of_an_error(rtsp: ModuleType) -> None:
    with (
        rtsp.RtspServer(numbered(5), user="me", password="right") as server,
        pytest.raises(av.error.HTTPUnauthorizedError) as caught,
    ):
        av.open(server.url_with("me", "pass-word"), options=RTSP)
    assert "pass-word" in str(caught.value)
    assert "pass-word" not in caught.value.strerror


def test_an_rtsp_port_that_says_nothing_is_no_timeout(mjpeg: ModuleType) -> None:
    with mjpeg.RudeServer() as server:
        with pytest.raises(av.error.InvalidDataError):
            av.open(f"rtsp://127.0.0.1:{server.port}/live", options=RTSP, timeout=(0.3, 0.3))
        with pytest.raises(av.error.ExitError):
            av.open(f"http://127.0.0.1:{server.port}/live", timeout=(0.3, 0.3))


def test_a_stall_lets_the_last_picture_out_and_then_raises(rtsp: ModuleType) -> None:
    options = {**RTSP, "analyzeduration": "100000", "fpsprobesize": "0"}
    with (
        rtsp.RtspServer(numbered(50), fps=50) as server,
        av.open(server.url, options=options, timeout=(5, 0.5)) as container,
    ):
        packets = container.demux(container.streams.video[0])
        read = [next(packets)]
        server.stall()
        with pytest.raises(av.error.ExitError):
            read.extend(packets)
        assert len(read) == server.sent
