"""What the API says and changes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from served import Served, a_camera, served, until

from bas_edge import Localizer
from bas_edge.serve import controls, live_views
from bas_edge.serve.operations import OPERATIONS
from bas_edge.video.steady.smoothing import Smoothing


def test_streams_are_listed_with_their_numbers(shared: Served) -> None:
    until(lambda: shared.ask("GET", "/api/streams/door").json["fps"] > 0)
    listed: dict[str, Any] = {}

    def each_is_found() -> bool:  # one may have come between the two counts
        listed.update(shared.ask("GET", "/api/streams").json)
        (door,) = listed["streams"]
        return bool(door["results"] == door["found"] > 0)

    until(each_is_found)
    (door,) = listed["streams"]
    assert (door["name"], door["state"], door["failed"], door["paused"]) == (
        "door",
        "running",
        False,
        False,
    )
    assert 0 < door["age_ms"]["p50"] <= door["age_ms"]["p95"]
    assert door["latest"]["class_name"] == "green"
    assert (door["latest"]["width"], door["latest"]["height"]) == (128, 96)
    assert listed["problems"] == []
    assert listed["stages_ms"]["infer_ms"]["p50"] > 0


def test_an_unknown_stream_is_not_there(shared: Served) -> None:
    for method, path in (("GET", ""), ("POST", "/pause"), ("POST", "/resume")):
        answer = shared.ask(method, f"/api/streams/gate{path}")
        assert (answer.status, answer.json["error"]) == (404, "There is no stream 'gate'.")
    assert shared.ask("GET", "/streams/gate.mjpeg").status == 404
    nothing = shared.ask("GET", "/api/nothing")
    assert (nothing.status, nothing.json["error"]) == (404, "There is no /api/nothing.")
    refused = shared.ask("DELETE", "/api/streams/door")
    assert (refused.status, set(refused.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})
    assert refused.json["error"] == "/api/streams/door does not take DELETE."


@pytest.mark.parametrize("name", ["a/b/pause", "/dev/video0", "<b>&amp;", "Tür 🐕?#%", "x.mjpeg"])
def test_a_stream_may_be_called_anything(engine: Path, name: str) -> None:
    with served(engine, a_camera(name)) as running:
        path = f"/api/streams/{quote(name, safe='')}"
        assert running.ask("GET", path).json["name"] == name
        assert running.ask("POST", f"{path}/pause").json["paused"] is True
        assert running.ask("POST", f"{path}/resume").json["paused"] is False
        with running.request("GET", f"/streams/{quote(name, safe='')}.mjpeg") as video:
            assert video.status == 200
            assert video.read(2) == b"--"


def test_a_paused_stream_delivers_nothing_until_it_is_resumed(
    shared: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_views, "_RATE_S", 1.0)
    until(lambda: shared.views.newest("door") is not None)
    shared.ask("POST", "/api/streams/door/pause")
    until(lambda: shared.ask("GET", "/api/streams/door").json["fps"] == 0)
    shared.ask("POST", "/api/streams/door/resume")
    until(lambda: shared.ask("GET", "/api/streams/door").json["fps"] > 0)


def box_width(running: Served) -> float:
    x0, _, x1, _ = running.ask("GET", "/api/streams/door").json["latest"]["box"]
    return float(x1 - x0)


def test_tuning_changes_the_boxes_at_once_and_null_takes_the_engines_own(shared: Served) -> None:
    until(lambda: shared.views.newest("door") is not None)
    before = shared.ask("GET", "/api/tuning").json
    assert before["in_use"] == before["own"] == before["saved"]
    assert (before["engine"], before["most_top_k"], before["unsavable"]) == ("tiny", 3, "")
    shared.ask("PATCH", "/api/tuning", body={"threshold": 0.02})
    until(lambda: box_width(shared) > 46)
    after = shared.ask("PATCH", "/api/tuning", body={"threshold": 0.98, "min_score": 0.1}).json
    assert after["in_use"] == {
        "threshold": {"rule": "fixed", "value": 0.98},
        "top_k": 1,
        "min_score": 0.1,
    }
    until(lambda: box_width(shared) < 40)
    reset = {"threshold": None, "top_k": None, "min_score": None}
    assert shared.ask("PATCH", "/api/tuning", body=reset).json["in_use"] == before["own"]


def test_a_minimum_score_that_nothing_reaches_leaves_no_box(shared: Served) -> None:
    shared.ask("PATCH", "/api/tuning", body={"min_score": 1.0, "top_k": 2})
    until(lambda: shared.ask("GET", "/api/streams/door").json["latest"]["found"] is False)
    shared.ask("PATCH", "/api/tuning", body={"min_score": None, "top_k": None})
    until(lambda: shared.ask("GET", "/api/streams/door").json["latest"]["found"] is True)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "no JSON"),
        (b"[]", 422, "does not fit"),
        ({"threshold": "high"}, 422, "does not fit"),
        ({"cut": 0.5}, 422, "cut"),
        ({"threshold": 1.5}, 422, "threshold is 1.5"),
        ({"threshold": -0.1}, 422, "threshold is -0.1"),
        ({"top_k": 4}, 422, "top_k is 4"),
        ({"top_k": 0}, 422, "top_k is 0"),
        ({"min_score": 2}, 422, "min_score is 2"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_words(
    shared: Served, body: object, status: int, said: str
) -> None:
    before = shared.ask("GET", "/api/tuning").json
    answer = shared.ask("PATCH", "/api/tuning", body=body)
    assert (answer.status, said in answer.json["error"]) == (status, True), answer
    assert shared.ask("GET", "/api/tuning").json == before


def test_what_is_saved_is_what_the_engine_starts_with(own_engine: Path) -> None:
    with served(own_engine, a_camera()) as running:
        running.ask("PATCH", "/api/tuning", body={"threshold": 0.25, "top_k": 2})
        assert running.ask("GET", "/api/tuning").json["saved"]["top_k"] == 1
        saved = running.ask("POST", "/api/tuning/save").json
        assert saved["saved"] == saved["in_use"]
    with Localizer(own_engine) as localizer:
        assert (localizer.threshold.value, localizer.top_k, localizer.min_score) == (0.25, 2, 0.0)
        assert localizer.manifest.overrides.min_score is None, "the engine's own is no override"
    with served(own_engine, a_camera()) as running:
        reset = {"threshold": None, "top_k": None, "min_score": None}
        running.ask("PATCH", "/api/tuning", body=reset)
        assert running.ask("POST", "/api/tuning/save").status == 200
    with Localizer(own_engine) as localizer:
        assert (localizer.threshold.value, localizer.top_k) == (0.5, 1)


def test_an_onnx_file_keeps_no_values(engine: Path) -> None:
    with served(engine.with_name("tiny.onnx"), a_camera()) as running:
        assert "An .onnx file" in running.ask("GET", "/api/tuning").json["unsavable"]
        answer = running.ask("POST", "/api/tuning/save")
        assert (answer.status, "tiny.onnx" in answer.json["error"]) == (422, True)


def test_an_engine_that_cannot_be_written_to_says_so_beforehand(
    engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def refuse(path: object, mode: int) -> bool:  # the administrator may write everywhere
        asked.append(path)
        return mode & os.W_OK == 0

    monkeypatch.setattr(controls.os, "access", refuse)
    with served(engine, a_camera()) as running:
        said = running.ask("GET", "/api/tuning").json["unsavable"]
    assert (said, set(asked)) == ("This program may not write to the engine's folder.", {engine})


def test_an_engine_with_one_map_has_no_top_k_and_can_be_tuned_otherwise(tmp_path: Path) -> None:
    from served import tiny_engine

    with served(tiny_engine(tmp_path, maps="mean"), a_camera()) as running:
        assert running.ask("GET", "/api/tuning").json["most_top_k"] == 1
        reset = {"threshold": 0.3, "top_k": None, "min_score": None}
        assert running.ask("PATCH", "/api/tuning", body=reset).status == 200
        assert running.ask("PATCH", "/api/tuning", body={"top_k": 2}).status == 422


def test_smoothing_is_chosen_by_name_and_the_configurations_own_stays_a_choice(
    engine: Path,
) -> None:
    custom = Smoothing(map_time_s=0.5)
    with served(engine, a_camera(), smooth=custom) as running:
        door = running.ask("GET", "/api/streams/door").json
        assert door["smoothing"] == "custom"
        assert door["presets"] == ["off", "light", "strong", "custom"]
        path = "/api/streams/door/smoothing"
        assert running.ask("PATCH", path, body={"preset": "strong"}).json["smoothing"] == "strong"
        assert running.pipeline.smoothing("door") == Smoothing.named("strong")
        assert running.ask("PATCH", path, body={"preset": "custom"}).json["smoothing"] == "custom"
        assert running.pipeline.smoothing("door") == custom
        refused = running.ask("PATCH", path, body={"preset": "heavy"})
        assert (refused.status, "'heavy'" in refused.json["error"]) == (422, True)


def test_events_are_numbered_and_can_be_asked_for_from_a_number_on(shared: Served) -> None:
    until(lambda: shared.views.newest("door") is not None)
    shared.ask("POST", "/api/streams/door/pause")
    shared.ask("POST", "/api/streams/door/resume")
    told = shared.ask("GET", "/api/events").json
    ids = [event["id"] for event in told["events"]]
    assert ids == sorted(ids)
    assert told["last"] == ids[-1]
    assert ("state", "door", "running") in {
        (event["kind"], event["stream"], event["what"]) for event in told["events"]
    }
    later = shared.ask("GET", f"/api/events?after={ids[-2]}").json["events"]
    assert [event["what"] for event in later] == ["resumed"]
    assert shared.ask("GET", "/api/events?after=x").status == 422


def test_the_openapi_document_names_every_operation_and_every_type_it_uses(shared: Served) -> None:
    answer = shared.ask("GET", "/api/openapi.json")
    document = answer.json
    assert document["openapi"].startswith("3.1.")
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    others = ("/healthz", "/metrics", "/api/openapi.json", "/streams/{name}.mjpeg")
    operations = {(each.method, each.path) for each in OPERATIONS}
    assert described == operations | {("GET", path) for path in others}
    names = [one["operationId"] for item in document["paths"].values() for one in item.values()]
    assert len(set(names)) == len(names)
    schemas = document["components"]["schemas"]
    used = set(json.dumps(document).split('"#/components/schemas/')[1:])
    assert {text.partition('"')[0] for text in used} <= set(schemas)
    for item in document["paths"].values():
        for one in item.values():
            assert "200" in one["responses"]
            assert one["summary"]
            named = {each["name"] for each in one.get("parameters", ()) if each["in"] == "path"}
            assert all(
                each["required"] for each in one.get("parameters", ()) if each["in"] == "path"
            )
            assert named <= {"name"}
    for _, path in operations:
        assert all("500" in one["responses"] for one in document["paths"][path].values())
    kinds = {
        path: list(document["paths"][path]["get"]["responses"]["200"]["content"]) for path in others
    }
    for path, (kind,) in kinds.items():
        with shared.request("GET", path.replace("{name}", "door")) as video:
            assert str(video.getheader("content-type")).startswith(kind)


def test_answers_are_what_the_document_says(shared: Served) -> None:
    schemas = shared.ask("GET", "/api/openapi.json").json["components"]["schemas"]
    until(lambda: shared.views.newest("door") is not None)
    for path, name in (("/api/streams", "StreamList"), ("/api/tuning", "Tuning")):
        assert set(shared.ask("GET", path).json) == set(schemas[name]["properties"])
    assert set(shared.ask("GET", "/api/streams/door").json) == set(
        schemas["StreamStatus"]["properties"]
    )
