"""Batches whose content depends on (seed, epoch, index) and on nothing else.

Neither the number of workers nor a resume in the middle of an epoch changes a batch:
each image draws its crop and flip from a generator of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bas_edge_training.image_store import ImageStore

__all__ = ["Batch", "BatchLoader", "augment", "epoch_order"]

_AHEAD = 3  # batches decoded before they are asked for
_LABELLED, _BACKGROUND = 0, 1  # which of two generators an image draws from


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's images, or the part of them that one process has.

    Attributes:
        frames: uint8 [N, H, W, 3] RGB. N may be below the batch size: the epoch's end, images that
            could not be read, other processes that have some.
        labels: int64 [N].
        background: uint8 [M, H, W, 3], images without any object.
    """

    frames: Tensor
    labels: Tensor
    background: Tensor


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, count: int, role: int = _LABELLED) -> NDArray[np.int64]:
    """The permutation in which `count` images are visited in an epoch. Read-only."""
    order = np.random.default_rng([seed, role, epoch]).permutation(count)
    order.flags.writeable = False
    return order


def augment(
    pixels: NDArray[np.uint8], crop: int, flip: bool, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Random crop × crop window of [S, S, 3], mirrored half of the time. A view."""
    room = pixels.shape[0] - crop + 1
    y, x = (int(v) for v in generator.integers(0, room, 2))
    mirrored = bool(generator.integers(2)) and flip
    window = pixels[y : y + crop, x : x + crop]
    return window[:, ::-1] if mirrored else window


class BatchLoader:
    """Reads, crops and stacks images in threads (Pillow and resize_frame release the GIL).

    Args:
        images, labels: The labelled images.
        background: Images without any object; `background_per_batch` of them join each batch.
        workers: Threads; 0 decodes in the calling thread.
        rank, size: Of every batch this loader reads the part of one process among several.
    """

    def __init__(
        self,
        images: ImageStore,
        labels: Sequence[int],
        background: ImageStore,
        *,
        batch_size: int,
        background_per_batch: int,
        crop: int,
        flip: bool,
        seed: int,
        workers: int,
        rank: int = 0,
        size: int = 1,
    ) -> None:
        self.images, self.labels, self.background = images, labels, background
        self.batch_size, self.crop, self.flip, self.seed = batch_size, crop, flip, seed
        self.background_per_batch = min(background_per_batch, len(background))
        self.workers, self.rank, self.size = workers, rank, size

    def __len__(self) -> int:
        """Batches of one epoch."""
        return -(-len(self.images) // self.batch_size)

    def epoch(self, epoch: int, first: int = 0) -> Generator[Batch, None, None]:
        """Batches `first`, first + 1, … of an epoch."""
        plans = (self._plan(epoch, number) for number in range(first, len(self)))
        if self.workers == 0:
            for plan in plans:
                yield self._assemble([self._view(epoch, *entry) for entry in plan], plan)
            return
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="bas-edge-read")
        waiting: deque[tuple[list[Future[NDArray[np.uint8] | None]], list[tuple[int, int]]]]
        waiting = deque()
        try:
            for plan in plans:
                waiting.append(([pool.submit(self._view, epoch, *e) for e in plan], plan))
                if len(waiting) > _AHEAD:
                    yield self._gather(*waiting.popleft())
            while waiting:
                yield self._gather(*waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _plan(self, epoch: int, number: int) -> list[tuple[int, int]]:
        """(role, index) of every image of this process's part of one batch.

        Labelled and background images are dealt in turn, so that all parts are of one size, or
        one less.
        """
        order = epoch_order(self.seed, epoch, len(self.images))
        first = number * self.batch_size
        plan = [(_LABELLED, int(i)) for i in order[first : first + self.batch_size]]
        for position in range(self.background_per_batch):
            turn, place = divmod(
                (epoch * len(self) + number) * self.background_per_batch + position,
                len(self.background),
            )
            order = epoch_order(self.seed, turn, len(self.background), _BACKGROUND)
            plan.append((_BACKGROUND, int(order[place])))
        return plan[self.rank :: self.size]

    def _view(self, epoch: int, role: int, index: int) -> NDArray[np.uint8] | None:
        store = self.images if role == _LABELLED else self.background
        pixels = store.pixels(index)
        if pixels is None:
            return None
        generator = np.random.default_rng([self.seed, role, epoch, index])
        return augment(pixels, self.crop, self.flip, generator)

    def _gather(
        self, futures: list[Future[NDArray[np.uint8] | None]], plan: list[tuple[int, int]]
    ) -> Batch:
        return self._assemble([future.result() for future in futures], plan)

    def _assemble(
        self, views: list[NDArray[np.uint8] | None], plan: list[tuple[int, int]]
    ) -> Batch:
        read = [(role, i, v) for (role, i), v in zip(plan, views, strict=True) if v is not None]
        labels = [self.labels[i] for role, i, _ in read if role == _LABELLED]
        return Batch(
            frames=self._stack([v for role, _, v in read if role == _LABELLED]),
            labels=torch.tensor(labels, dtype=torch.int64),
            background=self._stack([v for role, _, v in read if role == _BACKGROUND]),
        )

    def _stack(self, views: list[NDArray[np.uint8]]) -> Tensor:
        if not views:
            return torch.empty((0, self.crop, self.crop, 3), dtype=torch.uint8)
        return torch.from_numpy(np.stack(views))
