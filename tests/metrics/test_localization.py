from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.metrics.bas_protocol import BasProtocol
from bas_edge.metrics.localization import (
    box_accuracy,
    class_accuracy,
    label_rank,
    localization_accuracy,
)
from bas_edge.metrics.protocols import BoxIous

PROTOCOL = BasProtocol((4, 4))


@settings(max_examples=25)
@given(
    scores=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 3), st.integers(1, 7)), elements=st.integers(0, 3)
    ),
    data=st.data(),
)
def test_rank_is_the_place_in_a_stable_sort(
    scores: NDArray[np.float32], data: st.DataObject
) -> None:
    labels = data.draw(
        hnp.arrays(np.int64, len(scores), elements=st.integers(0, scores.shape[1] - 1))
    )
    order = np.argsort(-scores, axis=1, kind="stable")
    expected = [int(np.flatnonzero(order[n] == labels[n])[0]) for n in range(len(scores))]
    assert label_rank(scores, labels).tolist() == expected


def test_class_accuracy_counts_the_first_and_the_first_five() -> None:
    accuracy = class_accuracy(np.array([0, 4, 5, 0]))
    assert (accuracy.top1, accuracy.top5) == (50.0, 75.0)


def test_localization_needs_the_box_and_the_class() -> None:
    ious = np.array([0.9, 0.9, 0.9, 0.4])
    accuracy = localization_accuracy(BoxIous(ious, ious), np.array([0, 3, 5, 0]), PROTOCOL)
    assert (accuracy.gt_known, accuracy.top1_loc, accuracy.top5_loc) == (75.0, 25.0, 50.0)


def test_box_accuracy_at_each_level_and_their_mean() -> None:
    accuracy = box_accuracy(np.array([0.2, 0.4, 0.6, 0.8]), PROTOCOL)
    assert accuracy.by_iou == {"0.3": 75.0, "0.5": 50.0, "0.7": 25.0}
    assert accuracy.mean == 50.0


def test_no_images_is_an_error_and_not_a_nan() -> None:
    with pytest.raises(InputError, match="no image to measure"):
        class_accuracy(np.zeros(0, np.int64))


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_is_refused(label: int) -> None:
    with pytest.raises(InputError, match=f"from {label} to {label}, but there are 3 classes"):
        label_rank(np.zeros((1, 3)), np.array([label]))


def test_scores_and_labels_must_agree() -> None:
    with pytest.raises(InputError, match=r"scores have shape \[2, 3\] and labels \[1\]"):
        label_rank(np.zeros((2, 3)), np.array([0]))
