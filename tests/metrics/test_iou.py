from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.metrics.iou import box_iou

EDGE = st.integers(0, 12)


@st.composite
def pixel_boxes(draw: st.DrawFn) -> NDArray[np.int64]:
    rows = draw(st.lists(st.tuples(EDGE, EDGE, EDGE, EDGE), min_size=1, max_size=4))
    corners = np.array(rows)
    return np.concatenate(
        [np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1
    )


def painted(box: NDArray[np.int64], *, inclusive: bool) -> NDArray[np.bool_]:
    """The box as a set of pixels: a definition of IoU that shares nothing with the formula."""
    x0, y0, x1, y1 = box + np.array([0, 0, inclusive, inclusive])
    mask = np.zeros((14, 14), bool)
    mask[y0:y1, x0:x1] = True
    return mask


@settings(max_examples=25)
@given(first=pixel_boxes(), second=pixel_boxes(), inclusive=st.booleans())
def test_iou_counts_pixels(
    first: NDArray[np.int64], second: NDArray[np.int64], inclusive: bool
) -> None:
    got = box_iou(first, second, inclusive=inclusive)
    for n, a in enumerate(first):
        for m, b in enumerate(second):
            mask_a = painted(a, inclusive=inclusive)
            mask_b = painted(b, inclusive=inclusive)
            union = (mask_a | mask_b).sum()
            assert got[n, m] == ((mask_a & mask_b).sum() / union if union else 0.0)


def test_iou_is_half_open_unless_asked() -> None:
    one, other = np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2]])
    assert box_iou(one, other)[0, 0] == 2 / 6
    inclusive = box_iou(one, other, inclusive=True)
    assert inclusive[0, 0] == 6 / 12


def test_boxes_that_only_touch_do_not_overlap() -> None:
    assert box_iou(np.array([[0, 0, 2, 2]]), np.array([[2, 0, 4, 2]]))[0, 0] == 0.0


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (np.zeros((2, 3)), r"boxes must have shape \[N, 4\], not \[2, 3\]"),
        (np.zeros(4), r"not \[4\]"),
        (
            np.array([[0, 0, 1, 1], [5, 0, 4, 1]]),
            r"boxes\[1\] = \[5.0, 0.0, 4.0, 1.0\] ends before",
        ),
    ],
)
def test_unusable_boxes_are_refused(boxes: NDArray[np.float64], message: str) -> None:
    with pytest.raises(InputError, match=message):
        box_iou(boxes, np.array([[0, 0, 1, 1]]))
