"""The server with an engine for segmentation: its classes on the page, in the API and in events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from chromium import chromium
from served import Served, a_camera, served, until

from bas_edge.serve.event_log import EventLog


@pytest.fixture(scope="module")
def running(
    tiny_segmenter: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """One camera, "door", with a green glow, which is class b."""
    engine = tiny_segmenter(tmp_path_factory.mktemp("engine") / "tiny.onnx")
    with served(engine, a_camera(moves=False), reads_per_s=1e4, changes_per_s=1e4) as site:
        yield site


def test_the_newest_result_lists_its_classes(running: Served) -> None:
    until(lambda: running.ask("GET", "/api/streams/door").json["latest"] is not None)
    latest = running.ask("GET", "/api/streams/door").json["latest"]
    (one,) = latest["objects"]
    assert (one["label"], one["class_name"], one["score"]) == (1, "b", None)
    assert latest["text"] == f"b {100 * one['area']:.0f} %"
    assert 0 < one["area"] < 1
    assert (latest["found"], latest["class_name"], latest["score"]) == (True, "b", None)
    assert latest["box"] == one["box"]


def test_there_is_nothing_to_tune_or_smooth(running: Served) -> None:
    tuning = running.ask("GET", "/api/tuning").json
    assert (tuning["task"], tuning["backend"]) == ("segmentation", "onnxruntime")
    assert tuning["in_use"] is tuning["own"] is tuning["saved"] is None
    assert tuning["unsavable"] == "An engine for segmentation has nothing to tune."
    for method, path, body in (
        ("PATCH", "/api/tuning", {"threshold": 0.5}),
        ("POST", "/api/tuning/save", None),
    ):
        answer = running.ask(method, path, body=body)
        assert answer.status == 422
        assert answer.json["error"].startswith("Tuning is for engines that localize, and this is")
    answer = running.ask("PATCH", "/api/streams/door/smoothing", body={"preset": "light"})
    assert (answer.status, answer.json["error"]) == (
        422,
        "The stream 'door' cannot be smoothed as 'light'.",
    )
    door = running.ask("GET", "/api/streams/door").json
    assert (door["smoothing"], door["presets"]) == (None, [])
    assert running.ask("GET", "/metrics").status == 200


def test_classes_are_over_the_picture_unless_they_are_not_wanted(running: Served) -> None:
    with running.page() as page:
        page.watch(width=160)
        usual = page.picture()
        page.watch(width=160, overlay=0.0)
        bare = page.picture()
        while bare.pixels[48, 60, 1] < 220:  # one more of before may have been on its way
            bare = page.picture()
    assert usual.header["found"]
    assert usual.header["text"].startswith("b ")
    glow = (slice(44, 52), slice(56, 64))  # pure green; class b is (0, 128, 0) over it
    assert np.abs(usual.pixels[glow].astype(int) - (0, 179, 0)).max() < 30
    assert np.abs(bare.pixels[glow].astype(int) - (0, 255, 0)).max() < 30
    assert (usual.pixels[3:12, 3:20] > 180).all(axis=2).any(), "white text of the legend"


def test_an_event_without_a_score_has_its_class() -> None:
    log = EventLog()
    rule = {"event": "rule", "rule": "r", "stream": "s", "at": "now", "class_name": "b"}

    class Told:
        def to_dict(self) -> dict[str, object]:
            return {**rule, "score": None}

    log.add(Told())
    assert log.after(0)[0].text == "b"


@pytest.mark.browser
def test_the_page_shows_classes_and_hides_what_is_for_boxes(
    running: Served, tmp_path: Path
) -> None:
    shown = "(id => !document.getElementById(id).hidden)"
    with chromium(tmp_path) as page:
        page.open(running.server.url)
        page.until("document.querySelectorAll('.tile canvas[data-frame]').length === 1")
        page.until("document.querySelector('.tile .latest').textContent.startsWith('b ')")
        page.evaluate("document.querySelector('.tile a').click()")
        page.until("document.querySelector('#one-canvas').dataset.frame")
        label = "document.getElementById('overlay-label').textContent"
        assert page.evaluate(label) == "Classes over the picture"
        assert page.evaluate("document.getElementById('overlay').value") == "60"
        assert not page.evaluate(f"{shown}('tuning')")
        assert not page.evaluate(f"{shown}('smooth')")
        assert page.complaints == []
