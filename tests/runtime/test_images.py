from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bas_edge.errors import InputError
from bas_edge.images import decode_image, image_files, missing_files, read_image, rgb_pixels

# A 2×3 picture with six different pixels, so that every turn and mirror shows.
PIXELS = np.array(
    [
        [[255, 0, 0], [0, 255, 0], [0, 0, 255]],
        [[255, 255, 0], [0, 255, 255], [30, 60, 90]],
    ],
    np.uint8,
)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_plain_rgb_is_not_converted(tmp_path: Path) -> None:
    decoded = decode_image(save(tmp_path / "a.png", Image.fromarray(PIXELS)))
    np.testing.assert_array_equal(decoded.pixels, PIXELS)
    assert decoded.pixels.flags.c_contiguous
    assert decoded.pixels.flags.writeable
    assert (decoded.original_mode, decoded.converted, decoded.rotated) == ("RGB", False, False)


def test_bytes_and_strings_are_sources(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(PIXELS))
    np.testing.assert_array_equal(read_image(path.read_bytes()), PIXELS)
    np.testing.assert_array_equal(read_image(str(path)), PIXELS)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "png"), ("1", "png"), ("P", "png"), ("CMYK", "tif"), ("YCbCr", "jpg"), ("LAB", "tif")],
)
def test_other_modes_are_converted_as_pillow_does(tmp_path: Path, mode: str, suffix: str) -> None:
    image = Image.fromarray(PIXELS).convert("RGB")
    if mode == "LAB":
        image = Image.frombytes("LAB", image.size, PIXELS.tobytes())
    else:
        image = image.convert(mode)
    path = save(tmp_path / f"a.{suffix}", image)
    with Image.open(path) as stored:
        mode_on_disk, expected = stored.mode, np.asarray(stored.convert("RGB"))
    decoded = decode_image(path)
    np.testing.assert_array_equal(decoded.pixels, expected)
    assert decoded.original_mode == mode_on_disk
    assert decoded.converted == (mode_on_disk != "RGB")


def test_grey_is_repeated(tmp_path: Path) -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3) * 50
    decoded = decode_image(save(tmp_path / "a.png", Image.fromarray(grey)))
    np.testing.assert_array_equal(decoded.pixels, np.repeat(grey[:, :, None], 3, axis=2))


def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path) -> None:
    wide = np.array([[0, 128, 129, 257], [32768, 65278, 65407, 65535]], np.uint16)
    expected = [[0, 0, 1, 1], [128, 254, 255, 255]]
    for suffix in ("png", "tif"):
        decoded = decode_image(save(tmp_path / f"a.{suffix}", Image.fromarray(wide)))
        assert decoded.pixels[:, :, 0].tolist() == expected
        assert decoded.original_mode.startswith("I")
        assert decoded.converted
    big_endian = Image.frombytes("I;16B", (4, 2), wide.astype(">u2").tobytes())
    assert rgb_pixels(big_endian)[:, :, 1].tolist() == expected
    thirty_two = Image.fromarray(wide.astype(np.int32))
    assert thirty_two.mode == "I"
    assert rgb_pixels(thirty_two)[:, :, 2].tolist() == expected


def transparent(mode: str) -> Image.Image:
    """Left: opaque (200, 200, 200). Middle: half of it. Right: fully transparent black."""
    level = Image.fromarray(np.array([[200, 200, 0]], np.uint8))
    alpha = Image.fromarray(np.array([[255, 128, 0]], np.uint8))
    return Image.merge(mode, [level] * (len(mode) - 1) + [alpha])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_laid_on_white(tmp_path: Path, mode: str) -> None:
    decoded = decode_image(save(tmp_path / "a.png", transparent(mode)))
    half = 200 * 128 / 255 + 255 * 127 / 255
    # Pillow rounds each product and their sum: one step at most.
    assert decoded.pixels[0, :, 0].tolist() == pytest.approx([200, half, 255], abs=1)
    assert (decoded.original_mode, decoded.converted) == (mode, True)


