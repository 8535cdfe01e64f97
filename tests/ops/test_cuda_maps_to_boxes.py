from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from map_cases import MAPS, SIZES, THRESHOLDS, assert_same, one_map
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.ops import Rule, cuda, maps_to_boxes, maps_to_masks, reference


@settings(max_examples=80, deadline=None)
@given(
    foreground=MAPS,
    size=SIZES,
    threshold=THRESHOLDS,
    rule=st.sampled_from(["fixed", "mean"]),
    min_area=st.integers(1, 9),
    max_boxes=st.integers(1, 4),
)
@example(one_map([[0, 1, 2]]), (1, 3), 0.5, "fixed", 1, 1)  # a pixel exactly on the cut
@example(one_map([[0, 1, 2]]), (1, 3), 1.0, "mean", 1, 1)
@example(one_map([[3, 3], [3, 3]]), (9, 9), 0.0, "fixed", 1, 1)  # flat
@example(one_map([[1]]), (1, 1), 0.0, "fixed", 1, 1)
@example(one_map([[0, 1]]), (1, 2), 0.0, "fixed", 2, 1)  # too small for min_area
@example(one_map([[1, 0, 1, 0, 1]]), (1, 5), 0.5, "fixed", 1, 2)  # three that tie, two slots
@example(one_map([[-3e38, 3e38]]), (3, 8), 0.5, "fixed", 1, 1)  # the range is beyond float32
@example(one_map([[1e-45, 0]]), (2, 5), 0.5, "fixed", 1, 1)  # subnormal
# Two that tie: the second cell of 2 × 2 pixels holds the first pixel in raster order.
@example(one_map([[0, 0, 0, 1], [1, 0, 0, 0]]), (2, 4), 0.5, "fixed", 1, 2)
def test_equal_to_reference(
    cuda_ops: Any,
    foreground: NDArray[np.float32],
    size: tuple[int, int],
    threshold: float,
    rule: Rule,
    min_area: int,
    max_boxes: int,
) -> None:
    options = {"rule": rule, "min_area": min_area, "max_boxes": max_boxes}
    assert_same(
        cuda_ops.maps_to_boxes(foreground, size, threshold, **options),
        reference.maps_to_boxes(foreground, size, threshold, **options),
    )
    np.testing.assert_array_equal(
        cuda_ops.maps_to_masks(foreground, size, threshold, rule=rule),
        reference.maps_to_masks(foreground, size, threshold, rule=rule),
    )


@settings(max_examples=60, deadline=None)
@given(
    pixels=hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 70))),
    max_boxes=st.integers(1, 5),
)
def test_components_of_any_mask(cuda_ops: Any, pixels: NDArray[np.bool_], max_boxes: int) -> None:
    """At its own size a map of 0 and 1 is the mask: noise, where components are many and tie."""
    foreground = pixels[None].astype(np.float32)
    assert_same(
        cuda_ops.maps_to_boxes(foreground, pixels.shape, 0.5, max_boxes=max_boxes),
        reference.maps_to_boxes(foreground, pixels.shape, 0.5, max_boxes=max_boxes),
    )
    np.testing.assert_array_equal(
        cuda_ops.maps_to_masks(foreground, pixels.shape, 0.5),
        reference.maps_to_masks(foreground, pixels.shape, 0.5),
    )


def spiral(side: int) -> NDArray[np.float32]:
    """One component as long as it can be: the union-find's worst case."""
    mask = np.zeros((side, side), np.float32)
    y, x, dy, dx = 0, 0, 0, 1
    for _ in range(side * side):
        mask[y, x] = 1
        ahead, beyond = (y + dy, x + dx), (y + 2 * dy, x + 2 * dx)
        inside = 0 <= ahead[0] < side and 0 <= ahead[1] < side
        blocked = 0 <= beyond[0] < side and 0 <= beyond[1] < side and mask[beyond]
        if not inside or blocked:
            dy, dx = dx, -dy
            ahead = (y + dy, x + dx)
            if mask[ahead] or mask[y + 2 * dy if 0 <= y + 2 * dy < side else y, x]:
                break
        y, x = ahead
    return mask[None]


CHECKERS = (np.indices((64, 96)).sum(axis=0) % 2).astype(np.float32)[None]
DOTS = np.zeros((1, 63, 95), np.float32)
DOTS[:, ::2, ::2] = 1


@pytest.mark.parametrize(
    "mask", [spiral(63), CHECKERS, DOTS, 1 - DOTS], ids=["spiral", "checkers", "dots", "grid"]
)
def test_hard_masks(cuda_ops: Any, mask: NDArray[np.float32]) -> None:
    size = mask.shape[1:]
    assert_same(
        cuda_ops.maps_to_boxes(mask, size, 0.5, max_boxes=3),
        maps_to_boxes(mask, size, 0.5, max_boxes=3),
    )


