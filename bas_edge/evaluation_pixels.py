"""Maps against annotated masks, for an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bas_edge.annotation import Annotation
from bas_edge.engine.manifest import InputPolicy, ThresholdPolicy
from bas_edge.errors import InputError
from bas_edge.evaluation_report import PixelReport
from bas_edge.framing import place
from bas_edge.mask_files import IGNORED, network_mask
from bas_edge.metrics.pixels import PixelCurve
from bas_edge.metrics.protocols import BoxProtocol
from bas_edge.ops import maps_to_masks

__all__ = ["Usable", "pixel_report"]


@dataclass(frozen=True, slots=True)
class Usable:
    """Whether an image is the annotated one; its mask on the network's input, where it has one."""

    items: tuple[Annotation, ...]
    policy: InputPolicy

    def __call__(self, index: int, shape: tuple[int, int]) -> NDArray[np.uint8] | None:
        """The mask of an image of size (H, W), packed at two bits a pixel; None without.

        Raises:
            InputError: The image contradicts its annotation, or its mask cannot be used; see
                `bas_edge.mask_files.network_mask`.
        """
        item = self.items[index]
        reason = item.contradiction(shape)
        if reason is not None:
            raise InputError(reason)
        if item.mask is None:
            return None
        mask = network_mask(item.mask, place(shape, self.policy), item.orientation(shape))
        return np.packbits(np.stack([mask == 1, mask == IGNORED]))


def _unpacked(packed: NDArray[np.uint8], policy: InputPolicy) -> NDArray[np.uint8]:
    """[h, w] uint8: 0 background, 1 foreground, 255 not measured."""
    shape = (2, policy.height, policy.width)
    bits = np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape)
    mask: NDArray[np.uint8] = bits[0] + np.uint8(IGNORED) * bits[1]
    return mask


def pixel_report(
    judge: BoxProtocol,
    maps: NDArray[np.float32],
    masks: Sequence[NDArray[np.uint8] | None],
    policy: InputPolicy,
    stored: ThresholdPolicy,
) -> PixelReport:
    """PxAP and peak IoU of maps [M, h, w] by the protocol's resize, and the IoU of what ships.

    Args:
        judge: Resizes and scales the maps.
        maps: Of images that all have a mask.
        masks: M masks from `Usable`.
        policy: Of the input on which the masks are.
        stored: The threshold that ships.
    """
    curve = PixelCurve()
    both = either = 0
    for packed, foreground in zip(masks, maps, strict=True):
        assert packed is not None  # all images of a set have a mask, or none has
        mask = _unpacked(packed, policy)
        scores = judge.pixel_scores(foreground)
        curve.add(scores, mask)
        chosen = maps_to_masks(foreground[None], mask.shape, stored.value, rule=stored.rule)[0]
        measured = mask != IGNORED
        both += int((chosen & (mask == 1)).sum())
        either += int(((chosen | (mask == 1)) & measured).sum())
    found = curve.accuracy()
    return PixelReport(
        images=len(maps),
        px_ap=found.px_ap,
        peak_iou=found.peak_iou,
        peak_threshold=found.threshold,
        stored_iou=100.0 * both / either,
    )
