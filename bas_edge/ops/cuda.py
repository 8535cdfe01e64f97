"""The ops on a GPU, to the bit what `bas_edge.ops.reference` defines."""

from __future__ import annotations

from bas_edge.ops.cuda_frames import DeviceFrame, ResizeFrame
from bas_edge.ops.cuda_maps import AggregateMaps, LocalizeMaps, MapsToBoxes
from bas_edge.ops.cuda_module import CudaBuild, cuda_build
from bas_edge.ops.cuda_records import (
    Records,
    has_bad_scores,
    raise_for_status,
    read_records,
    record_words,
)

__all__ = [
    "AggregateMaps",
    "CudaBuild",
    "DeviceFrame",
    "LocalizeMaps",
    "MapsToBoxes",
    "Records",
    "ResizeFrame",
    "cuda_build",
    "has_bad_scores",
    "raise_for_status",
    "read_records",
    "record_words",
]
