"""What the map ops refuse, and what they copy first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bas_edge import ops
from bas_edge.errors import InputError

MAPS = np.zeros((2, 3, 4, 5), np.float32)
SCORES = np.zeros((2, 3), np.float32)
FOREGROUND = np.zeros((2, 4, 5), np.float32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((MAPS.astype(np.float64), SCORES, 1), "maps must be float32, not float64"),
        ((MAPS.astype(">f4"), SCORES, 1), "maps must be float32, not >f4"),
        (
            (MAPS[0], SCORES, 1),
            r"maps must have the axes \[N, C, h, w\], not the shape \(3, 4, 5\)",
        ),
        ((MAPS[:, :0], SCORES[:, :0], 1), "1 to 32768 along every axis but N"),
        ((MAPS[..., :0], SCORES, 1), "1 to 32768 along every axis but N"),
        ((MAPS.tolist(), SCORES, 1), r"maps must be a NumPy array \[N, C, h, w\], not list"),
        ((MAPS, SCORES.astype(np.float16), 1), "scores must be float32, not float16"),
        ((MAPS, SCORES[:, :2], 1), r"scores have the shape \(2, 2\), but maps are for 2 images"),
        ((MAPS, SCORES[:1], 1), r"scores have the shape \(1, 3\)"),
        ((MAPS, SCORES, 0), "k must be from 1 to 3, not 0"),
        ((MAPS, SCORES, 4), "k must be from 1 to 3, not 4"),
        ((MAPS, SCORES, 1.0), "k must be a whole number, not 1.0"),
    ],
)
def test_aggregate_maps_refuses(arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ops.aggregate_maps(*arguments)


BAD_CALLS = [
    ((FOREGROUND.astype(np.float64), (8, 8), 0.5), {}, "foreground must be float32, not float64"),
    ((FOREGROUND[0], (8, 8), 0.5), {}, r"foreground must have the axes \[N, h, w\]"),
    ((FOREGROUND[:, :0], (8, 8), 0.5), {}, "1 to 32768 along every axis but N"),
    ((FOREGROUND, 8, 0.5), {}, r"size must be \(height, width\), not 8"),
    ((FOREGROUND, (8, 8, 3), 0.5), {}, r"size must be \(height, width\)"),
    ((FOREGROUND, (0, 8), 0.5), {}, "the height must be from 1 to 32768, not 0"),
    ((FOREGROUND, (8, 32769), 0.5), {}, "the width must be from 1 to 32768, not 32769"),
    ((FOREGROUND, (8, 8.0), 0.5), {}, "the width must be a whole number, not 8.0"),
    ((FOREGROUND, (8, 8), -0.1), {}, "threshold must be finite and not negative, not -0.1"),
    ((FOREGROUND, (8, 8), float("nan")), {}, "threshold must be finite"),
    ((FOREGROUND, (8, 8), float("inf")), {}, "threshold must be finite"),
    ((FOREGROUND, (8, 8), 1e39), {}, "threshold must be finite"),
    ((FOREGROUND, (8, 8), "half"), {}, "threshold must be a number, not 'half'"),
    ((FOREGROUND, (8, 8), None), {}, "threshold must be a number, not None"),
    ((FOREGROUND, (8, 8), np.ones(3, np.float32)), {}, "threshold has 3 values for 2 maps"),
    ((FOREGROUND, (8, 8), np.ones(2)), {}, "threshold must be float32, not float64"),
    ((FOREGROUND, (8, 8), np.float32([1, np.nan])), {}, "finite and not negative in every value"),
    ((FOREGROUND, (8, 8), np.float32([-1, 1])), {}, "finite and not negative in every value"),
    ((FOREGROUND, (8, 8), 0.5), {"rule": "otsu"}, "rule must be 'fixed' or 'mean', not 'otsu'"),
    ((FOREGROUND, (8, 8), 0.5), {"threads": 0}, "threads must be from 1 to 1024, not 0"),
]


@pytest.mark.parametrize("op", [ops.maps_to_boxes, ops.maps_to_masks])
@pytest.mark.parametrize(("arguments", "options", "message"), BAD_CALLS)
def test_maps_to_boxes_and_masks_refuse(
    op: Any, arguments: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        op(*arguments, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_area": 0}, "min_area must be from 1 to 1073741824, not 0"),
        ({"min_area": 2.5}, "min_area must be a whole number, not 2.5"),
        ({"max_boxes": 0}, "max_boxes must be from 1 to 65536, not 0"),
        ({"max_boxes": 65537}, "max_boxes must be from 1 to 65536, not 65537"),
    ],
)
def test_maps_to_boxes_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ops.maps_to_boxes(FOREGROUND, (8, 8), 0.5, **options)


def test_upsample_maps_refuses() -> None:
    with pytest.raises(InputError, match="foreground must be float32, not int64"):
        ops.upsample_maps(np.zeros((1, 2, 2), np.int64), (4, 4))
    with pytest.raises(InputError, match="the height must be from 1 to 32768, not -1"):
        ops.upsample_maps(FOREGROUND, (-1, 4))


def test_no_images_give_empty_results() -> None:
    foreground = ops.aggregate_maps(MAPS[:0], SCORES[:0], 2)
    assert foreground.shape == (0, 4, 5)
    assert ops.upsample_maps(foreground, (8, 9)).shape == (0, 8, 9)
    assert ops.maps_to_masks(foreground, (8, 9), 0.5).shape == (0, 8, 9)
    found = ops.maps_to_boxes(foreground, (8, 9), 0.5, max_boxes=3)
    assert found.boxes.shape == (0, 3, 4)
    assert found.areas.shape == (0, 3)
    assert found.found.shape == found.count.shape == (0,)


def unaligned(array: Any) -> Any:
    copy = np.empty(array.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(array.shape)
    copy[...] = array
    return copy


LAYOUTS = {
    "reversed": lambda array: array[..., ::-1],
    "every second": lambda array: array[..., ::2],
    "transposed": lambda array: array.swapaxes(-1, -2),
    "repeated": lambda array: np.broadcast_to(array[:1], array.shape),
    "unaligned": unaligned,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides_and_read_only_arrays(layout: str) -> None:
    rng = np.random.default_rng(0)
    maps = LAYOUTS[layout](rng.random((3, 4, 5, 6), dtype=np.float32))
    maps.flags.writeable = False
    scores = np.asfortranarray(rng.random((3, 4), dtype=np.float32))
    scores.flags.writeable = False
    plain = np.array(maps, order="C")
    foreground = ops.aggregate_maps(maps, scores, 3)
    np.testing.assert_array_equal(foreground, ops.aggregate_maps(plain, scores.copy("C"), 3))
    np.testing.assert_array_equal(
        ops.upsample_maps(maps[:, 1], (20, 30)), ops.upsample_maps(plain[:, 1].copy(), (20, 30))
    )
    np.testing.assert_array_equal(
        ops.maps_to_boxes(maps[:, 1], (20, 30), 0.5).boxes,
        ops.maps_to_boxes(plain[:, 1].copy(), (20, 30), 0.5).boxes,
    )
