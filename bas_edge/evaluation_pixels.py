"""Maps against annotated masks, for an evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bas_edge.annotation import Annotation
from bas_edge.engine.manifest import InputPolicy, ThresholdPolicy
from bas_edge.evaluation_report import PixelReport
from bas_edge.framing import place
from bas_edge.mask_files import IGNORED, network_mask
from bas_edge.metrics.pixels import PixelCurve
from bas_edge.metrics.protocols import BoxProtocol
from bas_edge.ops import maps_to_masks

__all__ = ["NetworkMasks", "pixel_report"]


class NetworkMasks:
    """Masks on the network's input, read beside the images and kept at two bits a pixel."""

    def __init__(self, items: Sequence[Annotation], policy: InputPolicy) -> None:
        self._items, self._policy = items, policy
        self._packed: dict[int, NDArray[np.uint8]] = {}

    def read(self, index: int, shape: tuple[int, int]) -> None:
        """Read the mask of an image of size (H, W), in any thread.

        Raises:
            InputError: It cannot be used; see `bas_edge.mask_files.network_mask`.
        """
        item = self._items[index]
        if item.mask is not None:
            mask = network_mask(item.mask, place(shape, self._policy), item.orientation(shape))
            self._packed[index] = np.packbits(np.stack([mask == 1, mask == IGNORED]))

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """[h, w] uint8: 0 background, 1 foreground, 255 not measured."""
        shape = (2, self._policy.height, self._policy.width)
        bits = np.unpackbits(self._packed[index], count=int(np.prod(shape))).reshape(shape)
        mask: NDArray[np.uint8] = bits[0] + np.uint8(IGNORED) * bits[1]
        return mask


def pixel_report(
    judge: BoxProtocol,
    maps: NDArray[np.float32],
    masks: NetworkMasks,
    kept: NDArray[np.intp],
    stored: ThresholdPolicy,
) -> PixelReport:
    """PxAP and peak IoU of maps [M, h, w] by the protocol's resize, and the IoU of what ships.

    Args:
        judge: Resizes and scales the maps.
        maps: Of the images `kept`, in that order.
        masks: Already read.
        stored: The engine's threshold.
    """
    curve = PixelCurve()
    both = either = 0
    for index, foreground in zip(kept, maps, strict=True):
        mask = masks[int(index)]
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
