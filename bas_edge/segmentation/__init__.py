"""Multi-label images with masks: official data set folders, palette PNGs, and what they hold."""

from __future__ import annotations

from bas_edge.segmentation.image_set import ImageSet, MaskSource, SetImage
from bas_edge.segmentation.masks import IGNORE, read_mask, unique_names, write_mask
from bas_edge.segmentation.read_set import read_image_set

__all__ = [
    "IGNORE",
    "ImageSet",
    "MaskSource",
    "SetImage",
    "read_image_set",
    "read_mask",
    "unique_names",
    "write_mask",
]
