"""scores_to_masks for one image: 21 classes, 56 x 56 -> 448 x 448, mask and a box of each class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..harness import Answer, Comparison, Session, WrongAnswerError

__all__ = ["CASE", "example_scores"]

CLASSES = 21
CELLS = 56
SIZE = (448, 448)
OBJECTS = 3
INPUTS = 8
ROUNDING = 1e-5
"""Of all pixels, how many may lie so close to a border that the last bits of a float decide."""


class MaskAndBoxes(NamedTuple):
    """One answer. NumPy makes one array of it, outside the timed part."""

    mask: NDArray[np.uint8]  # [H, W]
    boxes: NDArray[np.int32]  # [K, 4]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.int32]:
        return np.concatenate([self.mask.reshape(-1), self.boxes.reshape(-1)], dtype=np.int32)


def example_scores(seed: int) -> NDArray[np.float32]:
    """[1, K, h, w] as a segmenter gives: objects with soft edges before background, and grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:CELLS, 0:CELLS].astype(np.float32)
    scores = rng.normal(-2, 1, (CLASSES, 1, 1)) + rng.normal(0, 0.5, (CLASSES, CELLS, CELLS))
    scores[0] += 6
    for label in rng.choice(np.arange(1, CLASSES), OBJECTS, replace=False):
        cx, cy = rng.uniform(8, CELLS - 8, 2)
        reach = rng.uniform(5, 16)
        scores[label] += np.maximum(12 - 8 * np.hypot(x - cx, y - cy) / reach, 0)
    return scores.astype(np.float32)[None]


def _ours(_: Path) -> Session:
    from bas_edge import ops

    examples = [example_scores(seed) for seed in range(INPUTS)]

    def call(index: int) -> Answer:
        found = ops.scores_to_masks(examples[index], SIZE)
        return Answer(MaskAndBoxes(found.masks[0], found.boxes[0]))

    return call


def _torch(_: Path) -> Session:
    import torch

    torch.set_num_threads(CASE.threads)
    examples = [torch.from_numpy(example_scores(seed)) for seed in range(INPUTS)]

    def to_mask(index: int) -> NDArray[np.uint8]:
        scores = torch.nn.functional.interpolate(examples[index], SIZE, mode="bilinear")
        mask: NDArray[np.uint8] = scores.argmax(dim=1)[0].to(torch.uint8).numpy()
        return mask

    return _boxed_by_opencv(to_mask)


def _opencv(_: Path) -> Session:
    import cv2

    examples = [example_scores(seed)[0] for seed in range(INPUTS)]

    def to_mask(index: int) -> NDArray[np.uint8]:
        linear = cv2.INTER_LINEAR
        scores = [cv2.resize(cells, SIZE[::-1], interpolation=linear) for cells in examples[index]]
        return np.stack(scores).argmax(axis=0).astype(np.uint8)

    return _boxed_by_opencv(to_mask)


def _boxed_by_opencv(to_mask: Callable[[int], NDArray[np.uint8]]) -> Session:
    import cv2

    cv2.setNumThreads(CASE.threads)

    def call(index: int) -> Answer:
        mask = to_mask(index)
        boxes = np.zeros((CLASSES, 4), np.int32)
        for label in np.flatnonzero(np.bincount(mask.reshape(-1))):
            inside = (mask == label).view(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
            x, y, width, height, _ = stats[1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))]
            boxes[label] = (x, y, x + width, y + height)
        return Answer(MaskAndBoxes(mask, boxes))

    return call


def _agree(answers: Mapping[str, NDArray[Any]]) -> str:
    ours, pixels = answers["ours"], SIZE[0] * SIZE[1]
    most = 0
    for name, others in answers.items():
        differing = int((others[:, :pixels] != ours[:, :pixels]).sum())
        if differing > ROUNDING * len(ours) * pixels:
            raise WrongAnswerError(f"{name}: {differing} pixels have another class than in ours")
        furthest = int(np.abs(others[:, pixels:] - ours[:, pixels:]).max())
        if furthest > 1:
            raise WrongAnswerError(f"{name}: a box is {furthest} pixels from ours")
        most = max(most, differing)
    return (
        f"the same class at all but {most} of {len(ours) * pixels} pixels on {len(ours)} inputs, "
        "boxes of all classes within a pixel"
    )


CASE = Comparison(
    name="scores_to_masks",
    summary="scores of 21 classes to a mask and boxes (56x56 to 448x448)",
    variants={"ours": _ours, "torch + OpenCV": _torch, "NumPy + OpenCV": _opencv},
    agree=_agree,
    inputs=INPUTS,
    threads=2,
    targets={"torch + OpenCV": 20.0, "NumPy + OpenCV": 20.0},
)
