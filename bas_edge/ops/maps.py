"""From class maps to boxes and masks. docs/semantics.md has the steps, with an example."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.ops import _native
from bas_edge.ops.arguments import (
    check_array,
    check_count,
    check_size,
    check_thresholds,
    choose_threads,
)
from bas_edge.ops.boxes import Boxes, Rule

__all__ = ["MAX_BOXES", "aggregate_maps", "maps_to_boxes", "maps_to_masks", "upsample_maps"]

MAX_BOXES = 65536
_MAX_AREA = 1 << 30


def aggregate_maps(
    maps: NDArray[np.float32],
    scores: NDArray[np.float32],
    k: int,
    *,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Foreground of each image: the mean of the maps of its k best classes.

    Classes are taken by score, best first, ties to the lower index, and their maps added one
    by one in float32. Only the selected maps are read.

    Args:
        maps: [N, C, h, w] float32.
        scores: [N, C] float32, any scale; only the order matters.
        k: Classes to average, 1 to C.
        threads: Over the images of the batch. None: as many as pay (docs/semantics.md).

    Returns:
        [N, h, w] float32, unnormalised.

    Raises:
        InputError: wrong dtype, rank, shape or k; a NaN score; a NaN or Inf in the result.
    """
    maps = check_array("maps", maps, np.float32, "[N, C, h, w]")
    scores = check_array("scores", scores, np.float32, "[N, C]")
    images, classes, map_height, map_width = maps.shape
    if scores.shape != (images, classes):
        raise InputError(
            f"scores have the shape {scores.shape}, but maps are for {images} images of "
            f"{classes} classes."
        )
    k = check_count("k", k, classes)
    threads = choose_threads(threads, images, k * map_height * map_width)
    return _native.aggregate_maps(maps, scores, k, threads)


def upsample_maps(
    foreground: NDArray[np.float32], size: tuple[int, int], *, threads: int | None = None
) -> NDArray[np.float32]:
    """Bilinear upsample to network pixels: [N, h, w] → [N, H, W] float32.

    Half-pixel centres, edges clamped, horizontal first, `a + weight * (b - a)`: OpenCV's
    INTER_LINEAR to within float32 rounding. The same arithmetic as inside `maps_to_boxes`.

    Raises:
        InputError: wrong dtype, rank or size.
    """
    foreground = check_array("foreground", foreground, np.float32, "[N, h, w]")
    height, width = check_size(size)
    threads = choose_threads(threads, len(foreground), height * width)
    return _native.upsample_maps(foreground, height, width, threads)


def maps_to_boxes(
    foreground: NDArray[np.float32],
    size: tuple[int, int],
    threshold: float | NDArray[np.float32],
    *,
    rule: Rule = "fixed",
    min_area: int = 1,
    max_boxes: int = 1,
    threads: int | None = None,
) -> Boxes:
    """Box the largest connected parts of each foreground map.

    A pixel of the upsampled map is foreground if it is strictly above
    minimum + threshold × (maximum - minimum) of its own map (rule "fixed"), or
    minimum + threshold × mean(map - minimum) (rule "mean"). Parts are 8-connected; the
    largest has the most pixels, ties go to the first in raster order.

    Args:
        foreground: [N, h, w] float32, from `aggregate_maps`.
        size: (H, W), the network's input size in pixels.
        threshold: One for all images, or [N] float32; finite, not negative.
        rule: What the threshold multiplies.
        min_area: Fewest pixels a part must have.
        max_boxes: Most parts to return for each image.
        threads: Over the images of the batch. None: as many as pay (docs/semantics.md).

    Returns:
        Boxes in network pixels, half-open. Without foreground: the whole frame, found False.

    Raises:
        InputError: wrong dtype, rank, size or option; a NaN or Inf in a map.
    """
    foreground = check_array("foreground", foreground, np.float32, "[N, h, w]")
    height, width = check_size(size)
    images = len(foreground)
    boxes, areas, found, count = _native.maps_to_boxes(
        foreground,
        height,
        width,
        check_thresholds(threshold, images),
        _is_mean(rule),
        check_count("min_area", min_area, _MAX_AREA),
        check_count("max_boxes", max_boxes, MAX_BOXES),
        choose_threads(threads, images, height * width),
    )
    return Boxes(boxes=boxes, areas=areas, found=found, count=count)


def maps_to_masks(
    foreground: NDArray[np.float32],
    size: tuple[int, int],
    threshold: float | NDArray[np.float32],
    *,
    rule: Rule = "fixed",
    threads: int | None = None,
) -> NDArray[np.bool_]:
    """The part that `maps_to_boxes` boxes first, as a mask: [N, h, w] → [N, H, W] bool.

    Arguments and errors as there; network pixels. All False where there is no foreground.
    """
    foreground = check_array("foreground", foreground, np.float32, "[N, h, w]")
    height, width = check_size(size)
    images = len(foreground)
    return _native.maps_to_masks(
        foreground,
        height,
        width,
        check_thresholds(threshold, images),
        _is_mean(rule),
        choose_threads(threads, images, height * width),
    )


def _is_mean(rule: Rule) -> bool:
    if rule not in ("fixed", "mean"):
        raise InputError(f"rule must be 'fixed' or 'mean', not {rule!r}.")
    return rule == "mean"
