"""Seeds spread over pixels that look alike: a random walk from pixel to pixel.

From each cell of a grid the walker steps to a cell within a radius, itself included, with a
probability in proportion to how alike their colours are: exp(-|difference|² / 2 sigma²). After t
steps a cell's seeds are what a walker from it meets on average: x ← T x, t times, where the rows of
T add up to 1. Colours that change within the radius are rarely crossed, so maps fill objects up to
their edges. IRNet (arXiv 1904.05044) walks the same way, on learnt affinities.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bas_edge.ops import resize_frame

__all__ = ["WalkOptions", "spread"]

_EPSILON = 1e-5

_Place = tuple[EllipsisType, slice, slice]  # of all cells, moved by a step, in padded maps


@dataclass(frozen=True, slots=True)
class WalkOptions:
    """The walk.

    Attributes:
        steps: How many; 0 leaves the seeds as they are.
        radius: Cells that one step can cross.
        sigma: Distance of colours in RGB (each 0 to 1) that is crossed now and then.
        stride: Pixels of the image to one cell.
        power: Seeds are raised to it first: above 1 weak ones count less.
    """

    steps: int = 30
    radius: int = 3
    sigma: float = 0.1
    stride: int = 4
    power: float = 2.0


def spread(
    pixels: NDArray[np.uint8], maps: NDArray[np.float32], options: WalkOptions
) -> NDArray[np.float32]:
    """The maps after the walk, each with maximum 1 (or all 0): float32 [L, H, W].

    Args:
        pixels: uint8 RGB [H, W, 3].
        maps: Seeds of the same image, float32 [L, H, W], 0 to 1.
        options: The walk.
    """
    if not options.steps:
        return maps
    height, width = pixels.shape[:2]
    cells = (-(-height // options.stride), -(-width // options.stride))
    colours = torch.from_numpy(resize_frame(pixels, cells)).permute(2, 0, 1).float() / 255
    steps = _steps(colours, options)
    seeds = torch.from_numpy(maps)[:, None].pow(options.power)  # [L, 1, H, W]
    x = F.interpolate(seeds, cells, mode="bilinear", align_corners=False, antialias=True)[:, 0]
    for _ in range(options.steps):
        around = _padded(x, options.radius)
        x = torch.zeros_like(x)
        for likely, where in steps:
            x.addcmul_(around[where], likely)
    x = x[:, None] / (x.amax((1, 2))[:, None, None, None] + _EPSILON)
    result = F.interpolate(x, (height, width), mode="bilinear", align_corners=False)[:, 0]
    found: NDArray[np.float32] = result.numpy()
    return found


def _steps(colours: Tensor, options: WalkOptions) -> list[tuple[Tensor, _Place]]:
    """Each step for colours [3, h, w]: its probability from each cell [h, w], and where it leads.

    Cells outside of the image and in the corners of the square around a cell are not reached.
    """
    radius, (height, width) = options.radius, colours.shape[1:]
    around = _padded(colours, radius)
    inside = _padded(torch.ones(height, width), radius)
    steps: list[tuple[Tensor, _Place]] = []
    for y, x in np.ndindex(2 * radius + 1, 2 * radius + 1):
        if (y - radius) ** 2 + (x - radius) ** 2 <= radius**2:
            where = (..., slice(y, y + height), slice(x, x + width))
            distance = (around[where] - colours).square().sum(0)
            likeness = torch.exp(-distance / (2 * options.sigma**2)) * inside[where]
            steps.append((likeness, where))
    total = torch.stack([likeness for likeness, _ in steps]).sum(0)
    return [(likeness / total, where) for likeness, where in steps]


def _padded(x: Tensor, radius: int) -> Tensor:
    """So many zeros around each [h, w]: what a cell is offset by is a slice of it."""
    return F.pad(x, (radius,) * 4)
