"""`Localizer.localization_of` cuts a map as `run` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bas_edge import Localizer, Timing
from bas_edge.errors import InputError

SIZE = (48, 80)
MAP = np.zeros((8, 8), np.float32)
MAP[2:5, 1:4] = 1
SCORES = np.array([0.2, 0.5, 0.3], np.float32)


@pytest.fixture
def localizer(tiny_onnx: Callable[..., Path], tmp_path: Path) -> Iterator[Localizer]:
    with Localizer(tiny_onnx(tmp_path / "tiny.onnx", min_score=0.4), threads=1) as opened:
        yield opened


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "centre_crop"])
@pytest.mark.parametrize("max_boxes", [1, 5])
def test_it_gives_what_run_gave(
    tiny_onnx: Callable[..., Path], tmp_path: Path, resize: str, max_boxes: int
) -> None:
    model = tiny_onnx(tmp_path / "tiny.onnx", resize=resize, min_score=0.9)
    random = np.random.default_rng(0)
    found = []
    with Localizer(model, threads=1, max_boxes=max_boxes) as localizer:
        for _ in range(30):
            blocks = random.integers(0, 255, (6, 10, 3), dtype=np.uint8)
            seen = localizer.run(blocks.repeat(8, axis=0).repeat(8, axis=1))
            again = localizer.localization_of(
                seen.map, seen.scores, seen.frame_size, timing=seen.timing
            )
            assert again.to_dict() == seen.to_dict()
            assert again.boxes == seen.boxes
            np.testing.assert_array_equal(again.mask(), seen.mask())
            found.append(seen.found)
    assert 0 < sum(found) < 30


def test_the_caller_may_decide_label_and_found(localizer: Localizer) -> None:
    plain = localizer.localization_of(MAP, SCORES, SIZE)
    assert (plain.label, plain.class_name, plain.score, plain.found) == (1, "b", 0.5, True)
    assert plain.timing == Timing(0, 0, 0)
    third = localizer.localization_of(MAP, SCORES, SIZE, label=2)
    assert (third.label, third.class_name, third.found) == (2, "c", False)  # 0.3 is under 0.4
    assert third.score == np.float32(0.3)
    kept = localizer.localization_of(MAP, SCORES, SIZE, label=2, found=True)
    assert (kept.found, kept.box) == (True, plain.box)
    lost = localizer.localization_of(MAP, SCORES, SIZE, found=False)
    assert (lost.found, lost.box) == (False, (0, 0, 80, 48))


def test_a_flat_map_has_nothing_to_find(localizer: Localizer) -> None:
    assert not localizer.localization_of(0 * MAP, SCORES, SIZE, found=True).found


def test_it_works_after_close(localizer: Localizer) -> None:
    localizer.close()
    assert localizer.localization_of(MAP, SCORES, SIZE).found


def test_what_it_refuses(localizer: Localizer) -> None:
    with pytest.raises(InputError, match=r"scores have the shape \[2\], but this engine has 3"):
        localizer.localization_of(MAP, SCORES[:2], SIZE)
    with pytest.raises(InputError, match="There is no class 3: this engine has 3"):
        localizer.localization_of(MAP, SCORES, SIZE, label=3)
    with pytest.raises(InputError, match="float32"):
        localizer.localization_of(MAP.astype(float), SCORES, SIZE)
    with pytest.raises(InputError, match="holds NaN or Inf"):
        localizer.localization_of(MAP * np.float32(np.nan), SCORES, SIZE)
