"""Image files and Pillow images to uint8 RGB arrays."""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bas_edge.errors import InputError

__all__ = [
    "IMAGE_SUFFIXES",
    "DecodedImage",
    "decode_image",
    "image_bytes",
    "image_files",
    "missing_files",
    "orientation_of",
    "read_image",
    "rgb_pixels",
    "turned_upright",
]

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
)

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {  # EXIF orientation → what turns the stored pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """One decoded file.

    Attributes:
        pixels: [H, W, 3] uint8 RGB, upright, C-contiguous.
        original_mode: Pillow's name for what the file held, such as "RGB", "L" or "CMYK".
        converted: True unless the file held plain 8-bit RGB.
        rotated: True when EXIF orientation turned or mirrored it.
    """

    pixels: NDArray[np.uint8]
    original_mode: str
    converted: bool
    rotated: bool


def read_image(source: str | os.PathLike[str] | bytes) -> NDArray[np.uint8]:
    """Decode one image to [H, W, 3] uint8 RGB; see `decode_image` for what is converted."""
    return decode_image(source).pixels


def image_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of an image file, not decoded.

    Raises:
        InputError: It is missing or cannot be read.
    """
    name = os.fspath(path)
    try:
        return Path(name).read_bytes()
    except FileNotFoundError:
        raise InputError(f"No such image: {name}.", hint="Check the path.") from None
    except OSError as error:
        raise InputError(f"Cannot read {name}: {error.strerror}.") from error


def decode_image(source: str | os.PathLike[str] | bytes, *, name: str = "<bytes>") -> DecodedImage:
    """Decode one image file, or the bytes of one, to upright RGB; `name` is what messages call
    the bytes.

    Grey is repeated over the channels, palettes are looked up, CMYK is converted,
    16-bit samples keep their upper 8 bits (rounded), transparent pixels are laid on white, and
    EXIF orientation is applied. Colour profiles are ignored. Of an animation, the first frame.

    Raises:
        InputError: The file is missing, not an image, truncated, corrupt, or so large that
            decoding it could exhaust memory (`PIL.Image.MAX_IMAGE_PIXELS`). The message
            names the file.
    """
    if isinstance(source, bytes):
        stream = io.BytesIO(source)
    else:
        name, stream = os.fspath(source), io.BytesIO(image_bytes(source))
    try:
        with Image.open(stream) as image:
            _check_area(name, image.size)
            orientation = _orientation(image)
            image.load()
            pixels = rgb_pixels(image)
            mode = image.mode
            converted = mode != "RGB" or image.has_transparency_data
    except (MemoryError, InputError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, str(error)) from None
    except UnidentifiedImageError:
        raise InputError(
            f"{name} is not an image that Pillow can read.",
            hint="Remove it, or convert it to JPEG or PNG.",
        ) from None
    except Exception as error:  # decoders of corrupt files raise whatever they trip over
        raise InputError(
            f"{name} is damaged and cannot be decoded: {error}.",
            hint="Remove the file or fetch it again.",
        ) from error
    return DecodedImage(
        turned_upright(pixels, orientation), mode, converted, orientation in _UPRIGHT
    )


def orientation_of(path: str | os.PathLike[str]) -> int:
    """The EXIF orientation that `decode_image` undoes, 1 to 8, from the file's head; 1 is upright,
    and what a file has that says nothing or cannot be read.
    """
    try:
        with Image.open(path) as image:
            found = _orientation(image)
    except Exception:  # noqa: BLE001  (whoever decodes it says what is wrong)
        return 1
    return found if found in _UPRIGHT else 1


def turned_upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Stored pixels [H, W] or [H, W, 3] as their EXIF orientation shows them."""
    if orientation not in _UPRIGHT:
        return pixels
    return np.array(Image.fromarray(pixels).transpose(_UPRIGHT[orientation]))


def rgb_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels of a Pillow image of any mode as [H, W, 3] uint8 RGB, orientation untouched."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return np.array(image)
    if image.mode.startswith("I"):  # 16-bit files; older Pillow widens them to 32-bit "I"
        wide = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        grey = ((wide + 128) // 257).astype(np.uint8)  # 65535 = 255 · 257
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise InputError(
            "The image holds floating-point samples, whose range is unknown.",
            hint="Save it as an 8-bit or 16-bit image first.",
        )
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return np.array(Image.alpha_composite(white, layer).convert("RGB"))
    return np.array(image.convert("RGB"))


def image_files(source: str | os.PathLike[str]) -> list[Path]:
    """The image files that `source` names, sorted: one file, a folder (with all its
    subfolders) or a glob pattern (`**` crosses folders). Hidden files are left out.

    Raises:
        InputError: Nothing is there, or no file in it has one of IMAGE_SUFFIXES.
    """
    text = os.fspath(source)
    path = Path(text)
    if path.is_file():
        return [path]
    if path.is_dir():
        images = sorted(_below(path))
    elif glob.has_magic(text):
        found = [Path(file) for file in glob.glob(text, recursive=True)]  # noqa: PTH207  (Path has no absolute globs)
        images = sorted(f for f in found if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file())
    else:
        raise InputError(f"No such file or folder: {text}.", hint="Check the path.")
    if not images:
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"No images in {text}.", hint=f"Looked for files ending in {suffixes}")
    return images


def missing_files(paths: Iterable[Path]) -> list[Path]:
    """Those that are not there.

    Each folder is listed once, and no single file asked for: a set may have a million, far away.
    """
    listed: dict[Path, frozenset[str]] = {}
    missing = []
    for path in paths:
        folder = path.parent
        if folder not in listed:
            listed[folder] = _plain_files(folder)
        if path.name not in listed[folder] and not path.is_file():  # a link, or in another case
            missing.append(path)
    return missing


def _plain_files(folder: Path) -> frozenset[str]:
    """Names of the files of a folder, without links."""
    try:
        with os.scandir(folder) as listing:
            return frozenset(one.name for one in listing if one.is_file(follow_symlinks=False))
    except OSError:  # then each file is asked for
        return frozenset()


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 when absent or when the EXIF block itself is damaged."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001  (broken EXIF is common, and the pixels are fine)
        return 1
    return value if isinstance(value, int) else 1


def _check_area(name: str, size: tuple[int, int]) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and size[0] * size[1] > limit:
        raise _too_large(name, f"it claims {size[0]} × {size[1]} pixels, the limit is {limit}")


def _too_large(name: str, detail: str) -> InputError:
    return InputError(
        f"{name} is too large to decode safely: {detail.rstrip('.')}.",
        hint="Scale it down first, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file.",
    )


def _below(folder: Path) -> Iterator[Path]:
    """The image files in a folder and its subfolders, in no order; links to folders are left out.

    What a folder's listing says of its entries is believed, as sets have a million of them.
    """
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                if entry.name.startswith("."):
                    continue
                path = folder / entry.name
                if entry.is_dir(follow_symlinks=False):
                    yield from _below(path)
                elif path.suffix.lower() in IMAGE_SUFFIXES and entry.is_file():
                    yield path
    except OSError as error:
        raise InputError(f"Cannot read the folder {folder}: {error.strerror}.") from error