@pytest.mark.parametrize(
    "size",
    [(224, 224), (225, 223), (512, 512), (1, 4096), (700, 33)],  # the larger ones leave the chip
)
@pytest.mark.parametrize("rule", ["fixed", "mean"])
def test_equal_to_the_cpu_at_the_size_of_a_network(
    cuda_ops: Any, size: tuple[int, int], rule: Rule
) -> None:
    foreground = np.random.default_rng(0).random((2, 28, 28), dtype=np.float32)
    for threshold in (0.5, 0.875):
        assert_same(
            cuda_ops.maps_to_boxes(foreground, size, threshold, rule=rule, max_boxes=3),
            maps_to_boxes(foreground, size, threshold, rule=rule, max_boxes=3),
        )
    np.testing.assert_array_equal(
        cuda_ops.maps_to_masks(foreground, size, 0.5, rule=rule),
        maps_to_masks(foreground, size, 0.5, rule=rule),
    )


@pytest.mark.parametrize("map_size", [(300, 3), (3, 300), (1, 1), (257, 64)])
@pytest.mark.parametrize("rule", ["fixed", "mean"])
def test_maps_of_unusual_shapes(cuda_ops: Any, map_size: tuple[int, int], rule: Rule) -> None:
    foreground = np.random.default_rng(1).normal(size=(1, *map_size)).astype(np.float32)
    assert_same(
        cuda_ops.maps_to_boxes(foreground, (40, 50), 0.6, rule=rule),
        maps_to_boxes(foreground, (40, 50), 0.6, rule=rule),
    )


def test_one_threshold_for_each_image(cuda_ops: Any) -> None:
    foreground = np.repeat(np.arange(5, dtype=np.float32).reshape(1, 1, 5), 4, axis=0)
    thresholds = np.array([0, 0.25, 0.5, 0.75], np.float32)
    got = cuda_ops.maps_to_boxes(foreground, (1, 5), thresholds)
    assert got.boxes[:, 0, 0].tolist() == [1, 2, 3, 4]


@settings(max_examples=40, deadline=None)
@given(foreground=MAPS, size=SIZES)
@example(foreground=one_map([[0, 4]]), size=(1, 4))
def test_upsample_is_equal_to_reference(
    cuda_ops: Any, foreground: NDArray[np.float32], size: tuple[int, int]
) -> None:
    got = cuda_ops.upsample_maps(foreground, size)
    expected = reference.upsample_maps(foreground, size)
    np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("cell", [0, 17, 34])
def test_nan_and_inf_name_the_first_image(cuda_ops: Any, bad: float, cell: int) -> None:
    foreground = np.zeros((6, 5, 7), np.float32)
    foreground[3:].reshape(3, -1)[:, cell] = bad
    with pytest.raises(InputError, match=r"foreground\[3\] holds NaN or Inf"):
        cuda_ops.maps_to_boxes(foreground, (8, 8), 0.5)


def test_ops_of_several_sizes_do_not_disturb_each_other(cuda_ops: Any, monkeypatch: Any) -> None:
    """How much on-chip memory a kernel may have is a property of the kernel, not of the op."""
    foreground = np.random.default_rng(0).random((1, 14, 14), dtype=np.float32)
    made = cuda.MapsToBoxes
    large = made(max_images=1, map_size=(14, 14), size=(224, 224))
    small = made(max_images=1, map_size=(14, 14), size=(32, 32))
    for op, size in ((small, (32, 32)), (large, (224, 224)), (small, (32, 32))):
        monkeypatch.setattr(cuda, "MapsToBoxes", lambda *, _op=op, **_: _op)
        assert_same(
            cuda_ops.maps_to_boxes(foreground, size, 0.5), maps_to_boxes(foreground, size, 0.5)
        )


def test_no_images(cuda_ops: Any) -> None:
    assert len(cuda_ops.maps_to_boxes(np.zeros((0, 3, 3), np.float32), (4, 4), 0.5)) == 0


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("rule", "otsu", "rule must be 'fixed' or 'mean'"),
        ("min_area", 0, "min_area must be from 1"),
        ("max_boxes", 0, "max_boxes must be from 1"),
        ("size", (0, 5), "the height must be from 1"),
        ("map_size", (3,), "size must be"),
    ],
)
def test_options_out_of_range_are_refused(
    cuda_ops: Any, option: str, value: Any, says: str
) -> None:
    options = {"max_images": 1, "map_size": (2, 2), "size": (4, 4), option: value}
    with pytest.raises(InputError, match=says):
        cuda.MapsToBoxes(**options)
