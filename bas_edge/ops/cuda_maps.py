"""From class maps to boxes on a GPU: the same definitions and the same bits as on the CPU.

Each class is made once for a shape, allocates what it needs on the device that is current then,
and afterwards only enqueues: run() neither allocates nor waits, on any stream, so it can be
captured into a CUDA graph. One run must be over before the next begins, as it is on one stream,
because they share the workspace. Addresses of device memory and stream handles are plain integers.
"""

from __future__ import annotations

from typing import Literal

from bas_edge.errors import InputError
from bas_edge.ops.arguments import check_count, check_size
from bas_edge.ops.boxes import Rule
from bas_edge.ops.cuda_module import native
from bas_edge.ops.cuda_records import record_words

__all__ = ["AggregateMaps", "LocalizeMaps", "MapsToBoxes"]

_MAX_IMAGES = 65535  # one grid axis
_MAX_CLASSES = 1 << 20
_MAX_CELLS = 1 << 20
_MAX_BOXES = 1024
_MAX_AREA = 1 << 30


class AggregateMaps:
    """`bas_edge.ops.aggregate_maps` on the device, for up to `max_images` images.

    Raises:
        InputError: A size is out of range.
        KernelError: No CUDA build, no driver, or no memory left.
    """

    def __init__(self, *, max_images: int, classes: int, cells: int, k: int) -> None:
        check_count("classes", classes, _MAX_CLASSES)
        self._op = native().AggregateMaps(
            check_count("max_images", max_images, _MAX_IMAGES),
            classes,
            check_count("cells", cells, _MAX_CELLS),
            check_count("k", k, classes),
        )
        self._max_images = max_images

    @property
    def status(self) -> int:
        """Address of [max_images] int32, for `raise_for_status` once run() is done."""
        return int(self._op.status)

    def run(self, *, maps: int, scores: int, images: int, foreground: int, stream: int) -> None:
        """Enqueue: float32 `maps` [N, C, cells] and `scores` [N, C] → `foreground` [N, cells]."""
        _check_images(images, self._max_images)
        self._op.run(maps, scores, images, foreground, stream)


class MapsToBoxes:
    """`maps_to_boxes`, `maps_to_masks` and `upsample_maps` of `bas_edge.ops` on the device.

    Raises:
        InputError: A size or option is out of range.
        KernelError: No CUDA build, no driver, or no memory left.
    """

    def __init__(
        self,
        *,
        max_images: int,
        map_size: tuple[int, int],
        size: tuple[int, int],
        rule: Rule = "fixed",
        min_area: int = 1,
        max_boxes: int = 1,
    ) -> None:
        self._op = native().MapsToBoxes(
            *_box_options(max_images, map_size, size, rule, min_area, max_boxes)
        )
        self._max_images = max_images
        self._stride = record_words(max_boxes)

    def run(
        self,
        *,
        foreground: int,
        threshold: float,
        images: int,
        records: int,
        stream: int,
        thresholds: int = 0,
        masks: int = 0,
    ) -> None:
        """Enqueue: float32 `foreground` [N, h, w] → int32 `records` [N, record_words].

        Args:
            foreground: Address of the maps.
            threshold: For all images, unless:
            thresholds: Address of [N] float32; 0 takes `threshold`.
            images: N, at most max_images.
            records: Address; see `read_records`. Label and score are not written.
            masks: Address of [N, H, W] bool for the largest component, or 0.
            stream: The cudaStream_t.
        """
        _check_images(images, self._max_images)
        self._op.run(
            foreground, thresholds, threshold, images, records, self._stride, masks, stream
        )

    def upsample(self, *, foreground: int, images: int, pixels: int, stream: int) -> None:
        """Enqueue: `foreground` [N, h, w] → float32 `pixels` [N, H, W]."""
        _check_images(images, self._max_images)
        self._op.upsample(foreground, images, pixels, stream)


class LocalizeMaps:
    """From a network's outputs to one record an image: rank, mean, threshold, components, box.

    Args:
        form: Which maps the network gives: "all", "selected" or "mean" (docs/graph.md).
        classes: C of the logits.
        maps: Maps an image: C, K or 1.
        top_k: How many are averaged, 1 to `maps`.
        threshold: As for `maps_to_boxes`.

    Raises:
        InputError: A size or option is out of range.
        KernelError: No CUDA build, no driver, or no memory left.
    """

    def __init__(
        self,
        *,
        form: Literal["all", "selected", "mean"],
        classes: int,
        maps: int,
        top_k: int,
        threshold: float,
        max_images: int,
        map_size: tuple[int, int],
        size: tuple[int, int],
        rule: Rule = "fixed",
        min_area: int = 1,
        max_boxes: int = 1,
    ) -> None:
        check_count("classes", classes, _MAX_CLASSES)
        check_count("maps", maps, classes)
        self._op = native().LocalizeMaps(
            form,
            classes,
            maps,
            check_count("top_k", top_k, maps),
            threshold,
            *_box_options(max_images, map_size, size, rule, min_area, max_boxes),
        )
        self._max_images = max_images
        self._stride = record_words(max_boxes)
        self._form = form

    @property
    def foreground(self) -> int:
        """Address of [max_images, h, w] float32, the averaged maps of the last run.

        0 with the form "mean", where the network's own output is the foreground.
        """
        return 0 if self._form == "mean" else int(self._op.foreground)

    def run(
        self, *, logits: int, maps: int, images: int, records: int, stream: int, masks: int = 0
    ) -> None:
        """Enqueue: float32 `logits` [N, C] and `maps` [N, maps, h, w] → `records`.

        `masks`, if not 0, is the address of [N, H, W] bool.
        """
        _check_images(images, self._max_images)
        self._op.run(logits, maps, images, records, self._stride, masks, stream)


def _box_options(
    max_images: int,
    map_size: tuple[int, int],
    size: tuple[int, int],
    rule: Rule,
    min_area: int,
    max_boxes: int,
) -> tuple[int | bool, ...]:
    if rule not in ("fixed", "mean"):
        raise InputError(f"rule must be 'fixed' or 'mean', not {rule!r}.")
    height, width = check_size(size)
    map_height, map_width = check_size(map_size)
    return (
        check_count("max_images", max_images, _MAX_IMAGES),
        map_height,
        map_width,
        height,
        width,
        rule == "mean",
        check_count("min_area", min_area, _MAX_AREA),
        check_count("max_boxes", max_boxes, _MAX_BOXES),
    )


def _check_images(images: int, most: int) -> None:
    if not 0 <= images <= most:
        raise InputError(f"images is {images}, but this was made for 0 to {most}.")
