"""The CUDA ops on what networks give, on inputs like a trained model's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge import ops
from bas_edge.backends.device import DeviceBuffer
from bas_edge.ops import cuda

from .cases.maps_to_boxes import THRESHOLD, example_maps
from .gpu_counts import MapsShape, aggregate_work, boxes_work, localize_work
from .gpu_inputs import Arrays
from .gpu_op import GpuOp

__all__ = ["AggregateOp", "BoxesOp", "LocalizeOp"]

_DISTINCT = 16  # different images; further ones repeat them


class _MapsOp(GpuOp):
    """What ops on the outputs of a network share."""

    def __init__(self, shape: MapsShape) -> None:
        self.shape = shape
        self.title = shape.title

    def _contents(self) -> list[Arrays]:
        shape = self.shape
        count = min(_DISTINCT, shape.images) if shape.images > 1 else _DISTINCT
        examples = [example_maps(seed, shape.classes) for seed in range(count)]
        places = [np.arange(shape.images) + first for first in range(count)]
        if shape.images > 1:
            places = places[:2]  # each holds all examples; in another order
        maps = np.concatenate([self._outputs(*example) for example in examples])
        scores = np.concatenate([example[1] for example in examples])
        return [{"maps": maps[p % count], "logits": scores[p % count]} for p in places]

    def _outputs(
        self, maps: NDArray[np.float32], scores: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """What a network of this form gives where one of form "all" gives `maps`."""
        if self.shape.form == "all":
            return maps
        if self.shape.form == "selected":
            best = np.argsort(-scores[0], kind="stable")[: self.shape.top_k]
            return maps[:, best]
        return ops.aggregate_maps(maps, scores, self.shape.top_k)[:, None]

    def _foreground(self, content: Arrays) -> NDArray[np.float32]:
        """The CPU's mean of the best maps, [N, h, w]."""
        maps, logits, k = content["maps"], content["logits"], self.shape.top_k
        if self.shape.form == "mean":
            return maps[:, 0]
        if self.shape.form == "selected":  # best first already
            logits = np.tile(-np.arange(k, dtype=np.float32), (len(maps), 1))
        return ops.aggregate_maps(maps, logits, k)


class LocalizeOp(_MapsOp):
    """`LocalizeMaps`: what the runtime runs after the network."""

    name = "localize_maps"

    def __init__(self, shape: MapsShape) -> None:
        super().__init__(shape)
        self.work = localize_work(shape)

    def _result_bytes(self) -> int:
        return 4 * self.shape.images * cuda.record_words(self.shape.max_boxes)

    def _make(self) -> cuda.LocalizeMaps:
        shape = self.shape
        return cuda.LocalizeMaps(
            form=shape.form,
            classes=shape.classes,
            maps=shape.maps,
            top_k=1 if shape.form == "mean" else shape.top_k,
            threshold=THRESHOLD,
            max_images=shape.images,
            map_size=shape.cells,
            size=shape.size,
            max_boxes=shape.max_boxes,
        )

    def _run(self, op: cuda.LocalizeMaps, at: int, result: DeviceBuffer, stream: int) -> None:
        op.run(
            logits=self.inputs.address(at, "logits"),
            maps=self.inputs.address(at, "maps"),
            images=self.shape.images,
            records=result.address,
            stream=stream,
        )

    def _expected(self, content: Arrays) -> tuple[NDArray[Any], ops.Boxes]:
        boxes = ops.maps_to_boxes(self._foreground(content), self.shape.size, THRESHOLD)
        return content["logits"].argmax(axis=1), boxes

    def _compare(self, at: int, expected: tuple[NDArray[Any], ops.Boxes]) -> None:
        records = _records(self)
        self.require(at, "the labels", records.labels, expected[0])
        _require_boxes(self, at, records.boxes, expected[1])


class AggregateOp(_MapsOp):
    """`AggregateMaps`: the first two launches of `LocalizeMaps` with the form "all"."""

    name = "aggregate_maps"

    def __init__(self, shape: MapsShape) -> None:
        super().__init__(shape)
        self.work = aggregate_work(shape)

    def _result_bytes(self) -> int:
        return 4 * self.shape.images * self.shape.map_cells

    def _make(self) -> cuda.AggregateMaps:
        shape = self.shape
        return cuda.AggregateMaps(
            max_images=shape.images, classes=shape.classes, cells=shape.map_cells, k=shape.top_k
        )

    def _run(self, op: cuda.AggregateMaps, at: int, result: DeviceBuffer, stream: int) -> None:
        op.run(
            maps=self.inputs.address(at, "maps"),
            scores=self.inputs.address(at, "logits"),
            images=self.shape.images,
            foreground=result.address,
            stream=stream,
        )

    def _expected(self, content: Arrays) -> NDArray[np.float32]:
        return self._foreground(content)

    def _compare(self, at: int, expected: NDArray[np.float32]) -> None:
        got = self.download(expected.shape, np.float32)
        self.require(at, "the maps", got.view(np.int32), expected.view(np.int32))


class BoxesOp(_MapsOp):
    """`MapsToBoxes`: the last two launches of `LocalizeMaps`."""

    name = "maps_to_boxes"

    def __init__(self, shape: MapsShape) -> None:
        super().__init__(shape)
        self.work = boxes_work(shape)
        self.title = f"N={shape.images}"

    def _contents(self) -> list[Arrays]:
        return [{"foreground": self._foreground(content)} for content in super()._contents()]

    def _result_bytes(self) -> int:
        return 4 * self.shape.images * cuda.record_words(self.shape.max_boxes)

    def _make(self) -> cuda.MapsToBoxes:
        shape = self.shape
        return cuda.MapsToBoxes(
            max_images=shape.images,
            map_size=shape.cells,
            size=shape.size,
            max_boxes=shape.max_boxes,
        )

    def _run(self, op: cuda.MapsToBoxes, at: int, result: DeviceBuffer, stream: int) -> None:
        op.run(
            foreground=self.inputs.address(at, "foreground"),
            threshold=THRESHOLD,
            images=self.shape.images,
            records=result.address,
            stream=stream,
        )

    def _expected(self, content: Arrays) -> ops.Boxes:
        return ops.maps_to_boxes(content["foreground"], self.shape.size, THRESHOLD)

    def _compare(self, at: int, expected: ops.Boxes) -> None:
        _require_boxes(self, at, _records(self).boxes, expected)


def _records(op: LocalizeOp | BoxesOp) -> cuda.Records:
    shape = op.shape
    words = op.download((shape.images, cuda.record_words(shape.max_boxes)), np.int32)
    records = cuda.read_records(words, shape.max_boxes)
    cuda.raise_for_status(records.status)
    return records


def _require_boxes(op: GpuOp, at: int, got: ops.Boxes, expected: ops.Boxes) -> None:
    op.require(at, "the boxes", got.boxes, expected.boxes)
    op.require(at, "the areas", got.areas, expected.areas)
    op.require(at, "the counts", got.count, expected.count)
