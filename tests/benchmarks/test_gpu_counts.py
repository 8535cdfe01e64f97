"""Bytes and launches, counted by hand on shapes small enough for that."""

from __future__ import annotations

import pytest

from benchmarks.gpu_counts import MapsShape, aggregate_work, boxes_work, localize_work, resize_work
from benchmarks.gpu_tables import floors_table


def test_every_kernel_of_all_maps_by_hand() -> None:
    shape = MapsShape("all", 2, classes=5, top_k=3, cells=(2, 3), size=(4, 33))
    work = localize_work(shape)
    assert [(k.name, k.reads, k.writes) for k in work.kernels] == [
        ("rank_classes", 2 * 5 * 4, 2 * (3 + 1 + 1 + 1) * 4),  # order, status, label, score
        ("mean_of_maps", 2 * (3 + 3 * 6) * 4, 2 * 6 * 4),
        ("threshold_maps", 2 * 6 * 4 + 3 * (4 + 33) * 4, 2 * 4 * 2 * 4 + 2 * 4),  # 33 bits: 2 words
        ("find_components", 2 * 4 * 2 * 4 + 2 * 2 * 4, 2 * (2 + 5) * 4),
    ]
    assert work.launches == 4
    assert work.input_bytes == 2 * (5 + 3 * 6) * 4
    assert work.moved_bytes == sum(k.reads + k.writes for k in work.kernels)


def test_the_forms_leave_out_what_they_do_not_do() -> None:
    every, picked, mean = (localize_work(MapsShape(f, 4)) for f in ("all", "selected", "mean"))
    assert every.input_bytes == picked.input_bytes  # unread maps are no input
    assert every.moved_bytes - picked.moved_bytes == 2 * 4 * 80 * 4  # the order, written and read
    assert [k.name for k in mean.kernels] == ["rank_classes", "threshold_maps", "find_components"]
    assert mean.input_bytes == 4 * (200 + 784) * 4


def test_the_two_parts_are_the_whole() -> None:
    shape = MapsShape("all", 3)
    whole, parts = localize_work(shape), (aggregate_work(shape), boxes_work(shape))
    assert sum(part.launches for part in parts) == whole.launches
    # alone, the second part is not handed the first one's status
    assert sum(part.moved_bytes for part in parts) == whole.moved_bytes - 3 * 4


def test_a_frame_is_read_once() -> None:
    assert resize_work((720, 1280), (224, 224), "RGB").input_bytes == 720 * 1280 * 3
    assert resize_work((5, 7), (2, 2), "NV12").input_bytes == 5 * 7 + 2 * 3 * 4
    assert resize_work((5, 7), (2, 3), "NV12").moved_bytes == 35 + 24 + 2 * 3 * 3


@pytest.mark.parametrize(
    ("op", "microseconds"),
    [("all, N=1, C=200, k=80", "0.0576"), ("all, N=64, C=200, k=80", "3.62")],
)
def test_the_table_divides_by_the_bandwidth(op: str, microseconds: str) -> None:
    (line,) = [line for line in floors_table().splitlines() if op in line]
    assert line.split(" | ")[4] == microseconds
