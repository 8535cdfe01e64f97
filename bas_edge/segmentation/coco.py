"""COCO in its official folders: annotations/instances_SPLIT.json beside the folder SPLIT of images.

Labels are the categories of an image's annotations, crowds included, in the order of the JSON's
category ids. Masks are drawn from polygons and run lengths by pycocotools (extra: segmentation).
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge._require import require
from bas_edge.errors import InputError
from bas_edge.segmentation.image_set import ImageSet, SetImage, StoredMask
from bas_edge.segmentation.masks import IGNORE

__all__ = ["CocoMask", "Shape", "is_coco", "read_coco"]

_FOLDER, _PREFIX = "annotations", "instances_"
_RAW = msgspec.Raw(b"[]")


class _Category(msgspec.Struct):
    id: int
    name: str


class _Image(msgspec.Struct):
    id: int
    file_name: str
    height: int
    width: int


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: int
    area: float = 0.0
    iscrowd: int = 0
    segmentation: msgspec.Raw = _RAW  # polygons, or run lengths: decoded when it is drawn


class _Instances(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@dataclass(frozen=True, slots=True)
class Shape:
    """One annotated object: its class number (1 to C), its area, and its outline as JSON."""

    number: int
    area: float
    crowd: bool
    outline: bytes


@dataclass(frozen=True, slots=True)
class CocoMask:
    """See `image_set.MaskSource`. Crowds first and not counted, then objects, large to small."""

    size: tuple[int, int]
    shapes: tuple[Shape, ...]
    name: str

    def read(self) -> NDArray[np.uint8]:
        """[H, W] uint8, where smaller objects lie over larger ones and crowds are 255.

        Raises:
            MissingExtraError: pycocotools is not installed.
            InputError: An outline is none.
        """
        coder = require("pycocotools.mask", extra="segmentation", purpose="Drawing COCO masks")
        mask = np.zeros(self.size, np.uint8)
        for shape in sorted(self.shapes, key=lambda shape: (not shape.crowd, -shape.area)):
            outline = msgspec.json.decode(shape.outline)
            try:
                coded = coder.frPyObjects(outline, *self.size)
                if isinstance(coded, list):
                    coded = coder.merge(coded)
                with warnings.catch_warnings():  # 2.0.11 hands NumPy 2 an older __array__
                    warnings.simplefilter("ignore", DeprecationWarning)
                    inside = coder.decode(coded).astype(bool)
            except Exception as error:  # its C code raises whatever it trips over
                raise InputError(f"An outline of {self.name} cannot be drawn: {error}.") from error
            if inside.shape != self.size:
                raise InputError(
                    f"An outline of {self.name} is {inside.shape[1]} × {inside.shape[0]}, but the "
                    f"image is {self.size[1]} × {self.size[0]}."
                )
            mask[inside] = IGNORE if shape.crowd else shape.number
        return mask


def is_coco(root: Path) -> bool:
    """Whether a folder holds COCO's annotations."""
    return any((root / _FOLDER).glob(f"{_PREFIX}*.json"))


def read_coco(root: Path, split: str) -> ImageSet:
    """One split, such as "train2014"; "train" where there is one of a single year.

    Raises:
        InputError: See `read_image_set`.
    """
    split = _split(root, split)
    path = root / _FOLDER / f"{_PREFIX}{split}.json"
    content = _content(path)
    categories = sorted(content.categories, key=lambda category: category.id)
    numbers = {category.id: number for number, category in enumerate(categories, 1)}
    shapes = _shapes(path, content, numbers)
    images: list[SetImage] = []
    for item in content.images:
        file = root / split / item.file_name
        if not file.is_file():
            raise InputError(
                f"{path} lists {item.file_name}, but {file} does not exist.",
                hint=f"The images of {split}.zip were expected in {root / split}.",
            )
        own = tuple(shapes.get(item.id, ()))
        labels = tuple(sorted({shape.number - 1 for shape in own}))
        mask = CocoMask((item.height, item.width), own, str(file))
        images.append(SetImage(file, labels, StoredMask(mask, file)))
    names = tuple(category.name for category in categories)
    return ImageSet(root, split, names, tuple(images), f"in {path}")


def _split(root: Path, split: str) -> str:
    there = sorted(
        file.stem.removeprefix(_PREFIX) for file in (root / _FOLDER).glob(f"{_PREFIX}*.json")
    )
    if split in there:
        return split
    near = [name for name in there if name.startswith(split)]
    if len(near) == 1:
        return near[0]
    expected = root / _FOLDER / f"{_PREFIX}{split}.json"
    raise InputError(
        f"There is no split '{split}': {expected} does not exist.",
        hint=f"The splits here are: {', '.join(there)}.",
    )


def _content(path: Path) -> _Instances:
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_Instances)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from None
    except msgspec.DecodeError as error:
        raise InputError(
            f"{path} is not COCO's instances JSON: {error}.",
            hint="It has images, annotations and categories.",
        ) from None
    if not content.images or not content.categories:
        raise InputError(f"{path} lists no images, or no categories.", hint="Fetch it again.")
    if len(content.categories) >= IGNORE:
        raise InputError(
            f"{path} has {len(content.categories)} categories; masks have room for {IGNORE - 1}."
        )
    return content


def _shapes(path: Path, content: _Instances, numbers: dict[int, int]) -> dict[int, list[Shape]]:
    """The shapes of each image id."""
    known = {image.id for image in content.images}
    found: dict[int, list[Shape]] = defaultdict(list)
    for item in content.annotations:
        if item.category_id not in numbers or item.image_id not in known:
            what = "image_id" if item.category_id in numbers else "category_id"
            value = item.image_id if what == "image_id" else item.category_id
            raise InputError(f"{path}: an annotation has the {what} {value}, which is not listed.")
        shape = Shape(
            numbers[item.category_id], item.area, bool(item.iscrowd), bytes(item.segmentation)
        )
        found[item.image_id].append(shape)
    return found
