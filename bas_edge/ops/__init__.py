"""The ops around the network: frame to input, maps to foreground, foreground to boxes and masks.

Native code on the CPU, equal to the bit to `bas_edge.ops.reference` whatever the machine, and
described step by step in docs/semantics.md.
"""

from __future__ import annotations

import importlib

from bas_edge.errors import KernelError

try:
    importlib.import_module("bas_edge.ops._native")
except ModuleNotFoundError as error:
    if error.name != "bas_edge.ops._native":
        raise  # it is there, but cannot load
    raise KernelError(
        "bas_edge has no native module: bas_edge/ops/_native was not built for this Python.",
        hint="Build it: pip install . in the repository, or pip install bas-edge",
    ) from None

from bas_edge.ops.boxes import Boxes, Rule
from bas_edge.ops.class_masks import ClassMasks
from bas_edge.ops.frames import resize_frame
from bas_edge.ops.maps import aggregate_maps, maps_to_boxes, maps_to_masks, upsample_maps
from bas_edge.ops.paths import active_path
from bas_edge.ops.repeats import repeat_pixels
from bas_edge.ops.scores import scores_to_masks

__all__ = [
    "Boxes",
    "ClassMasks",
    "Rule",
    "active_path",
    "aggregate_maps",
    "maps_to_boxes",
    "maps_to_masks",
    "repeat_pixels",
    "resize_frame",
    "scores_to_masks",
    "upsample_maps",
]
