"""The ranges that a quantization-aware training settled on, as they travel in an ONNX file.

`bas-edge train --qat` rounds as an int8 engine will, so its weights belong to these ranges:
int8 codes are made of them, and nothing is calibrated, corrected or equalized any more.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection

import msgspec

from bas_edge.engine.manifest import MANIFEST_LIMIT_BYTES
from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.engine.onnx_metadata import read_metadata, with_metadata
from bas_edge.engine.versioned_json import decode_versioned
from bas_edge.errors import EngineError
from bas_edge.quantization.codes import Codes, Flavour, pixel_chain
from bas_edge.quantization.layers import Layer, observed_tensors
from bas_edge.quantization.ranges import Range

__all__ = [
    "RANGES_KEY",
    "TrainedRanges",
    "range_codes",
    "read_trained_ranges",
    "with_trained_ranges",
]

RANGES_KEY = "bas_edge_trained_ranges"
_SCHEMA = 1


class TrainedRanges(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the network was rounded with while it was trained.

    Attributes:
        flavour: Whose places and codes the training rounded at. The ranges serve the other
            flavour as well.
        method: How they were chosen, one of `ranges.METHODS`.
        images: How many training images they were chosen on.
        ranges: Tensor of the exported graph -> the values (low, high) that codes reach.
    """

    schema_version: int = _SCHEMA
    flavour: Flavour
    method: str
    images: int
    ranges: dict[str, Range]

    def __post_init__(self) -> None:
        for name, (low, high) in self.ranges.items():
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ValueError(f"the range of '{name}' is {low} to {high}")

    def codes(
        self, graph: OnnxGraph, layers: Collection[Layer], flavour: Flavour
    ) -> dict[str, Codes]:
        """What `insert_qdq` takes for these layers, in either flavour.

        Raises:
            EngineError: A tensor of theirs has no range: the graph is not the one that was
                exported.
        """
        missing = [name for name in observed_tensors(layers) if name not in self.ranges]
        if missing:
            raise EngineError(
                f"The graph has no trained range for '{missing[0]}' "
                f"({len(missing)} tensors in all).",
                hint="Export the checkpoint again: bas-edge export CHECKPOINT -o model.onnx",
            )
        return {
            name: range_codes(graph, name, self.ranges[name], flavour)
            for name in observed_tensors(layers)
        }


def range_codes(graph: OnnxGraph, tensor: str, bounds: Range, flavour: Flavour) -> Codes:
    """Codes that reach `bounds`; the pixels themselves where the tensor is made of them alone."""
    chain = pixel_chain(graph, tensor)
    exact = None if chain is None else chain.codes(flavour)
    return exact or Codes.covering(bounds, flavour)


def read_trained_ranges(path: str | os.PathLike[str]) -> TrainedRanges | None:
    """The ranges in an ONNX file; None where its model was not trained with any.

    Raises:
        InputError: No such file.
        EngineError: Not an ONNX file.
        EngineSchemaError, EngineCorruptError: They are of another version, or damaged.
    """
    encoded = read_metadata(path).get(RANGES_KEY)
    if encoded is None:
        return None
    return decode_versioned(
        encoded,
        TrainedRanges,
        what="trained ranges",
        source=str(path),
        schema=_SCHEMA,
        limit_bytes=MANIFEST_LIMIT_BYTES,
    )


def with_trained_ranges(model: bytes, ranges: TrainedRanges) -> bytes:
    """The bytes of an ONNX file with these ranges in its metadata, and no others."""
    return with_metadata(model, RANGES_KEY, msgspec.json.encode(ranges))
