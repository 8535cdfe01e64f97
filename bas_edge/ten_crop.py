"""Ten crops of a frame: what the published evaluations name its class and find its box by."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.manifest import InputPolicy
from bas_edge.framing import Placement, frame_to_input, place

__all__ = ["CENTRE", "TEN_CROPS", "centre_crop", "ten_crops"]

TEN_CROPS = 10
CENTRE = 8  # which of them is the centre, not mirrored
_LARGER = 256 / 224  # the published frame before it is cropped, over the network's input


def ten_crops(frame: NDArray[np.uint8], policy: InputPolicy) -> list[NDArray[np.uint8]]:
    """Four corners and the centre of the frame resized to 256/224 of the input, each with its
    mirror image behind it.

    As in the evaluation of BAS and BAS-Extension (256 × 256, crops of 224).

    Args:
        frame: [H, W, 3] uint8.
        policy: The network's input [h, w]; its resize policy brings the frame to the larger size.

    Returns:
        Ten arrays [h, w, 3] uint8; their class scores are to be averaged.
    """
    h, w = policy.height, policy.width
    larger = _larger((frame.shape[0], frame.shape[1]), policy)
    whole = frame_to_input(frame, larger)
    down, right = whole.shape[0] - h, whole.shape[1] - w
    corners = [(0, 0), (0, right), (down, 0), (down, right), _centre(larger, policy)]
    crops = [whole[y : y + h, x : x + w] for y, x in corners]
    return [np.ascontiguousarray(one) for crop in crops for one in (crop, crop[:, ::-1])]


def centre_crop(
    frame_size: tuple[int, int], policy: InputPolicy
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the centre of `ten_crops` lies on a frame of (H, W), and where on the input.

    Returns:
        Two boxes [4] xyxy: what is shown, in pixels of the frame, and where, in pixels of the
        input. They differ from the whole input only where the policy pads.
    """
    larger = _larger(frame_size, policy)
    y, x = _centre(larger, policy)
    corner = np.array([x, y, x, y], np.float64)
    crop = corner + np.array([0, 0, policy.width, policy.height])
    shown, target = np.array(larger.shown, np.float64), np.array(larger.target, np.float64)
    visible = np.concatenate([np.maximum(crop[:2], target[:2]), np.minimum(crop[2:], target[2:])])
    scale = np.tile(larger.scale, 2)
    return np.tile(shown[:2], 2) + (visible - np.tile(target[:2], 2)) * scale, visible - corner


def _larger(frame_size: tuple[int, int], policy: InputPolicy) -> Placement:
    height, width = round(policy.height * _LARGER), round(policy.width * _LARGER)
    return place(frame_size, msgspec.structs.replace(policy, height=height, width=width))


def _centre(larger: Placement, policy: InputPolicy) -> tuple[int, int]:
    """(y, x) of the crop in the middle, rounded as torchvision does it."""
    height, width = larger.input_size
    return round((height - policy.height) / 2), round((width - policy.width) / 2)
