"""Images and their masks as one: read, checked, stretched, cropped and flipped together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bas_edge.errors import InputError
from bas_edge.images import DecodedImage
from bas_edge.segmentation import SetImage
from bas_edge_training.image_store import ImageStore

__all__ = ["MaskedImages", "mask_of"]


class MaskedImages(ImageStore):
    """Images with their masks as a fourth channel: uint8 [side, side, 4].

    Masks are stretched to the nearest pixel. An image whose mask cannot be read, or is of another
    size, is skipped as one that cannot be read itself.
    """

    channels = 4

    def __init__(
        self, images: Mapping[Path, SetImage], paths: Sequence[Path], side: int, budget_bytes: int
    ) -> None:
        """`images` are those of all `paths`, each with a mask."""
        super().__init__(paths, side, budget_bytes)
        self._images = images

    def _prepared(self, path: Path, decoded: DecodedImage) -> NDArray[np.uint8]:
        mask = Image.fromarray(mask_of(self._images[path], decoded.pixels.shape[:2]))
        stretched = mask.resize((self.side, self.side), Image.Resampling.NEAREST)
        return np.dstack((super()._prepared(path, decoded), np.asarray(stretched)))


def mask_of(image: SetImage, size: Sequence[int]) -> NDArray[np.uint8]:
    """The mask of an image that has one, uint8 [H, W].

    Raises:
        InputError: It cannot be read, or is not of the `size` (H, W) of its image.
    """
    assert image.mask is not None
    mask = image.mask.read()
    if mask.shape != tuple(size):
        raise InputError(
            f"{image.path} is {size[1]} × {size[0]}, but its mask is "
            f"{mask.shape[1]} × {mask.shape[0]}."
        )
    return mask
