"""Lines of JSON: strict, at once, never torn, and exactly as documented."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from full_disk import full_disk
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_results import descriptors, ended, result

from bas_edge.errors import BasEdgeError, InputError
from bas_edge.results import Timing
from bas_edge.segmentation.result import Segmentation, SegmentedClass
from bas_edge.video import JsonLines, Stability
from bas_edge.video.sinks.event_rules import EventRule, RuleWatch
from bas_edge.video.sinks.json_lines import json_bytes

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "jsonl.md").read_text(encoding="utf-8")


def refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def read(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def test_results_and_states_are_there_at_once(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "a.jsonl")
    sink.write(result(3))
    assert read(tmp_path / "a.jsonl") == [result(3).to_dict()]
    sink.event(ended())
    assert read(tmp_path / "a.jsonl")[1] == ended().to_dict()
    sink.close(complete=False)
    assert len(read(tmp_path / "a.jsonl")) == 2


def test_states_can_be_left_out(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "a.jsonl", states=False)
    sink.event(ended())
    sink.close(complete=True)
    assert not (tmp_path / "a.jsonl").exists()


def documented(section: str) -> tuple[set[str], set[str], dict[str, Any]]:
    """The keys of a section of the page, those that are always there, and its example."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (yes|no) \|", text, re.M)
    keys = {key: always == "yes" for names, always in rows for key in re.findall(r"`(\w+)`", names)}
    example = re.search(r"```json\n(.*?)```", text, re.S)
    assert example is not None
    return set(keys), {key for key, always in keys.items() if always}, json.loads(example[1])


def test_the_page_names_every_key_of_a_result() -> None:
    keys, always, example = documented("A result")
    least = json.loads(json_bytes(result().to_dict()))
    assert set(least) == always
    full = result(gap_s=2.5)
    boxes = replace(full.localization, boxes=(full.localization.box,))
    full = replace(full, finding=boxes, stability=Stability(0.5, 1.0))
    most = json.loads(json_bytes(full.to_dict()))
    assert set(most) == keys
    assert always <= set(example) <= keys
    for key in ("timing_ms", "stability"):
        assert set(most[key]) == set(example[key])
        (described,) = re.findall(rf"^\| `{key}` \| \w+ \| (.*) \|$", PAGE, re.M)
        assert set(re.findall(r"`(\w+)`", described)) == set(most[key])


def test_the_page_names_every_key_of_a_segmenter() -> None:
    keys, always, example = documented("A result of a segmenter")
    mask = np.zeros((48, 64), np.uint8)
    objects = (SegmentedClass(1, "wren", (0.0, 0.0, 4.0, 4.0), 0.25),)
    full = replace(result(gap_s=2.5), finding=Segmentation(mask, objects, Timing(1.0, 2.0, 0.5)))
    most = json.loads(json_bytes(full.to_dict()))
    assert set(most) == keys
    assert set(example) == always == keys - {"gap_s"}
    (one,) = most["objects"]
    section = PAGE.partition("| key of an object |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", section)) == set(one)
    assert [set(each) for each in example["objects"]] == [set(one)] * 2


def test_the_page_names_every_key_of_the_others() -> None:
    event = RuleWatch(EventRule("any")).see(result())
    assert event is not None
    for section, line in (
        ("A change of state", ended().to_dict()),
        ("The event of a rule", event.to_dict()),
    ):
        keys, always, example = documented(section)
        assert keys == always == set(json.loads(json_bytes(line))) == set(example)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=8,
)


@settings(max_examples=40)
@given(value=st.dictionaries(st.text(), VALUES, max_size=3))
def test_any_value_becomes_one_strict_line(value: dict[str, Any]) -> None:
    line = json_bytes(value)
    assert b"\n" not in line
    assert set(json.loads(line.decode("utf-8"), parse_constant=refuse)) == set(value)


def test_numbers_that_json_does_not_know() -> None:
    line = json_bytes({"a": [float("nan"), np.float32(0.5), np.float64("inf"), np.int64(7)]})
    assert line == b'{"a":[null,0.5,null,7]}'


def line_of(index: int) -> bytes:
    return json_bytes(result(index).to_dict())


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (line_of(0) + b"\n" + line_of(1)[:-1], [0]),  # torn
        (line_of(0) + b"\n" + line_of(1), [0, 1]),  # only its newline is missing
        (line_of(0), [0]),
        (line_of(0)[:-1], []),  # the first line of all, torn
        (line_of(0)[:5], []),
        (json_bytes(ended().to_dict())[:40], []),
        (b"", []),
    ],
)
def test_a_restart_appends_and_removes_a_torn_line(
    tmp_path: Path, before: bytes, kept: list[int]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(before)
    sink = JsonLines(path)
    sink.write(result(7))
    sink.close(complete=True)
    assert [line["frame"] for line in read(path)] == [*kept, 7]


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8\xff photo without a newline",
        b'{"my": "precious", "n": [1, 2, 3]}',
        b'{\n "a": 1,\n "b": 2\n}',
        b'{"event": "purchase"}\n{"event": "refund"}\n{"eve',
        b'{"stream": "door", "url": "rtsp://10.0.0.7"}',
        b'{"stream":"door","url":"rtsp://10.0.0.7"}',
        b"[1, 2]\n[3, 4]",
        b"\n",
    ],
)
def test_a_file_of_something_else_is_not_touched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    sink = JsonLines(path)
    before = descriptors()
    with pytest.raises(InputError, match="holds something else than lines of JSON"):
        sink.write(result())
    sink.close(complete=False)
    assert descriptors() == before
    assert path.read_bytes() == content


