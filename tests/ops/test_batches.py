"""Threads: inside one call, over its batch, and several calls at a time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import numpy as np
import pytest
from numpy.typing import NDArray

from bas_edge import ops
from bas_edge.ops.arguments import choose_threads

RNG = np.random.default_rng(0)
MAPS = RNG.random((7, 5, 9, 11), dtype=np.float32)
SCORES = RNG.random((7, 5), dtype=np.float32)
SIZE = (50, 70)


def everything(threads: int | None) -> list[NDArray[np.generic]]:
    foreground = ops.aggregate_maps(MAPS, SCORES, 3, threads=threads)
    found = ops.maps_to_boxes(foreground, SIZE, 0.6, max_boxes=3, threads=threads)
    classes = ops.scores_to_masks(MAPS, SIZE, threads=threads)
    return [
        foreground,
        ops.upsample_maps(foreground, SIZE, threads=threads),
        ops.maps_to_masks(foreground, SIZE, 0.6, threads=threads),
        *(found.boxes, found.areas, found.found, found.count),
        *(classes.masks, classes.areas, classes.boxes),
    ]


@pytest.mark.parametrize("threads", [None, 2, 3, 7, 64])
def test_threads_change_nothing(threads: int | None) -> None:
    for got, expected in zip(everything(threads), everything(1), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_batch_is_its_images() -> None:
    together = ops.maps_to_boxes(MAPS[:, 0], SIZE, 0.6, threads=3)
    for image in range(len(MAPS)):
        alone = ops.maps_to_boxes(MAPS[image : image + 1, 0], SIZE, 0.6)
        np.testing.assert_array_equal(together.boxes[image], alone.boxes[0])


def test_calls_from_several_python_threads() -> None:
    frame = RNG.integers(0, 256, (61, 83, 3), dtype=np.uint8)
    expected = [*everything(1), ops.resize_frame(frame, (24, 31))]
    with ThreadPoolExecutor(8) as pool:
        calls = [
            pool.submit(lambda: [*everything(2), ops.resize_frame(frame, (24, 31))])
            for _ in range(40)
        ]
        for call in calls:
            for got, want in zip(call.result(), expected, strict=True):
                np.testing.assert_array_equal(got, want)


def test_the_gil_is_released() -> None:
    """Another Python thread runs while a long native call does."""
    ticks = 0
    done = Event()

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0)

    foreground = np.random.default_rng(0).random((1, 512, 512), dtype=np.float32)
    ticker = Thread(target=tick)
    ticker.start()
    while ticks == 0:
        time.sleep(0)
    before = ticks
    ops.maps_to_boxes(foreground, (8192, 8192), 0.5)
    during = ticks - before
    done.set()
    ticker.join()
    assert during > 10  # a call that held the GIL would let it tick once or twice at its edges


@pytest.mark.parametrize(
    ("threads", "images", "work", "most"),
    [(None, 1, 1 << 30, 1), (None, 0, 1, 1), (None, 8, 10, 1), (None, 3, 1 << 30, 3)],
)
def test_threads_left_out(threads: None, images: int, work: int, most: int) -> None:
    assert 1 <= choose_threads(threads, images, work) <= most
