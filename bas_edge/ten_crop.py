"""Ten-crop classification: what the published evaluations name an image's class by."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.manifest import InputPolicy
from bas_edge.framing import frame_to_input, place

__all__ = ["TEN_CROPS", "ten_crops"]

TEN_CROPS = 10
_LARGER = 256 / 224  # the published frame before it is cropped, over the network's input


def ten_crops(frame: NDArray[np.uint8], policy: InputPolicy) -> list[NDArray[np.uint8]]:
    """Four corners and the centre of the frame resized to 256/224 of the input, and their mirrors.

    As in the evaluation of BAS and BAS-Extension (256 × 256, crops of 224).

    Args:
        frame: [H, W, 3] uint8.
        policy: The network's input [h, w]; its resize policy brings the frame to the larger size.

    Returns:
        Ten arrays [h, w, 3] uint8; their class scores are to be averaged.
    """
    h, w = policy.height, policy.width
    height, width = round(h * _LARGER), round(w * _LARGER)
    larger = msgspec.structs.replace(policy, height=height, width=width)
    whole = frame_to_input(frame, place((frame.shape[0], frame.shape[1]), larger))
    down, right = height - h, width - w
    corners = [(0, 0), (0, right), (down, 0), (down, right), (round(down / 2), round(right / 2))]
    crops = [whole[y : y + h, x : x + w] for y, x in corners]
    return [np.ascontiguousarray(one) for crop in crops for one in (crop, crop[:, ::-1])]
