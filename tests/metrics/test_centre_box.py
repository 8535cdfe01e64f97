from __future__ import annotations

import csv
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from bas_edge.errors import InputError
from bas_edge.metrics.centre_box import centre_box
from bas_edge.metrics.ground_truth import GroundTruth


def test_the_best_size_is_found() -> None:
    boxes = [np.array([[25.0, 50, 75, 150]])] * 2 + [np.array([[0.0, 0, 5, 5]])]
    truth = GroundTruth.stretched(boxes, [(200, 100)] * 3, (8, 8))
    baseline = centre_box(truth)
    assert baseline.by_iou == {level: pytest.approx(200 / 3) for level in ("0.3", "0.5", "0.7")}
    assert baseline.side == 0.36  # the first side whose IoU with a half-sized box exceeds 0.5


def test_dozens_of_boxes_an_image_take_no_memory() -> None:
    """ILSVRC has 50 000 images, some with dozens of boxes: all sizes at once took gigabytes."""
    boxes = [np.tile([[0.0, 0, 5, 5]], (40, 1))] * 1000
    truth = GroundTruth.stretched(boxes, [(200, 100)] * 1000, (8, 8))
    tracemalloc.start()
    centre_box(truth)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * truth.boxes.nbytes


def test_no_images_is_an_error() -> None:
    with pytest.raises(InputError, match="no image to measure"):
        centre_box(GroundTruth.stretched([], [], (8, 8)))


@pytest.mark.shared_data
def test_cub50_reference_point(shared_data: Path) -> None:
    with (shared_data / "cub50" / "val.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    boxes = [np.array([[float(row[edge]) for edge in ("x0", "y0", "x1", "y1")]]) for row in rows]
    sizes = [(int(row["height"]), int(row["width"])) for row in rows]
    baseline = centre_box(GroundTruth.stretched(boxes, sizes, (224, 224)))
    # The data's README has 54.7 at 65 %; steps of one percent find a slightly better box.
    assert baseline.side == 0.66
    assert baseline.by_iou["0.5"] == pytest.approx(55.1, abs=0.05)
