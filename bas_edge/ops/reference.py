"""The definition of every op, in NumPy: slow, clear, and what native code must equal to the bit.

Arguments are as `bas_edge.ops` hands them on: checked, and not empty along C, h, w, H or W.
Letters: N images, C classes, H W pixels, h w map cells. docs/semantics.md says the same in words.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from bas_edge.ops.boxes import Boxes, Rule
from bas_edge.ops.class_masks import ClassMasks

__all__ = [
    "aggregate_maps",
    "maps_to_boxes",
    "maps_to_masks",
    "repeat_pixels",
    "resize_frame",
    "scores_to_masks",
    "upsample_maps",
]

FRACTION_BITS = 22
"""Fixed-point fraction of the resize coefficients: 32 - 8 bits of pixel - 2 of headroom."""


def aggregate_maps(
    maps: NDArray[np.float32], scores: NDArray[np.float32], k: int
) -> NDArray[np.float32]:
    """Mean of the maps of the k best classes: [N, C, h, w], [N, C] → [N, h, w].

    Best first, ties to the lower class; added one by one in float32, then one division.
    """
    foreground = np.empty((len(maps), *maps.shape[2:]), np.float32)
    for image, (image_maps, image_scores) in enumerate(zip(maps, scores, strict=True)):
        order = np.argsort(-image_scores, kind="stable")[:k]
        total = image_maps[order[0]].copy()
        for label in order[1:]:
            total += image_maps[label]
        foreground[image] = total / np.float32(k)
    return foreground


def upsample_maps(foreground: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bilinear [N, h, w] → [N, H, W]: half-pixel centres, edges clamped, horizontal first."""
    height, width = size
    left, right, weight = _lerp_axis(foreground.shape[2], width)
    a, b = foreground[:, :, left], foreground[:, :, right]
    rows = a + weight * (b - a)  # [N, h, W]
    top, bottom, weight = _lerp_axis(foreground.shape[1], height)
    a, b = rows[:, top], rows[:, bottom]
    pixels: NDArray[np.float32] = a + weight[:, None] * (b - a)  # [N, H, W]
    return pixels


def maps_to_boxes(
    foreground: NDArray[np.float32],
    size: tuple[int, int],
    threshold: float | NDArray[np.float32],
    *,
    rule: Rule = "fixed",
    min_area: int = 1,
    max_boxes: int = 1,
) -> Boxes:
    """Boxes of the largest components above the cut: [N, h, w] → Boxes in H × W pixels."""
    images = len(foreground)
    boxes = np.zeros((images, max_boxes, 4), np.int32)
    areas = np.zeros((images, max_boxes), np.int32)
    count = np.zeros(images, np.int32)
    for image, mask in enumerate(_above_cut(foreground, size, threshold, rule)):
        boxes[image, 0] = (0, 0, size[1], size[0])
        kept = [pixels for pixels in _components(mask) if len(pixels) >= min_area][:max_boxes]
        for slot, pixels in enumerate(kept):
            boxes[image, slot, :2] = pixels.min(axis=0)
            boxes[image, slot, 2:] = pixels.max(axis=0) + 1
            areas[image, slot] = len(pixels)
        count[image] = len(kept)
    return Boxes(boxes=boxes, areas=areas, found=count > 0, count=count)


def maps_to_masks(
    foreground: NDArray[np.float32],
    size: tuple[int, int],
    threshold: float | NDArray[np.float32],
    *,
    rule: Rule = "fixed",
) -> NDArray[np.bool_]:
    """The largest component of each map as a mask: [N, h, w] → [N, H, W] bool."""
    masks = np.zeros((len(foreground), *size), np.bool_)
    for image, mask in enumerate(_above_cut(foreground, size, threshold, rule)):
        for pixels in _components(mask)[:1]:
            masks[image, pixels[:, 1], pixels[:, 0]] = True
    return masks


def scores_to_masks(scores: NDArray[np.float32], size: tuple[int, int]) -> ClassMasks:
    """The class with the highest score at each pixel: [N, K, h, w] → [N, H, W] and its parts.

    Scores are upsampled first and compared as float32; ties go to the lower class.
    """
    images, classes = scores.shape[:2]
    masks = np.zeros((images, *size), np.uint8)
    areas = np.zeros((images, classes), np.int32)
    boxes = np.zeros((images, classes, 4), np.int32)
    for image, image_scores in enumerate(scores):
        masks[image] = upsample_maps(image_scores, size).argmax(axis=0)  # the first of equals
        for label in range(classes):
            inside = masks[image] == label
            areas[image, label] = inside.sum()
            for pixels in _components(inside)[:1]:
                boxes[image, label] = (*pixels.min(axis=0), *(pixels.max(axis=0) + 1))
    return ClassMasks(masks=masks, areas=areas, boxes=boxes)


