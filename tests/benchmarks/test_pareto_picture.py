"""The picture is well-formed, complete, the same each time, and its labels stay apart."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree
from types import ModuleType

import pytest

from benchmarks.label_places import Box, place_labels
from benchmarks.pareto_picture import pareto_picture
from benchmarks.pareto_rows import ParetoPoint

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def points(pareto_examples: ModuleType) -> list[ParetoPoint]:
    table = [
        ("a<b", 160, "fp32", 80.0, 5.0),
        ("a<b", 224, "fp32", 84.0, 10.0),
        ("a<b", 224, "fp16", 84.0, 12.0),
        ("other", 224, "int8", 79.0, 3.0),
        ("other", 192, "fp32", 70.0, 30.0),
    ]
    made = []
    for name, size, precision, score, ms in table:
        of = pareto_examples.candidate(name, size, precision)
        accuracy, speed = pareto_examples.accuracy_row(of, score), pareto_examples.speed_row(of, ms)
        made.append(ParetoPoint(accuracy, speed))
    return made


def test_every_point_is_drawn_labelled_and_named(points: list[ParetoPoint]) -> None:
    drawn = pareto_picture(points)
    assert drawn is not None
    assert drawn == pareto_picture(points)
    root = ElementTree.fromstring(drawn)
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert sorted(titles) == [
        "a<b 160 fp32: 80.0 %, 5 ms",
        "a<b 224 fp16: 84.0 %, 12 ms",
        "a<b 224 fp32: 84.0 %, 10 ms",
        "other 192 fp32: 70.0 %, 30 ms",
        "other 224 int8: 79.0 %, 3 ms",
    ]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    sizes = [text for text in texts if re.fullmatch("160|192|224", text or "")]
    assert sorted(sizes) == ["160", "192", "224", "224", "224"]
    assert {"fp32", "fp16", "int8"} <= set(texts)
    assert "a<b: edge head, width 0.5, map stride 8, trained at 224" in texts
    bold = [text.text for text in root.iter(f"{SVG}text") if text.get("font-weight") == "bold"]
    assert sorted(bold[1:]) == ["160", "224", "224"]  # behind the title: the front
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for text in root.iter(f"{SVG}text"):
        assert 0 < float(text.get("x", 0)) < width
        assert 0 < float(text.get("y", 0)) < height


def test_one_point_is_enough_and_none_is_not(points: list[ParetoPoint]) -> None:
    assert pareto_picture(points[:1]) is not None
    untimed = ParetoPoint(points[0].accuracy, None)
    assert pareto_picture([untimed]) is None


@pytest.mark.parametrize("count", [1, 4, 8])
def test_labels_of_points_close_together_do_not_cover_each_other(count: int) -> None:
    inside = Box(0, 0, 200, 200)
    centres = [(100 + 7.0 * index, 100 + 3.0 * (index % 3)) for index in range(count)]
    places = place_labels(centres, [(20, 13)] * count, radius=5, inside=inside)
    for one, two in itertools.combinations(places, 2):
        assert one.overlap(two) == 0
    for place in places:
        assert place.overlap(inside) == pytest.approx(place.area)


def test_a_label_stays_inside() -> None:
    (place,) = place_labels([(98.0, 50.0)], [(20, 10)], radius=5, inside=Box(0, 0, 100, 100))
    assert place.right <= 93
    assert place.distance(98.0, 50.0) == pytest.approx(8.0)