def test_a_palette_and_rgb_with_a_transparent_colour(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    path = save(tmp_path / "p.png", palette, transparency=1)
    assert read_image(path).tolist() == [[[10, 20, 30], [255, 255, 255]]]

    keyed = Image.fromarray(np.array([[[10, 20, 30], [0, 0, 0]]], np.uint8))
    path = save(tmp_path / "k.png", keyed, transparency=(0, 0, 0))
    decoded = decode_image(path)
    assert decoded.pixels.tolist() == [[[10, 20, 30], [255, 255, 255]]]
    assert (decoded.original_mode, decoded.converted) == ("RGB", True)


UPRIGHT = {  # EXIF orientation → what the stored pixels must become
    1: PIXELS,
    2: PIXELS[:, ::-1],
    3: PIXELS[::-1, ::-1],
    4: PIXELS[::-1],
    5: PIXELS.transpose(1, 0, 2),
    6: np.rot90(PIXELS, -1),
    7: PIXELS[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(PIXELS),
}


@pytest.mark.parametrize("orientation", [*UPRIGHT, 0, 9])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", Image.fromarray(PIXELS), exif=exif)
    decoded = decode_image(path)
    np.testing.assert_array_equal(decoded.pixels, UPRIGHT.get(orientation, PIXELS))
    assert decoded.rotated == (2 <= orientation <= 8)
    assert not decoded.converted
    assert decoded.pixels.flags.c_contiguous


def jpeg(**options: object) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(stream, "JPEG", **options)
    return stream.getvalue()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_damaged_exif_does_not_cost_the_image() -> None:
    exif = b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"
    decoded = decode_image(jpeg(exif=exif))
    assert decoded.pixels.shape == (64, 64, 3)
    assert not decoded.rotated


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_truncated_jpeg_is_named(tmp_path: Path, keep: float) -> None:
    content = jpeg()
    path = tmp_path / "torn.jpg"
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(InputError, match=r"torn\.jpg is damaged and cannot be decoded") as caught:
        read_image(path)
    assert caught.value.exit_code == 2


def test_a_truncated_png_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "torn.png", Image.fromarray(PIXELS.repeat(40, axis=0)))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"torn\.png is damaged"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.jpg is (not an image|damaged)"):
        read_image(path)


def test_missing_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No such image: .*none\.jpg"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(InputError, match=r"Cannot read .*: Is a directory"):
        read_image(tmp_path)


@pytest.mark.parametrize("pixels", [99, 40])  # Pillow warns above the limit, and raises above twice
def test_a_decompression_bomb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: int
) -> None:
    path = save(tmp_path / "bomb.png", Image.new("RGB", (10, 10)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
    with pytest.raises(InputError, match=r"bomb\.png is too large to decode safely"):
        read_image(path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_where_warnings_are_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "bomb.png", Image.new("RGB", (10, 10)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 99)
    with pytest.raises(InputError, match="it claims 10 × 10 pixels, the limit is 99"):
        read_image(path)


def test_floating_point_samples_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(np.zeros((2, 2), np.float32)))
    with pytest.raises(InputError, match="floating-point samples"):
        read_image(path)


# Naming files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ["b.JPG", "a.png", "note.txt", "deep/er/c.webp", ".hidden/d.png", ".e.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def names(files: list[Path], root: Path) -> list[str]:
    return [file.relative_to(root).as_posix() for file in files]


def test_a_folder_gives_its_images_sorted(tree: Path) -> None:
    assert names(image_files(tree), tree) == ["a.png", "b.JPG", "deep/er/c.webp"]


def test_a_folder_under_a_hidden_one_is_not_hidden(tree: Path) -> None:
    assert names(image_files(tree / ".hidden"), tree) == [".hidden/d.png"]


def test_globs(tree: Path) -> None:
    assert names(image_files(f"{tree}/*.png"), tree) == ["a.png"]
    assert names(image_files(f"{tree}/**/*.webp"), tree) == ["deep/er/c.webp"]
    assert names(image_files(f"{tree}/[ab].*"), tree) == ["a.png", "b.JPG"]


def test_one_file_is_taken_whatever_its_name(tree: Path) -> None:
    assert image_files(tree / "note.txt") == [tree / "note.txt"]


def test_a_file_whose_name_looks_like_a_glob(tree: Path) -> None:
    odd = tree / "x[1].png"
    odd.write_bytes(b"")
    assert image_files(odd) == [odd]


@pytest.mark.parametrize("pattern", ["*.bmp", "*.txt"])
def test_a_glob_without_images(tree: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="No images in"):
        image_files(f"{tree}/{pattern}")


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No images in") as caught:
        image_files(tmp_path)
    assert ".jpg" in str(caught.value.hint)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or folder"):
        image_files(os.fspath(tmp_path / "none"))


def test_links_to_files_are_images_and_links_to_nothing_are_not(tree: Path) -> None:
    (tree / "link.png").symlink_to("a.png")
    (tree / "lost.png").symlink_to("gone.png")
    assert names(image_files(tree), tree) == ["a.png", "b.JPG", "deep/er/c.webp", "link.png"]


def test_a_folder_that_cannot_be_listed_is_named(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images would otherwise be left out without a word."""
    real = os.scandir

    def scandir(path: Path) -> Iterator[os.DirEntry[str]]:
        if path == tree / "deep":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=r"Cannot read the folder .*/deep: Permission denied"):
        image_files(tree)


def test_files_that_are_not_there(tree: Path) -> None:
    (tree / "link.png").symlink_to("a.png")
    (tree / "lost.png").symlink_to("gone.png")
    (tree / "folder.png").mkdir()
    there = [tree / name for name in ("a.png", "deep/er/c.webp", "link.png")]
    gone = [tree / name for name in ("A.png", "lost.png", "no/a.png", "folder.png")]
    assert missing_files([*there, *gone]) == gone


def test_a_million_files_are_not_asked_for_one_by_one(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(path: Path) -> bool:
        raise AssertionError(path)

    monkeypatch.setattr(Path, "is_file", asked)
    assert missing_files([tree / "a.png", tree / "b.JPG", tree / "deep/er/c.webp"]) == []