def repeat_pixels(
    mask: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Rows and columns as often as wanted: [h, w] → [sum of rows, sum of columns], and [256]."""
    pixels = mask.repeat(rows, axis=0).repeat(columns, axis=1)
    return pixels, np.bincount(pixels.reshape(-1), minlength=256)


def resize_frame(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Antialiased [H, W, 3] → [h, w, 3] uint8, Pillow's BILINEAR arithmetic, horizontal first."""
    height, width = size
    rows = _resample(frame.swapaxes(0, 1), width).swapaxes(0, 1)
    return np.ascontiguousarray(_resample(rows, height))


def _lerp_axis(
    cells: int, pixels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """For each pixel of one axis: its two cells and the weight of the second, each [pixels]."""
    centre = (np.arange(pixels) + 0.5) * (cells / pixels) - 0.5  # in cells, float64
    cell = np.floor(centre).astype(np.int64)
    weight = (centre - cell).astype(np.float32)
    weight[(cell < 0) | (cell >= cells - 1)] = 0
    cell = np.clip(cell, 0, cells - 1)
    return cell, np.minimum(cell + 1, cells - 1), weight


def _above_cut(
    foreground: NDArray[np.float32],
    size: tuple[int, int],
    threshold: float | NDArray[np.float32],
    rule: Rule,
) -> NDArray[np.bool_]:
    """Pixels strictly above the cut of their own map: [N, h, w] → [N, H, W] bool."""
    thresholds = np.broadcast_to(np.asarray(threshold, np.float32), len(foreground))
    above = np.zeros((len(foreground), *size), np.bool_)
    with np.errstate(over="ignore", invalid="ignore"):  # hi - lo may exceed float32: inf, as in C++
        for image, cells in enumerate(foreground):
            lo, hi = cells.min(), cells.max()
            if lo == hi:
                continue  # a flat map has no foreground, whatever rounding does to its upsample
            if rule == "fixed":
                cut = thresholds[image] * (hi - lo)
            else:  # accumulate adds strictly one by one; np.sum does not
                row_sums = np.add.accumulate(cells - lo, axis=1)[:, -1]  # [h]
                total = np.add.accumulate(row_sums)[-1]
                cut = thresholds[image] * (total / np.float32(cells.size))
            above[image] = upsample_maps(cells[None], size)[0] - lo > cut
    return above


def _components(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """8-connected components of [H, W], largest first, ties by first pixel in raster order.

    Each is [area, 2]: the (x, y) of its pixels.
    """
    raster = [(x, y) for y, x in np.argwhere(mask).tolist()]
    left = set(raster)
    found = []
    for seed in raster:
        if seed not in left:
            continue
        left.remove(seed)
        pixels = [seed]
        for x, y in pixels:  # grows while it is walked
            for neighbour in itertools.product((x - 1, x, x + 1), (y - 1, y, y + 1)):
                if neighbour in left:
                    left.remove(neighbour)
                    pixels.append(neighbour)
        found.append(np.array(pixels))
    return sorted(found, key=len, reverse=True)  # stable, so ties keep raster order


def _resample(lines: NDArray[np.uint8], target: int) -> NDArray[np.uint8]:
    """Resize the first axis of [source, ...] to `target`; equal sizes are left untouched."""
    source = len(lines)
    if target == source:
        return lines
    resized = np.empty((target, *lines.shape[1:]), np.uint8)
    for index in range(target):
        first, coefficients = _triangle_taps(source, target, index)
        taps = lines[first : first + len(coefficients)].astype(np.int64)
        total = np.tensordot(coefficients, taps, axes=1) + (1 << (FRACTION_BITS - 1))
        resized[index] = np.clip(total >> FRACTION_BITS, 0, 255)
    return resized


def _triangle_taps(source: int, target: int, index: int) -> tuple[int, NDArray[np.int64]]:
    """First source line of one target line, and the fixed-point weight of each from there on."""
    scale = source / target
    support = max(scale, 1.0)  # the triangle's half width in source lines
    centre = (index + 0.5) * scale
    first = max(int(centre - support + 0.5), 0)
    end = min(int(centre + support + 0.5), source)
    heights = [
        max(1.0 - abs((line - centre + 0.5) * (1.0 / support)), 0.0) for line in range(first, end)
    ]
    total = 0.0
    for height in heights:  # in order: the rounding of the sum is part of the definition
        total += height
    return first, np.array([int(0.5 + h / total * (1 << FRACTION_BITS)) for h in heights], np.int64)
