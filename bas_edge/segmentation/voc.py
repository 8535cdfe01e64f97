"""PASCAL VOC 2012 in the folders of its VOCdevkit.

    VOC2012/ImageSets/Segmentation/{train,val,trainval,train_aug}.txt   names, one a line
    VOC2012/JPEGImages/NAME.jpg
    VOC2012/Annotations/NAME.xml                                        the image's labels
    VOC2012/SegmentationClass/NAME.png                                  masks
    VOC2012/SegmentationClassAug/NAME.png                               those of augmented lists

Lists of the augmented split (10 582 images, of Hariharan et al.) come in several spellings; a
split whose name holds "aug" takes its masks from SegmentationClassAug.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from bas_edge.errors import InputError
from bas_edge.segmentation.image_set import ImageSet, SetImage, StoredMask
from bas_edge.segmentation.masks import PngMask

__all__ = ["VOC_CLASSES", "VOC_LISTS", "read_voc", "voc_root"]

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip

VOC_LISTS = Path("ImageSets", "Segmentation")
_PLAIN, _AUGMENTED = "SegmentationClass", "SegmentationClassAug"


def voc_root(folder: Path) -> Path | None:
    """The VOC2012 folder that `folder` is, or holds; None where it is no VOCdevkit."""
    for root in (folder, folder / "VOC2012", folder / "VOCdevkit" / "VOC2012"):
        if (root / "ImageSets").is_dir() or (root / "JPEGImages").is_dir():
            return root
    return None


def read_voc(root: Path, split: str) -> ImageSet:
    """One split; labels are the classes of the XML's objects, difficult ones included.

    Raises:
        InputError: See `read_image_set`.
    """
    names = _names(root / VOC_LISTS, split)
    folder = root / (_AUGMENTED if "aug" in split else _PLAIN)
    with_masks = folder.is_dir()
    images: list[SetImage] = []
    for name in names:
        image, annotation = (
            root / "JPEGImages" / f"{name}.jpg",
            root / "Annotations" / f"{name}.xml",
        )
        mask = folder / f"{name}.png"
        for path in (image, annotation, *([mask] if with_masks else [])):
            if not path.is_file():
                raise InputError(
                    f"The split '{split}' lists {name}, but {path} does not exist.",
                    hint=f"It was expected in {path.parent}; fetch VOCtrainval_11-May-2012.tar.",
                )
        source = StoredMask(PngMask(mask, len(VOC_CLASSES)), image) if with_masks else None
        images.append(SetImage(image, _labels(annotation), source))
    return ImageSet(root, split, VOC_CLASSES, tuple(images), f"in {folder}")


def _names(folder: Path, split: str) -> list[str]:
    path = folder / f"{split}.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        there = sorted(file.stem for file in folder.glob("*.txt"))
        raise InputError(
            f"There is no split '{split}': {path} does not exist.",
            hint=f"The splits here are: {', '.join(there)}."
            if there
            else f"The lists were expected in {folder}.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {path}: {error}.") from None
    # Some lists hold paths instead: "/JPEGImages/NAME.jpg /SegmentationClassAug/NAME.png".
    names = [Path(line.split()[0]).stem for line in lines if line.strip()]
    if not names:
        raise InputError(f"{path} lists no images.", hint="Fetch the list again.")
    return names


def _labels(path: Path) -> tuple[int, ...]:
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise InputError(f"{path} is not a readable VOC annotation: {error}.") from None
    found: set[int] = set()
    for name in (item.findtext("name", "") for item in root.iterfind("object")):
        if name not in VOC_CLASSES:
            raise InputError(
                f"{path} has an object of class '{name}', which is none of VOC's "
                f"{len(VOC_CLASSES)}.",
                hint="For classes of your own, write an index.csv (docs/segmentation.md).",
            )
        found.add(VOC_CLASSES.index(name))
    return tuple(sorted(found))
