"""Data sets of three classes in each published layout, small enough to write in a test.

Class a is red, b green, c blue, as the tiny engine of `tests/graphs.py` sees them. Every set
has two images a class in each split, and the box of image n is `BOXES[n]`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

__all__ = ["BOXES", "SETS", "SIZE", "save_mask"]

CLASSES = ("a", "b", "c")
SIZE = (64, 96)  # H, W
BOXES = ((8, 8, 40, 40), (20, 16, 80, 56), (40, 24, 88, 64), (0, 0, 48, 32), (12, 4, 60, 60),
         (24, 8, 72, 40))  # fmt: skip


def save_image(path: Path, n: int, *, ground: int = 0) -> None:
    """Image n: label n % 3, with its box filled, on black or nearly so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = np.full((*SIZE, 3), ground, np.uint8)
    x0, y0, x1, y1 = BOXES[n]
    frame[y0:y1, x0:x1, n % 3] = 255
    if path.suffix.upper() == ".JPEG":
        Image.fromarray(frame).save(path, "JPEG", quality=95, subsampling=0)
    else:
        Image.fromarray(frame).save(path)


def save_mask(path: Path, box: tuple[int, int, int, int], value: int = 255) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(SIZE, np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = value
    Image.fromarray(mask).save(path)


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def voc(name: str, *boxes: tuple[int, int, int, int]) -> str:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for x0, y0, x1, y1 in boxes
    )
    size = f"<size><width>{SIZE[1]}</width><height>{SIZE[0]}</height><depth>3</depth></size>"
    return f"<annotation>{size}{objects}</annotation>"