def test_streams_and_days_have_their_files(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "{stream}" / "{date}.jsonl")
    before = descriptors()
    for day in range(3):
        for stream in ("door", "../yard"):
            sink.write(result(day, day * 86400.0, stream=stream))
    assert descriptors() - before <= 2  # those of former days are closed
    sink.close(complete=True)
    assert descriptors() == before
    days = ["2026-11-22.jsonl", "2026-11-23.jsonl", "2026-11-24.jsonl"]
    assert sorted(path.name for path in (tmp_path / "door").iterdir()) == days
    assert len(list(tmp_path.iterdir())) == 2
    assert [line["frame"] for line in read(tmp_path / "door" / days[1])] == [1]


def test_a_full_file_is_turned_over(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "a.jsonl", max_bytes=700, keep=2)
    for index in range(40):
        sink.write(result(index))
    sink.close(complete=True)
    names = ["a.1.jsonl", "a.2.jsonl", "a.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    frames = [
        line["frame"] for name in (names[1], names[0], names[2]) for line in read(tmp_path / name)
    ]
    assert frames == list(range(frames[0], 40))
    for name in names:
        assert (tmp_path / name).stat().st_size < 700 + 500


def test_the_limit_counts_files_of_all_days_of_a_stream(tmp_path: Path) -> None:
    mine = tmp_path / "2020-01-01-door.jsonl"
    mine.write_text('{"my": "notes"}\n')
    other = tmp_path / "2020-01-01-yard.jsonl"
    other.write_bytes(line_of(0) + b"\n")
    for _ in range(2):  # the second time after a restart
        sink = JsonLines(tmp_path / "{date}-{stream}.jsonl", max_bytes=700, keep=2)
        for index in range(40):
            sink.write(result(index, 6 * 3600.0 * index))  # four a day, two to a file
        sink.close(complete=True)
    assert sorted(path.name for path in tmp_path.glob("*")) == [
        mine.name,
        other.name,
        "2026-12-01-door.1.jsonl",
        "2026-12-01-door.2.jsonl",
        "2026-12-01-door.jsonl",
    ]


def test_days_in_folders_have_a_limit_too(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "[{stream}]" / "{date}" / "{date}.jsonl", max_bytes=1 << 20, keep=2)
    for day in range(12):
        sink.write(result(day, day * 86400.0))
    sink.close(complete=True)
    left = sorted(path.name for path in tmp_path.rglob("*.jsonl"))
    assert left == ["2026-12-01.jsonl", "2026-12-02.jsonl", "2026-12-03.jsonl"]


def test_without_a_size_nothing_is_removed(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "{date}.jsonl", keep=1)
    for day in range(12):
        sink.write(result(day, day * 86400.0))
    sink.close(complete=True)
    assert len(list(tmp_path.iterdir())) == 12


def test_a_full_disk_costs_lines_and_tears_none(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "{stream}.jsonl")
    sink.write(result(0))
    path = tmp_path / "door.jsonl"
    with full_disk(path.stat().st_size + 20):
        sink.write(result(1))
        sink.event(ended())
        assert sink.problem == f"Cannot write {path}: File too large."
        assert path.read_bytes() == line_of(0) + b"\n"
    assert sink.dropped == 2
    sink.write(result(2, stream="yard"))
    assert sink.problem  # that of the other stream
    sink.write(result(3))
    assert sink.problem == ""
    assert [line["frame"] for line in read(path)] == [0, 3]
    with pytest.raises(BasEdgeError, match=r"2 results lost, the last because: .* too large"):
        sink.close(complete=True)


def test_a_full_disk_can_be_the_end() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    sink = JsonLines("/dev/full", go_on=False)
    with pytest.raises(BasEdgeError, match="Cannot write /dev/full: No space left"):
        sink.write(result())
    sink.close(complete=False)


@pytest.mark.parametrize("options", [{"max_bytes": 0}, {"keep": 0}])
def test_limits_that_cannot_be(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="both must be over 0"):
        JsonLines(tmp_path / "a.jsonl", **options)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_a_pipe_is_written_until_its_reader_goes(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink = JsonLines(path, max_bytes=10)
    with os.fdopen(reading) as pipe:
        sink.write(result(3))
        sink.event(ended())
        said = [json.loads(pipe.readline()) for _ in range(2)]
    assert said == [result(3).to_dict(), ended().to_dict()]
    for _ in range(2):  # without a wait for another reader
        with pytest.raises(InputError, match="lines is a pipe that nobody reads any more"):
            sink.write(result(4))
    sink.close(complete=True)
    assert [one.name for one in tmp_path.iterdir()] == ["lines"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such device")
def test_a_folder_that_is_not_ours_may_hold_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    sink = JsonLines("/dev/null")
    sink.write(result(3))
    sink.close(complete=True)
    assert Path("/dev/null").is_char_device()
