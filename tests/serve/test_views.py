"""Pictures: made for those who look, once, and as many as they can take."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import pytest
from served import Served, a_camera, glow, pixels_of, until

from bas_edge.errors import StreamConnectionError
from bas_edge.serve import LiveViews, live_views
from bas_edge.serve.event_log import EventLog
from bas_edge.serve.picture import Look, nearest_look, render
from bas_edge.video import StreamEvent
from bas_edge.video.frames import FrameResult, VideoFrame

Serve = Callable[..., AbstractContextManager[Served]]


def test_nothing_is_encoded_while_nobody_looks(serve: Serve) -> None:
    with serve() as running:
        until(lambda: (seen := running.views.newest("door")) is not None and seen.number > 10)
        assert running.site.pictures.encoded == 0
        with running.page() as page:
            page.watch()
            page.picture()
        until(lambda: running.ask("GET", "/api/streams").json["viewers"] == 0)
        made = 0
        for _ in range(2):  # one may still have been in the making
            made = running.site.pictures.encoded
            number = running.views.newest("door").number
            until(lambda number=number: running.views.newest("door").number > number + 10)
        assert running.site.pictures.encoded == made > 0


def test_a_page_gets_news_and_pictures_of_what_it_watches(shared: Served) -> None:
    with shared.page() as page:
        assert page.socket.subprotocol == "bas-edge.v1"
        page.watch()
        shown = [page.picture() for _ in range(4)]
    frames = [one.header["frame"] for one in shown]
    assert frames == sorted(set(frames))
    assert {one.header["stream"] for one in shown} == {"door"}
    assert all(one.header["text"].startswith("green ") and one.header["found"] for one in shown)
    assert all(0 <= one.header["age_ms"] < 10_000 for one in shown)
    assert shown[0].pixels.shape == (96, 128, 3)
    assert any((shown[0].pixels != one.pixels).any() for one in shown[1:])
    (news, *_) = page.news
    assert [stream["name"] for stream in news["streams"]["streams"]] == ["door"]
    assert news["tuning"]["engine"] == "tiny"
    assert news["events"][0]["what"] in ("connecting", "running")


def test_a_watched_stream_that_does_not_exist_does_no_harm(shared: Served) -> None:
    with shared.page() as page:
        page.watch("gate")
        page.watch("door")
        page.picture()


def test_viewers_share_what_is_encoded(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_views, "_RATE_S", 1.0)
    still = a_camera(moves=False)
    with serve(still) as running:
        until(lambda: running.views.newest("door") is not None)
        running.pipeline.pause("door")
        until(lambda: running.views.rate("door") == 0)
        with running.page() as one, running.page() as other:
            for page in (one, other):
                page.watch()
            plain = one.picture().jpeg
            assert other.picture().jpeg == plain
            assert running.site.pictures.encoded == 1
            other.watch(overlay=1.0)
            assert other.picture().jpeg != plain
            assert running.site.pictures.encoded == 2


def test_a_viewer_that_draws_nothing_gets_two_pictures_and_then_the_newest(serve: Serve) -> None:
    with serve() as running, running.page() as page:
        page.watch()
        waiting = [page.picture(draw=False) for _ in range(2)]
        with pytest.raises(TimeoutError):
            page.picture(timeout_s=0.5)
        newest = running.views.newest("door").result.index
        page.drawn(waiting[0])
        assert page.picture(draw=False).header["frame"] >= newest


def test_no_viewer_gets_more_pictures_a_second_than_allowed(serve: Serve) -> None:
    with serve(a_camera(period_s=0.005), max_view_fps=10) as running, running.page() as page:
        page.watch()
        page.picture()
        started = time.monotonic()
        for _ in range(6):
            page.picture()
        assert time.monotonic() - started > 0.5


def test_pictures_are_as_wide_as_they_are_asked_for(serve: Serve) -> None:
    with serve() as running, running.page() as page:
        page.watch(width=20)
        assert page.picture().pixels.shape == (96, 128, 3), "the narrowest is wider than the frame"
    assert nearest_look(390, 0).width == 480
    assert nearest_look(10_000, 0).width == 1920
    assert nearest_look(100, 0.26) == Look(160, 5)
    assert nearest_look(100, 7.0).overlay == 20


def a_result(running: Served) -> FrameResult:
    pixels = np.ascontiguousarray(np.kron(glow(0), np.ones((10, 10, 1), np.uint8)))
    found = running.pipeline.localizer.run(pixels)
    return FrameResult("door", VideoFrame(0, 0.0, pixels), found)


def test_a_scaled_picture_has_its_box_and_its_map_where_they_belong(shared: Served) -> None:
    result = a_result(shared)
    plain = pixels_of(render(result, Look(640, 0))).astype(int)
    assert plain.shape == (480, 640, 3)
    x0, y0, x1, y1 = (round(edge / 2) for edge in result.localization.box)
    edges = [plain[(y0 + y1) // 2, x0 + 1], plain[(y0 + y1) // 2, x1 - 2], plain[y1 - 2, x0 + 30]]
    assert all(pixel.sum() > 250 for pixel in edges), "the box is drawn in a bright colour"
    assert plain[(y0 + y1) // 2, x0 - 12].sum() < 250
    covered = pixels_of(render(result, Look(640, 20))).astype(int)
    middle, corner = (240, 240), (470, 620)
    assert covered[middle][0] > plain[middle][0] + 30, "tinted where the map is high"
    assert covered[corner].sum() <= plain[corner].sum()
    assert np.array_equal(pixels_of(render(result, Look(640, None))), plain)
    mapless = replace(result, finding=replace(result.localization, mask_source=None))
    assert np.array_equal(pixels_of(render(mapless, Look(640, 20))), plain)


def test_rendering_writes_into_nobodys_frame(shared: Served) -> None:
    result = a_result(shared)
    before = result.frame.pixels.copy()
    for look in (Look(640, 10), Look(1920, 10)):
        render(result, look)
    assert np.array_equal(result.frame.pixels, before)


def test_attempts_that_fail_alike_are_one_event() -> None:
    views = LiveViews()

    def told(state: str, error: str | None, at: float) -> None:
        failed = None if error is None else StreamConnectionError(error)
        views.event(StreamEvent("door", state, at, f"{error} Next attempt in {at} s.", failed))

    for at, (state, error) in enumerate(
        [("running", None), *[("reconnecting", "refused")] * 50, ("reconnecting", "no route")]
    ):
        told(state, error, float(at))
    told("running", None, 60.0)
    told("reconnecting", "refused", 61.0)
    what = [(event.what, event.text.split()[0]) for event in views.log.after(0)]
    assert what == [
        ("running", "None"),
        ("reconnecting", "refused"),
        ("reconnecting", "no"),
        ("running", "None"),
        ("reconnecting", "refused"),
    ]
    assert views.reconnects("door") == 1


def test_who_asks_for_the_headers_of_mjpeg_is_no_viewer(serve: Serve) -> None:
    with serve(max_clients=1) as running, running.request("GET", "/streams/door.mjpeg") as video:
        assert video.read(2) == b"--"
        answer = running.ask("HEAD", "/streams/door.mjpeg")
        assert (answer.status, answer.content) == (200, b"")
        assert answer.headers["content-type"].startswith("multipart/x-mixed-replace")
        assert running.ask("HEAD", "/streams/nothing.mjpeg").status == 404


def test_mjpeg_gives_one_jpeg_after_another(shared: Served) -> None:
    with shared.request("GET", "/streams/door.mjpeg?width=160&overlay=0.5") as video:
        kind = video.headers["Content-Type"]
        assert kind.startswith("multipart/x-mixed-replace; boundary=")
        boundary = kind.partition("=")[2]
        for _ in range(3):
            assert video.readline() == f"--{boundary}\r\n".encode()
            assert video.readline() == b"content-type: image/jpeg\r\n"
            length = re.fullmatch(rb"content-length: (\d+)\r\n", video.readline())
            assert length is not None
            assert video.readline() == b"\r\n"
            assert pixels_of(video.read(int(length[1]))).shape == (96, 128, 3)
            assert video.readline() == b"\r\n"
    until(lambda: shared.ask("GET", "/api/streams").json["viewers"] == 0)


NO_LOOKS = ["width=wide", "overlay=", "overlay=nan", "width=inf", "overlay=2"]


@pytest.mark.parametrize("query", NO_LOOKS)
def test_mjpeg_takes_numbers_only(shared: Served, query: str) -> None:
    with shared.request("GET", f"/streams/door.mjpeg?{query}") as answer:
        assert answer.status == 422


def test_the_list_of_events_is_bounded_and_its_numbers_go_on() -> None:
    log = EventLog(most=3)
    for number in range(5):
        log.add(StreamEvent("door", "stalled", float(number), f"for {number} s"))
    kept = log.after(0)
    assert [(one.id, one.text) for one in kept] == [(3, "for 2 s"), (4, "for 3 s"), (5, "for 4 s")]
    assert [one.id for one in log.after(4)] == [5]
    assert (kept[0].at, kept[0].what) == ("1970-01-01T00:00:02.000Z", "stalled")