def cub(root: Path) -> Path:
    """Ids 1 to 6 train, 7 to 12 test; x, y, width, height; masks of five annotators."""
    folders = [f"{label + 1:03}.{name}" for label, name in enumerate(CLASSES)]
    names = [f"{folders[n % 3]}/{split}_{n}.jpg" for split in ("train", "test") for n in range(6)]
    for at, name in enumerate(names):
        save_image(root / "images" / name, at % 6, ground=4 * (at < 6))  # no image is in both
        box = BOXES[at % 6]
        mask = np.zeros(SIZE, np.uint8)
        mask[box[1] : box[3], box[0] : box[2]] = 255
        mask[:4, 90:] = 102  # two of five
        file = (root / "segmentations" / name).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(file)
    boxes = [(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in (*BOXES, *BOXES)]
    numbered = list(enumerate(names, 1))
    write(root / "classes.txt", *(f"{i} {name}" for i, name in enumerate(folders, 1)))
    write(root / "images.txt", *(f"{i} {name}" for i, name in numbered))
    write(root / "image_class_labels.txt", *(f"{i} {(i - 1) % 3 + 1}" for i, _ in numbered))
    write(root / "train_test_split.txt", *(f"{i} {int(i <= 6)}" for i, _ in numbered))
    write(
        root / "bounding_boxes.txt",
        *(f"{i} {box[0]:.1f} {box[1]:.1f} {box[2]:.1f} {box[3]:.1f}"
          for (i, _), box in zip(numbered, boxes, strict=True)),
    )  # fmt: skip
    return root


WNIDS = ("n01000001", "n02000002", "n03000003")


def ilsvrc(root: Path) -> Path:
    """The distributed folders; image 5 of val has a second box, two of train have none."""
    data, xml = root / "Data/CLS-LOC", root / "Annotations/CLS-LOC"
    for n in range(6):
        name = WNIDS[n % 3]
        save_image(data / "train" / name / f"{name}_{n}.JPEG", n)
        save_image(data / "val" / f"ILSVRC2012_val_{n:08}.JPEG", n)
        if n > 1:
            write(xml / "train" / name / f"{name}_{n}.xml", voc(name, BOXES[n]))
        boxes = [BOXES[n]] if n != 5 else [(0, 0, 9, 9), BOXES[n]]
        write(xml / "val" / f"ILSVRC2012_val_{n:08}.xml", voc(name, *boxes))
    return root


def ilsvrc_lists(root: Path) -> Path:
    """The lists of the BAS repository beside folders of images."""
    labels, boxes = [], []
    for n in range(6):
        name = WNIDS[n % 3]
        save_image(root / "train" / name / f"{name}_{n}.JPEG", n)
        save_image(root / "val" / name / f"ILSVRC2012_val_{n:08}.JPEG", n)
        own = " ".join(map(str, ((0, 0, 9, 9) if n == 5 else ()) + BOXES[n]))
        labels.append(f"{name}/ILSVRC2012_val_{n:08}.JPEG;{n % 3}")
        boxes.append(f"{name}\\\\ILSVRC2012_val_{n:08}.JPEG {SIZE[1]} {SIZE[0]} ; {own}")
    write(root / "val_list.txt", *labels)
    write(root / "val_gt.txt", *boxes)
    return root


def open_images(root: Path) -> Path:
    """Masks of two instances each, whose union is the box, and the ignored pixels beside them."""
    for split in ("train", "val", "test"):
        for n in range(6):
            stem = root / split / f"0{CLASSES[n % 3]}_x" / f"{n:016}"
            save_image(stem.with_suffix(".jpg"), n)
            if split != "train":
                _instances(stem, n)
    return root


def _instances(stem: Path, n: int) -> None:
    x0, y0, x1, y1 = BOXES[n]
    middle = (x0 + x1) // 2
    folder, code = stem.parent, stem.parent.name
    save_mask(folder / f"{stem.name}_m{code}_aaaa0000.png", (x0, y0, middle, y1))
    save_mask(folder / f"{stem.name}_m{code}_bbbb1111.png", (middle, y0, x1, y1))
    save_mask(folder / f"{stem.name}_ignore.png", (x0, y0, SIZE[1], y1))


def wsoleval_boxes(root: Path) -> Path:
    """metadata/CUB of a wsolevaluation clone, images in dataset/CUB."""
    metadata, images = root / "metadata/CUB", root / "dataset/CUB"
    for split in ("train", "val", "test"):
        ids = [f"{n % 3 + 1:03}.{CLASSES[n % 3]}/{split}_{n}.jpg" for n in range(6)]
        boxes = [(n, BOXES[n]) for n in range(6)] + [(5, (0, 0, 9, 9))]
        for n, one in enumerate(ids):
            save_image(images / one, n)
        write(metadata / split / "image_ids.txt", *ids)
        write(metadata / split / "class_labels.txt", *(f"{o},{n % 3}" for n, o in enumerate(ids)))
        write(metadata / split / "image_sizes.txt", *(f"{o},{SIZE[1]},{SIZE[0]}" for o in ids))
        lines = (f"{ids[n]},{','.join(map(str, box))}" for n, box in boxes)
        write(metadata / split / "localization.txt", *lines)
    return metadata


def wsoleval_masks(root: Path) -> Path:
    """metadata/OpenImages: two instances an image, the ignored pixels on its first line."""
    metadata, images = root / "metadata/OpenImages", root / "dataset/OpenImages"
    for split in ("train", "val", "test"):
        ids, lines = [], []
        for n in range(6):
            name = f"{split}/0{CLASSES[n % 3]}_x/{n:016}"
            ids.append(f"{name}.jpg")
            save_image(images / ids[-1], n)
            if split == "train":
                continue
            _instances(images / name, n)
            masks = [f"{name}_m0{CLASSES[n % 3]}_x_{code}.png" for code in ("aaaa0000", "bbbb1111")]
            lines += [f"{ids[-1]},{masks[0]},{name}_ignore.png", f"{ids[-1]},{masks[1]},"]
        write(metadata / split / "image_ids.txt", *ids)
        write(metadata / split / "class_labels.txt", *(f"{o},{n % 3}" for n, o in enumerate(ids)))
        if lines:
            write(metadata / split / "localization.txt", *lines)
    return metadata


def aircraft(root: Path) -> Path:
    """Counted from 1, last pixel included; a variant may hold a space."""
    variants = ("707-320", "Boeing 717", "Hawk T1")
    write(root / "variants.txt", *variants)
    boxes = []
    for place, split in enumerate(("train", "val", "test")):
        lines = []
        for n in range(6):
            key = f"{place}{n:06}"
            save_image(root / "images" / f"{key}.jpg", n)
            lines.append(f"{key} {variants[n % 3]}")
            x0, y0, x1, y1 = BOXES[n]
            boxes.append(f"{key} {x0 + 1} {y0 + 1} {x1} {y1}")
        write(root / f"images_variant_{split}.txt", *lines)
    both = [(root / f"images_variant_{split}.txt").read_text() for split in ("train", "val")]
    (root / "images_variant_trainval.txt").write_text("".join(both))
    write(root / "images_box.txt", *boxes)
    return root


def cars(root: Path) -> Path:
    """Struct arrays, classes counted from 1."""
    from scipy.io import savemat

    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
    for split, file in (
        ("train", "devkit/cars_train_annos.mat"),
        ("test", "cars_test_annos_withlabels.mat"),
    ):
        rows = np.empty((1, 6), [(field, object) for field in fields])
        for n, (x0, y0, x1, y1) in enumerate(BOXES):
            save_image(root / f"cars_{split}" / f"{n:05}.jpg", n)
            rows[0, n] = (x0 + 1, y0 + 1, x1, y1, n % 3 + 1, f"{n:05}.jpg")
        (root / file).parent.mkdir(exist_ok=True)
        savemat(root / file, {"annotations": rows})
    names = np.empty((1, 3), object)
    names[0] = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Audi R8 Coupe 2012"]
    savemat(root / "devkit/cars_meta.mat", {"class_names": names})
    return root


def dogs(root: Path) -> Path:
    """Cell arrays of paths, labels counted from 1, annotations without an ending."""
    from scipy.io import savemat

    breeds = [f"{wnid}-breed_{name}" for wnid, name in zip(WNIDS, CLASSES, strict=True)]
    for split in ("train", "test"):
        files = np.empty((6, 1), object)
        for n in range(6):
            name = breeds[n % 3]
            files[n, 0] = f"{name}/{split}_{n}.jpg"
            save_image(root / "Images" / files[n, 0], n)
            boxes = [BOXES[n]] if n != 5 else [(0, 0, 9, 9), BOXES[n]]
            write(root / "Annotation" / name / f"{split}_{n}", voc(name, *boxes))
        labels = np.array([[n % 3 + 1] for n in range(6)], np.uint8)
        savemat(root / f"{split}_list.mat", {"file_list": files, "labels": labels})
    return root


def _set(make: Callable[[Path], Path], **facts: object) -> SimpleNamespace:
    return SimpleNamespace(make=make, **facts)


_BIRDS = ("001.a", "002.b", "003.c")
SETS = {
    "cub": _set(cub, classes=_BIRDS, train="train", test="test", boxes=True, masks=True),
    "ilsvrc": _set(ilsvrc, classes=WNIDS, train="train", test="val", boxes=True, masks=False),
    "ilsvrc_lists": _set(
        ilsvrc_lists, classes=WNIDS, train="train", test="val", boxes=True, masks=False
    ),
    "open_images": _set(
        open_images,
        classes=("0a_x", "0b_x", "0c_x"),
        train="train",
        test="test",
        boxes=False,
        masks=True,
    ),
    "wsoleval_boxes": _set(
        wsoleval_boxes, classes=_BIRDS, train="train", test="test", boxes=True, masks=False
    ),
    "wsoleval_masks": _set(
        wsoleval_masks,
        classes=("0a_x", "0b_x", "0c_x"),
        train="train",
        test="test",
        boxes=False,
        masks=True,
    ),
    "aircraft": _set(
        aircraft,
        classes=("707-320", "Boeing 717", "Hawk T1"),
        train="trainval",
        test="test",
        boxes=True,
        masks=False,
    ),
    "cars": _set(
        cars,
        classes=("AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Audi R8 Coupe 2012"),
        train="train",
        test="test",
        boxes=True,
        masks=False,
    ),
    "dogs": _set(
        dogs,
        classes=tuple(f"{w}-breed_{c}" for w, c in zip(WNIDS, CLASSES, strict=True)),
        train="train",
        test="test",
        boxes=True,
        masks=False,
    ),
}
