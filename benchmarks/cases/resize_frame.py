"""resize_frame on one camera frame: 1280 x 720 -> 224 x 224, one thread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..harness import Answer, Comparison, Session, WrongAnswerError

__all__ = ["CASE", "example_frame"]

HEIGHT, WIDTH = 720, 1280
SIZE = (224, 224)
INPUTS = 4


def example_frame(seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> NDArray[np.uint8]:
    """A frame [H, W, 3] with edges, gradients and noise: every filter tap matters."""
    rng = np.random.default_rng(seed)
    y = np.arange(size[0], dtype=np.float32)[:, None]
    x = np.arange(size[1], dtype=np.float32)
    frame = np.empty((*size, 3), np.float32)
    for channel in range(3):
        a, b, c = rng.uniform(10, 90, 3).astype(np.float32)
        stripes = 60 * np.sign(np.sin(x / a + y / b))
        frame[..., channel] = 128 + stripes + 40 * np.sin(x * y / (900 * c))
    frame += rng.integers(-25, 26, frame.shape, dtype=np.int8)
    return np.clip(frame, 0, 255).astype(np.uint8)


def _ours(_: Path) -> Session:
    from bas_edge import ops

    frames = [example_frame(seed) for seed in range(INPUTS)]
    return lambda index: Answer(ops.resize_frame(frames[index], SIZE))


def _pillow(_: Path) -> Session:
    height, width = SIZE
    images = [Image.fromarray(example_frame(seed)) for seed in range(INPUTS)]

    def call(index: int) -> Answer:
        return Answer(images[index].resize((width, height), Image.Resampling.BILINEAR))

    return call


def _agree(answers: Mapping[str, NDArray[Any]]) -> str:
    """Ours equals two one-axis resizes, and Pillow's own where it takes the same order."""
    height, width = SIZE
    for index, ours in enumerate(answers["ours"]):
        wide = Image.fromarray(example_frame(index))
        narrow = wide.resize((width, HEIGHT), Image.Resampling.BILINEAR)
        low = narrow.resize((width, height), Image.Resampling.BILINEAR)
        if not np.array_equal(np.asarray(low), ours):
            raise WrongAnswerError(f"frame {index}: ours differs from two one-axis Pillow resizes")
    difference = answers["ours"].astype(np.int16) - answers["Pillow"]
    if not difference.any():
        return "same bytes as Pillow"
    if np.abs(difference).max() > 2:
        raise WrongAnswerError("ours differs from Pillow by more than the order of passes can")
    return "same bytes as two one-axis Pillow resizes (Pillow goes vertically first on this shape)"


CASE = Comparison(
    name="resize_frame",
    summary="one 1280x720 frame to 224x224, one thread",
    variants={"ours": _ours, "Pillow": _pillow},
    agree=_agree,
    inputs=INPUTS,
    threads=1,
    targets={"Pillow": 3.0},
)
