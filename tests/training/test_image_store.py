from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bas_edge.images import read_image
from bas_edge.ops import resize_frame
from bas_edge_training.image_store import ImageStore, cache_budget


def test_pixels_are_stretched_by_resize_frame(image_folder: Path) -> None:
    path = image_folder / "ant" / "0.png"
    pixels = ImageStore([path], 32, 0).pixels(0)
    assert pixels is not None
    np.testing.assert_array_equal(pixels, resize_frame(read_image(path), (32, 32)))


def test_only_as_many_as_fit_are_kept(image_folder: Path) -> None:
    paths = sorted(image_folder.glob("ant/*"))
    store = ImageStore(paths, 32, budget_bytes=2 * 32 * 32 * 3)
    first = [store.pixels(i) for i in range(4)]
    again = [store.pixels(i) for i in range(4)]
    assert [a is b for a, b in zip(first, again, strict=True)] == [True, True, False, False]


def test_corrupt_image_is_named_once(image_folder: Path) -> None:
    good = sorted(image_folder.glob("ant/*"))
    bad = image_folder / "ant" / "broken.jpg"
    bad.write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    store = ImageStore([*good, bad], 32, 0)
    assert store.pixels(4) is None
    assert store.pixels(4) is None
    assert store.pixels(0) is not None
    assert list(store.skipped) == [str(bad)]
    assert "broken.jpg" in store.skipped[str(bad)]


def test_conversions_are_recorded(tmp_path: Path) -> None:
    picture = Image.fromarray(np.full((20, 30, 3), 77, np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "plain.png")
    picture.convert("L").save(tmp_path / "grey.png")
    picture.convert("CMYK").save(tmp_path / "turned.jpg", exif=exif)
    paths = [tmp_path / name for name in ("plain.png", "grey.png", "turned.jpg")]
    store = ImageStore(paths, 32, 0)
    for index in (0, 1, 2, 1):
        assert store.pixels(index) is not None
    assert store.converted == {str(paths[1]): "L", str(paths[2]): "CMYK rotated"}


def test_cache_budget() -> None:
    assert cache_budget("off") == 0
    assert 0 < cache_budget("auto") < cache_budget("on")


def test_cache_budget_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sysconf")
    assert cache_budget("auto") == 1 << 30
