"""The published steps give our boxes, and cases notice when an answer is changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import published
from benchmarks.cases import maps_to_boxes, resize_frame, scores_to_masks
from benchmarks.harness import WrongAnswerError


def test_published_steps_give_our_boxes(tmp_path: Path) -> None:
    sessions = {name: start(tmp_path) for name, start in maps_to_boxes.CASE.variants.items()}
    answers = {
        name: np.stack([session(index).values for index in range(6)])
        for name, session in sessions.items()
    }
    assert maps_to_boxes.CASE.agree(answers) == "identical boxes on 6 of 6 inputs"
    answers["published steps"][4, 0] += 1
    with pytest.raises(WrongAnswerError, match="input 4: published steps"):
        maps_to_boxes.CASE.agree(answers)


def test_a_changed_byte_of_a_frame_is_noticed(tmp_path: Path) -> None:
    answers = {
        name: np.stack([np.array(start(tmp_path)(0).values)])
        for name, start in resize_frame.CASE.variants.items()
    }
    assert resize_frame.CASE.agree(answers).startswith("same bytes")
    answers["ours"][0, 100, 100, 1] += 1
    with pytest.raises(WrongAnswerError, match="frame 0"):
        resize_frame.CASE.agree(answers)


def test_a_changed_class_and_a_moved_box_of_a_mask_are_noticed(tmp_path: Path) -> None:
    answers = {
        name: np.stack([np.asarray(start(tmp_path)(0).values)])
        for name, start in scores_to_masks.CASE.variants.items()
    }
    assert scores_to_masks.CASE.agree(answers).startswith("the same class at all but ")
    answers["ours"][0, -4:] += 2
    with pytest.raises(WrongAnswerError, match=r"a box is 2 pixels from ours"):
        scores_to_masks.CASE.agree(answers)
    answers["torch + OpenCV"][0, :3] += 1
    with pytest.raises(WrongAnswerError, match=r"torch \+ OpenCV: 3 pixels have another class"):
        scores_to_masks.CASE.agree(answers)


@pytest.mark.parametrize(
    "to_box", [published.foreground_to_box, published.foreground_to_box_opencv]
)
def test_both_baselines_follow_the_published_box(to_box: published.ToBox) -> None:
    # Two components at 8x8 pixels: 2x2 cells below the diagonal, one cell above it.
    foreground = np.zeros((4, 4), np.float32)
    foreground[0, 3] = 1.0
    foreground[2:, :2] = 1.0
    assert to_box(foreground, (4, 4), 0.5) == (0, 2, 2, 4)
    assert to_box(foreground, (4, 6), 1.0) == (0, 0, 6, 4)  # nothing is above 1: the whole frame
