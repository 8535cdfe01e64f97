"""aggregate_maps + maps_to_boxes for one image: C = 200, k = 80, 28 x 28 -> 224 x 224."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..harness import Answer, Comparison, Session, WrongAnswerError

__all__ = ["CASE", "example_maps"]

CLASSES = 200
TOP_K = 80
CELLS = 28
SIZE = (224, 224)
THRESHOLD = 0.25
INPUTS = 64


def example_maps(
    seed: int, classes: int = CLASSES
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Maps [1, C, h, w] and scores [1, C] that look like a trained model's.

    Each class sees the same object, a blob with a soft edge, through its own noise; some
    classes also see a smaller one elsewhere, so there is more than one component to compare.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:CELLS, 0:CELLS].astype(np.float32)

    def blob(reach: float) -> NDArray[Any]:
        cx, cy = rng.uniform(5, CELLS - 5, 2)
        rx, ry = rng.uniform(0.5, 1.0, 2) * reach
        return np.asarray(3 - 4 * np.hypot((x - cx) / rx, (y - cy) / ry))

    drift = rng.normal(0, 0.5, (classes, 1, 1))
    grain = rng.normal(0, 0.7, (classes, CELLS, CELLS))
    logits = np.maximum(blob(10), blob(4) - rng.uniform(0, 2)) + drift + grain
    maps = (1 / (1 + np.exp(-logits))).astype(np.float32)
    scores = rng.normal(0, 3, classes).astype(np.float32)
    return maps[None], scores[None]


def _ours(_: Path) -> Session:
    from bas_edge import ops

    examples = [example_maps(seed) for seed in range(INPUTS)]

    def call(index: int) -> Answer:
        maps, scores = examples[index]
        found = ops.maps_to_boxes(ops.aggregate_maps(maps, scores, TOP_K), SIZE, THRESHOLD)
        return Answer(found.boxes[0, 0])

    return call


def _published_by(function: str) -> Callable[[Path], Session]:
    def open_session(_: Path) -> Session:
        import cv2

        from .. import published

        cv2.setNumThreads(CASE.threads)
        to_box = getattr(published, function)
        examples = [example_maps(seed) for seed in range(INPUTS)]

        def call(index: int) -> Answer:
            maps, scores = examples[index]
            foreground = published.average_top_maps(maps[0], scores[0], TOP_K)
            return Answer(np.array(to_box(foreground, SIZE, THRESHOLD), dtype=np.int32))

        return call

    return open_session


def _agree(answers: Mapping[str, NDArray[Any]]) -> str:
    ours = answers["ours"]
    for name, boxes in answers.items():
        for index in range(len(ours)):
            if not np.array_equal(boxes[index], ours[index]):
                raise WrongAnswerError(
                    f"input {index}: {name} gives the box {boxes[index].tolist()}, "
                    f"ours gives {ours[index].tolist()}"
                )
    return f"identical boxes on {len(ours)} of {len(ours)} inputs"


CASE = Comparison(
    name="maps_to_boxes",
    summary="maps and scores to one box (C=200, k=80, 28x28 to 224x224)",
    variants={
        "ours": _ours,
        "published steps": _published_by("foreground_to_box"),
        "NumPy + OpenCV": _published_by("foreground_to_box_opencv"),
    },
    agree=_agree,
    inputs=INPUTS,
    threads=2,
    targets={"published steps": 30.0, "NumPy + OpenCV": 5.0},
)
