from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.ops import reference, repeat_pixels

ONES = np.ones(1, np.int64)


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Runs of up to 30 equal pixels, around the eight that are compared at once."""
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 40))
    values = st.sampled_from([0, 1, 7, 255])
    mask = draw(hnp.arrays(np.uint8, (height, width), elements=values, fill=values))
    counts = [
        draw(hnp.arrays(np.int64, lines, elements=st.integers(0, 4), fill=st.just(1)))
        for lines in mask.shape
    ]
    for lines in counts:
        lines[draw(st.integers(0, len(lines) - 1))] += 1  # something is left
    return mask, counts[0], counts[1]


@settings(max_examples=100, deadline=None)
@given(case=cases())
@example((np.array([[5, 7]], np.uint8), np.array([2]), np.array([1, 3])))
@example((np.zeros((2, 17), np.uint8), np.array([0, 1]), np.array([0] * 16 + [1])))
def test_equal_to_reference(
    case: tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]],
) -> None:
    for got, expected in zip(repeat_pixels(*case), reference.repeat_pixels(*case), strict=True):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype


@pytest.mark.parametrize(
    ("mask", "rows", "columns", "message"),
    [
        (np.ones((1, 1), np.bool_), ONES, ONES, "mask must be uint8, not bool"),
        (np.ones((0, 1), np.uint8), ONES[:0], ONES, "mask .* must have at least one row"),
        (np.ones((1, 1), np.uint8), ONES.astype(np.int32), ONES, "rows must be int64, not int32"),
        (np.ones((1, 1), np.uint8), ONES, np.ones(2, np.int64), "columns has 2 counts, but the m"),
        (np.ones((1, 2), np.uint8), ONES, np.array([3, -1]), "from -1 to 3 with the sum 2"),
        (np.ones((1, 1), np.uint8), 0 * ONES, ONES, "rows must be counts .* the sum 0"),
        (np.ones((1, 1), np.uint8), ONES, 32769 * ONES, "to 32768, not from 32769"),
        (np.ones((1, 2), np.uint8), ONES, np.array([20000, 20000]), "with the sum 40000"),
    ],
)
def test_refuses(
    mask: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int64], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        repeat_pixels(mask, rows, columns)
