from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bas_edge.engine.manifest import InputPolicy, ResizePolicy
from bas_edge.errors import InputError
from bas_edge.framing import place
from bas_edge.metrics.ground_truth import GroundTruth


def test_images_with_fewer_boxes_repeat_their_first() -> None:
    two = np.array([[0.0, 0, 1, 1], [2, 2, 3, 3]])
    one = np.array([[4.0, 4, 6, 6]])
    truth = GroundTruth.stretched([two, one], [(10, 20), (30, 40)], (8, 8))
    np.testing.assert_array_equal(truth.boxes[1], np.concatenate([one, one]))
    np.testing.assert_array_equal(truth.frame_sizes, [[20, 10], [40, 30]])  # W, H


def test_stretched_boxes_scale_by_axis() -> None:
    truth = GroundTruth.stretched([np.array([[5.0, 2, 10, 4]])], [(10, 20)], (100, 100))
    np.testing.assert_array_equal(truth.to_network(truth.boxes), [[[25, 20, 50, 40]]])


def letterbox_20_by_10() -> GroundTruth:
    """A 20 × 10 frame, which fills the middle rows 2 to 6 of an 8 × 8 input."""
    policy = InputPolicy(height=8, width=8, resize="letterbox")
    return GroundTruth.of([np.array([[5.0, 2.5, 10, 7.5]])], [(10, 20)], policy)


def test_a_letterboxed_box_is_scaled_moved_and_clipped() -> None:
    truth = letterbox_20_by_10()
    np.testing.assert_array_equal(truth.to_network(truth.boxes), [[[2, 3, 4, 5]]])
    np.testing.assert_array_equal(truth.to_frame(np.array([[2.0, 3, 4, 5]])), truth.boxes[0])
    np.testing.assert_array_equal(truth.to_frame(np.array([[0.0, 0, 8, 8]])), [[0, 0, 20, 10]])
    beside = truth.to_frame(np.array([[1.0, 0, 4, 2]]))[0]
    assert beside[1] == beside[3]  # all of it lies on the padding


@settings(max_examples=30)
@given(
    frame=st.tuples(st.integers(1, 500), st.integers(1, 500)),
    size=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    resize=st.sampled_from(["stretch", "letterbox", "centre_crop"]),
    data=st.data(),
)
def test_boxes_return_to_the_frame_as_the_localizer_returns_them(
    frame: tuple[int, int], size: tuple[int, int], resize: ResizePolicy, data: st.DataObject
) -> None:
    policy = InputPolicy(height=size[0], width=size[1], resize=resize)
    x0 = data.draw(st.integers(0, size[1] - 1))
    y0 = data.draw(st.integers(0, size[0] - 1))
    box = (x0, y0, data.draw(st.integers(x0 + 1, size[1])), data.draw(st.integers(y0 + 1, size[0])))
    truth = GroundTruth.of([np.array([[0.0, 0, 1, 1]])], [frame], policy)
    got = truth.to_frame(np.array([box], np.float64))[0]
    expected = place(frame, policy).box_to_frame(box)
    if expected is None:
        assert (got[2:] <= got[:2]).any()
    else:
        assert tuple(got) == expected


@settings(max_examples=20)
@given(
    frame=st.tuples(st.integers(1, 500), st.integers(1, 500)),
    resize=st.sampled_from(["stretch", "letterbox", "centre_crop"]),
    share=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_frame_to_network_and_back(
    frame: tuple[int, int], resize: ResizePolicy, share: tuple[float, float, float, float]
) -> None:
    policy = InputPolicy(height=40, width=56, resize=resize)
    left, top, right, bottom = place(frame, policy).shown
    x0, x1 = sorted((left + share[0] * (right - left), left + share[1] * (right - left)))
    y0, y1 = sorted((top + share[2] * (bottom - top), top + share[3] * (bottom - top)))
    truth = GroundTruth.of([np.array([[x0, y0, x1, y1]])], [frame], policy)
    back = truth.to_frame(truth.to_network(truth.boxes)[:, 0])
    np.testing.assert_allclose(back, truth.boxes[0], atol=1e-9 * max(frame))


def test_an_image_without_a_box_is_refused() -> None:
    with pytest.raises(InputError, match="1 of 2 images have no box"):
        GroundTruth.stretched([np.zeros((0, 4)), np.ones((1, 4))], [(4, 4)] * 2, (8, 8))


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(InputError, match="1 images have boxes, but 2 have sizes"):
        GroundTruth.stretched([np.zeros((1, 4))], [(4, 4), (4, 4)], (8, 8))
