from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bas_edge
from bas_edge.errors import InputError

CLASSES = ("red", "green", "blue", "grey", "odd")
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture
def model(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> Callable[..., Path]:
    def write(**options: Any) -> Path:
        return tiny_onnx(tmp_path / "m.onnx", **{"classes": CLASSES, **options})

    return write


def noise(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def test_colour_order(model: Callable[..., Path], graphs: ModuleType) -> None:
    frame = graphs.coloured_frame((48, 48), (12, 12, 36, 36), (255, 0, 0))
    reversed_frame = frame[:, :, ::-1]
    with bas_edge.Localizer(model()) as localizer:
        rgb = localizer.run(frame)
        bgr = localizer.run(reversed_frame, color="bgr")
        assert rgb.class_name == bgr.class_name == "red"
        assert localizer.run(frame, color="bgr").class_name == "blue"
        np.testing.assert_array_equal(rgb.map, bgr.map)
        for batch in ([frame] * 3, [reversed_frame] * 3):
            color = "rgb" if batch[0] is frame else "bgr"
            for result in localizer.run_batch(batch, color=color):
                assert result.class_name == "red"


def test_an_unknown_colour_order(model: Callable[..., Path]) -> None:
    with (
        bas_edge.Localizer(model()) as localizer,
        pytest.raises(InputError, match="Unknown color order 'RGB'"),
    ):
        localizer.run(noise((8, 8)), color="RGB")


def test_strided_read_only_and_pillow_frames_are_the_same_frame(
    model: Callable[..., Path],
) -> None:
    frame = noise((33, 57))
    frame.setflags(write=False)
    planes = np.ascontiguousarray(frame.transpose(2, 0, 1))
    wide = np.zeros((33, 114, 3), np.uint8)
    wide[:, ::2] = frame
    with bas_edge.Localizer(model()) as localizer:
        expected = localizer.run(frame).map
        variants = [planes.transpose(1, 2, 0), wide[:, ::2], Image.fromarray(frame)]
        for variant in variants:
            np.testing.assert_array_equal(localizer.run(variant).map, expected)
        # A Pillow image knows its own order, whatever `color` says of the arrays beside it.
        mixed = localizer.run_batch([frame[:, :, ::-1], Image.fromarray(frame)], color="bgr")
    for result in mixed:
        np.testing.assert_allclose(result.map, expected, rtol=1e-5, atol=1e-6)


BAD_FRAMES = [
    (None, "is None; it must be a uint8 array", "cv2.imread"),
    ([[1, 2, 3]], "is a builtins.list", "numpy.asarray"),
    (np.zeros((4, 4, 3), np.float32), "has dtype float32", "astype('uint8')"),
    (np.zeros((4, 4, 3), np.int8), "has dtype int8", "astype('uint8')"),
    (np.zeros((4, 4), np.uint8), r"has shape \[4, 4\]", "numpy.repeat"),
    (np.zeros((4, 4, 4), np.uint8), r"has shape \[4, 4, 4\]", "frame[:, :, :3]"),
    (np.zeros((3, 4, 4), np.uint8), r"has shape \[3, 4, 4\]", "transpose(1, 2, 0)"),
    (np.zeros((2, 4, 4, 3), np.uint8), r"has shape \[2, 4, 4, 3\]", "run_batch"),
    (np.zeros((0, 4, 3), np.uint8), r"is empty: its shape is \[0, 4, 3\]", None),
    (np.zeros((4, 0, 3), np.uint8), "is empty", None),
]


@pytest.mark.parametrize(("frame", "message", "hint"), BAD_FRAMES)
def test_a_frame_of_the_wrong_kind(
    model: Callable[..., Path], frame: Any, message: str, hint: str | None
) -> None:
    with bas_edge.Localizer(model()) as localizer:
        with pytest.raises(InputError, match=f"The frame {message}") as caught:
            localizer.run(frame)
        assert (hint is None) or hint in str(caught.value.hint)
        with pytest.raises(InputError, match=f"Frame 1 {message}"):
            localizer.run_batch([noise((8, 8)), frame])
        assert localizer.run(noise((8, 8))).frame_size == (8, 8), "still usable"
