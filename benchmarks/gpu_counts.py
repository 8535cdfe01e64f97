"""What the CUDA ops cannot do without: bytes to be read and written, and launches in a row.

Each kernel is counted as if it read every byte of its input once, from memory, and wrote every
byte of its result once, so the two floors of docs/benchmarks.md follow from the shapes alone:
bytes over bandwidth, and launches times what one launch takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Kernel", "MapsShape", "Work", "aggregate_work", "boxes_work", "localize_work",
           "resize_work"]  # fmt: skip

_VALUE = 4  # bytes of a float32 or int32
_BOX_WORDS = 5
Form = Literal["all", "selected", "mean"]


@dataclass(frozen=True, slots=True)
class MapsShape:
    """N images of a network: C logits and K maps of h × w cells each, for H × W pixels.

    Attributes:
        form: "all" (K = C), "selected" (K best of C) or "mean" (K = 1).
        top_k: How many maps are averaged.
    """

    form: Form
    images: int
    classes: int = 200
    top_k: int = 80
    cells: tuple[int, int] = (28, 28)
    size: tuple[int, int] = (224, 224)
    max_boxes: int = 1

    @property
    def maps(self) -> int:
        """K: maps an image."""
        return {"all": self.classes, "selected": self.top_k, "mean": 1}[self.form]

    @property
    def map_cells(self) -> int:
        return self.cells[0] * self.cells[1]

    @property
    def maps_bytes(self) -> int:
        """Of one image: what the network writes, whether or not it is read."""
        return self.maps * self.map_cells * _VALUE

    @property
    def title(self) -> str:
        """ "all, N=1, C=200, k=80": what tells it from other shapes."""
        k = "" if self.form == "mean" else f", k={self.top_k}"
        return f"{self.form}, N={self.images}, C={self.classes}{k}"


@dataclass(frozen=True, slots=True)
class Kernel:
    """One launch: its name in csrc/cuda, and bytes for all images together."""

    name: str
    reads: int
    writes: int


@dataclass(frozen=True, slots=True)
class Work:
    """One run of an op.

    Attributes:
        kernels: In order; each waits for the one before.
        input_bytes: Of the op's own inputs, each byte once: no table, nothing in between, and
            of the maps only those that are averaged.
    """

    kernels: tuple[Kernel, ...]
    input_bytes: int

    @property
    def launches(self) -> int:
        return len(self.kernels)

    @property
    def moved_bytes(self) -> int:
        """Read and written by all kernels."""
        return sum(kernel.reads + kernel.writes for kernel in self.kernels)


def localize_work(shape: MapsShape) -> Work:
    """`LocalizeMaps.run`: logits and maps to records."""
    n, logits = shape.images, shape.images * shape.classes * _VALUE
    ordered = shape.top_k if shape.form == "all" else 0
    rank = Kernel("rank_classes", logits, n * (ordered + 3) * _VALUE)  # status, label, score
    boxes = _boxes_kernels(shape, earlier_status=True)
    if shape.form == "mean":
        return Work((rank, *boxes), logits + n * shape.maps_bytes)
    mean = _mean_kernel(shape, ordered)
    averaged = n * shape.top_k * shape.map_cells * _VALUE
    return Work((rank, mean, *boxes), logits + averaged)


def aggregate_work(shape: MapsShape) -> Work:
    """`AggregateMaps.run`: maps and scores to foreground maps."""
    n, logits = shape.images, shape.images * shape.classes * _VALUE
    rank = Kernel("rank_classes", logits, n * (shape.top_k + 3) * _VALUE)
    averaged = n * shape.top_k * shape.map_cells * _VALUE
    return Work((rank, _mean_kernel(shape, shape.top_k)), logits + averaged)


def boxes_work(shape: MapsShape) -> Work:
    """`MapsToBoxes.run`: foreground maps to records."""
    foreground = shape.images * shape.map_cells * _VALUE
    return Work(_boxes_kernels(shape, earlier_status=False), foreground)


def resize_work(
    frame: tuple[int, int], size: tuple[int, int], pixels: Literal["RGB", "NV12"]
) -> Work:
    """`ResizeFrame.run`: one whole frame (H, W) to the network's (h, w); tables are left out."""
    height, width = frame
    if pixels == "RGB":
        frame_bytes = 3 * height * width
    else:
        frame_bytes = height * width + 2 * ((height + 1) // 2) * ((width + 1) // 2)
    return Work((Kernel("resize_frame", frame_bytes, 3 * size[0] * size[1]),), frame_bytes)


def _mean_kernel(shape: MapsShape, ordered: int) -> Kernel:
    reads = shape.images * (ordered + shape.top_k * shape.map_cells) * _VALUE
    return Kernel("mean_of_maps", reads, shape.images * shape.map_cells * _VALUE)


def _boxes_kernels(shape: MapsShape, *, earlier_status: bool) -> tuple[Kernel, Kernel]:
    n, (height, width) = shape.images, shape.size
    tables = 3 * (height + width) * _VALUE  # two cells and a weight for each line of pixels
    bits = n * height * ((width + 31) // 32) * _VALUE
    statuses = n * (1 + earlier_status) * _VALUE
    found = n * (2 + _BOX_WORDS * shape.max_boxes) * _VALUE  # status, count, boxes
    return (
        Kernel("threshold_maps", n * shape.map_cells * _VALUE + tables, bits + n * _VALUE),
        Kernel("find_components", bits + statuses, found),
    )
