"""Masks on the network's input: nearest pixels as OpenCV counts them, ignored ones, bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bas_edge.engine.manifest import InputPolicy, ResizePolicy
from bas_edge.errors import InputError
from bas_edge.framing import place
from bas_edge.mask_files import MaskFiles, network_mask

SQUARE = InputPolicy(height=4, width=4)


def save(path: Path, pixels: list[list[int]] | NDArray[np.uint8], mode: str = "L") -> Path:
    Image.fromarray(np.array(pixels, np.uint8)).convert(mode).save(path)
    return path


def read(*instances: Path, ignore: Path | None = None, votes: bool = False) -> list[list[int]]:
    files = MaskFiles(instances, ignore, votes)
    found: list[list[int]] = network_mask(files, place((4, 4), SQUARE)).tolist()
    return found


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), out=st.tuples(*[st.integers(1, 40)] * 2)
)
@example(height=7, width=3, out=(3, 7))
@example(height=375, width=500, out=(224, 224))
def test_nearest_is_opencvs(
    height: int, width: int, out: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """wsolevaluation resizes masks with cv2.INTER_NEAREST."""
    cv2 = pytest.importorskip("cv2")
    noise = np.random.default_rng(height * 41 + width).integers(0, 2, (height, width))
    pixels = (255 * noise).astype(np.uint8)
    pixels[0, 0] = 255
    path = save(tmp_path_factory.mktemp("mask") / "m.png", pixels)
    policy = InputPolicy(height=out[0], width=out[1])
    found = network_mask(MaskFiles((path,)), place((height, width), policy))
    expected = cv2.resize(pixels, (out[1], out[0]), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(found, expected // 255)


def test_instances_are_united_and_foreground_is_never_ignored(tmp_path: Path) -> None:
    left = save(tmp_path / "left.png", [[255, 0], [0, 0]])
    below = save(tmp_path / "below.png", [[0, 0], [1, 0]])
    ignore = save(tmp_path / "ignore.png", [[255, 255], [255, 0]])
    assert read(left, below, ignore=ignore) == [
        [1, 1, 255, 255],
        [1, 1, 255, 255],
        [1, 1, 0, 0],
        [1, 1, 0, 0],
    ]


def test_half_of_the_annotators_and_more(tmp_path: Path) -> None:
    votes = save(tmp_path / "m.png", [[0, 102], [153, 255]])
    assert read(votes, votes=True) == [[0, 0, 0, 0]] * 2 + [[1, 1, 1, 1]] * 2


@pytest.mark.parametrize("mode", ["1", "LA", "RGB", "RGBA", "P"])
def test_modes_that_hold_black_and_white(mode: str, tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", [[0, 255], [0, 0]], mode)
    assert read(path) == [[0, 0, 1, 1]] * 2 + [[0, 0, 0, 0]] * 2


@pytest.mark.parametrize(
    ("resize", "rows"),
    [
        ("stretch", [[1, 1, 0, 0]] * 4),
        ("letterbox", [[255] * 4, [1, 1, 0, 0], [1, 1, 0, 0], [255] * 4]),
        ("centre_crop", [[1, 1, 0, 0]] * 4),
    ],
)
def test_resize_policies(resize: ResizePolicy, rows: list[list[int]], tmp_path: Path) -> None:
    """A frame of 4 × 8, object on its left half; what a letterbox adds is not measured."""
    path = save(tmp_path / "m.png", [[255] * 4 + [0] * 4] * 4)
    policy = InputPolicy(height=4, width=4, resize=resize)
    assert network_mask(MaskFiles((path,)), place((4, 8), policy)).tolist() == rows


@pytest.mark.parametrize(
    ("values", "named"),
    [([0, 7, 255], "7"), ([0, 1, 255], "1, 255"), ([3, 4, 5, 6], "3, 4, 5"), ([0, 15], "15")],
)
def test_unknown_values_are_refused_by_name(values: list[int], named: str, tmp_path: Path) -> None:
    path = save(tmp_path / "classes.png", [values])
    expected = rf"The mask .*classes\.png has pixels of value {named}; a mask holds 0 and either"
    with pytest.raises(InputError, match=expected):
        read(path)
    with pytest.raises(InputError, match=expected):
        read(save(tmp_path / "good.png", [[255]]), ignore=path)


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 65535]], np.uint16)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="has pixels of value 65535"):
        read(tmp_path / "m.png")


def test_no_foreground_no_file_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"empty\.png has no foreground"):
        read(save(tmp_path / "empty.png", [[0, 0]]))
    with pytest.raises(InputError, match=r"No such image: .*gone\.png"):
        read(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match=r"The mask .*text\.png cannot be read"):
        read(tmp_path / "text.png")
