from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from bas_edge_training.batches import Batch, BatchLoader, augment, epoch_order
from bas_edge_training.image_store import ImageStore


def loader(
    images: Path,
    background: Path | None = None,
    *,
    workers: int = 0,
    flip: bool = True,
    rank: int = 0,
    size: int = 1,
) -> BatchLoader:
    paths = sorted(images.glob("*/*"))
    return BatchLoader(
        ImageStore(paths, 40, 0),
        [("ant", "bee", "cat").index(path.parent.name) for path in paths],
        ImageStore(sorted(background.iterdir()) if background else [], 40, 0),
        batch_size=5,
        background_per_batch=2,
        crop=32,
        flip=flip,
        seed=9,
        workers=workers,
        rank=rank,
        size=size,
    )


def assert_same(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.frames, b.frames)
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.background, b.background)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_do_not_change_batches(
    image_folder: Path, background_folder: Path, workers: int
) -> None:
    assert_same(
        list(loader(image_folder, background_folder).epoch(4)),
        list(loader(image_folder, background_folder, workers=workers).epoch(4)),
    )


def test_starting_inside_an_epoch_gives_the_same_rest(
    image_folder: Path, background_folder: Path
) -> None:
    whole = list(loader(image_folder, background_folder).epoch(1))
    assert_same(whole[2:], list(loader(image_folder, background_folder).epoch(1, first=2)))
    assert list(loader(image_folder).epoch(1, first=3)) == []


@pytest.mark.parametrize("size", [2, 3, 7])
def test_processes_have_the_same_batches_between_them(
    image_folder: Path, background_folder: Path, size: int
) -> None:
    parts = [
        list(loader(image_folder, background_folder, rank=rank, size=size).epoch(2))
        for rank in range(size)
    ]
    batches = list(loader(image_folder, background_folder).epoch(2))
    for whole, *shares in zip(batches, *parts, strict=True):
        for name in ("frames", "labels", "background"):
            dealt = [each for share in shares for each in getattr(share, name).tolist()]
            assert sorted(dealt) == sorted(getattr(whole, name).tolist())
        counts = [len(share.labels) + len(share.background) for share in shares]
        assert max(counts) - min(counts) <= 1


def test_shapes_and_one_visit_an_epoch(image_folder: Path) -> None:
    batches = list(loader(image_folder).epoch(0))
    assert [tuple(b.frames.shape) for b in batches] == [
        (5, 32, 32, 3), (5, 32, 32, 3), (2, 32, 32, 3),
    ]  # fmt: skip
    assert batches[0].frames.dtype == torch.uint8
    assert Counter(torch.cat([b.labels for b in batches]).tolist()) == {0: 4, 1: 4, 2: 4}
    assert all(len(b.background) == 0 for b in batches)


def test_epochs_differ_in_order_and_crops(image_folder: Path) -> None:
    first, second = (next(iter(loader(image_folder).epoch(epoch))) for epoch in (0, 1))
    assert not torch.equal(first.frames, second.frames)
    assert not np.array_equal(epoch_order(9, 0, 12), epoch_order(9, 1, 12))


def test_background_images_take_turns(image_folder: Path, background_folder: Path) -> None:
    batches = list(loader(image_folder, background_folder, flip=False).epoch(0))
    assert [len(b.background) for b in batches] == [2, 2, 2]  # 6 places for 3 images: twice each
    means = torch.cat([b.background for b in batches]).float().mean((1, 2, 3))
    assert len({round(float(mean)) for mean in means}) <= 3
    few = loader(image_folder, background_folder)
    few.background.skipped[str(few.background.paths[0])] = "damaged"
    assert sum(len(b.background) for b in few.epoch(0)) == 4


def test_unreadable_image_is_left_out(image_folder: Path) -> None:
    (image_folder / "bee" / "2.png").write_bytes(b"not a picture")
    source = loader(image_folder, workers=2)
    labels = torch.cat([b.labels for b in source.epoch(0)])
    assert Counter(labels.tolist()) == {0: 4, 1: 3, 2: 4}
    assert [Path(path).name for path in source.images.skipped] == ["2.png"]


def test_abandoned_epoch_stops_its_threads(image_folder: Path) -> None:
    import threading

    batches = loader(image_folder, workers=2).epoch(0)
    next(batches)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("bas-edge-read")]


def test_augment_returns_a_window_or_its_mirror() -> None:
    pixels = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(6, 6, 3)
    windows = {
        pixels[y : y + 4, x : x + 4].tobytes(): (y, x, False) for y in range(3) for x in range(3)
    }
    mirrored = {
        pixels[y : y + 4, x : x + 4][:, ::-1].tobytes(): (y, x, True)
        for y in range(3)
        for x in range(3)
    }
    seen = {augment(pixels, 4, True, np.random.default_rng(seed)).tobytes() for seed in range(300)}
    assert seen == set(windows) | set(mirrored)
    seen = {augment(pixels, 4, False, np.random.default_rng(seed)).tobytes() for seed in range(200)}
    assert seen == set(windows)


def test_no_room_to_crop() -> None:
    pixels = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    np.testing.assert_array_equal(augment(pixels, 4, False, np.random.default_rng(0)), pixels)
