"""The images of one run: which stores hold them, and what happened to them on the way in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge_training.batches import BatchLoader
from bas_edge_training.checkpoint import DataSummary
from bas_edge_training.data import TrainingData
from bas_edge_training.image_store import ImageStore, cache_budget
from bas_edge_training.recipe import Recipe
from bas_edge_training.team import ALONE, Team

Store = Callable[[Sequence[Path], int, int], ImageStore]  # of paths, side and bytes to keep

__all__ = ["RunImages"]

_SCORED = 1000  # training images that min_score is chosen from, where none are held out


class RunImages:
    """Stores for training, validation and background, and the batches made of them.

    Attributes:
        training, background: At `data.resize`, for random crops.
        held_out: At `data.crop`: the whole image, as the runtime will see it.
        samples, sample_labels: What contact sheets show; held-out images where there are some.
    """

    def __init__(
        self, data: TrainingData, recipe: Recipe, team: Team = ALONE, *, store: Store = ImageStore
    ) -> None:
        """`store` makes those of labelled images."""
        options = recipe.data
        budget = cache_budget(recipe.machine.cache) // team.local_size
        self.data = data
        self.training = store(data.paths, options.resize, budget // 2)
        self.background = ImageStore(data.background, options.resize, budget // 4)
        self.held_out = store(data.validation_paths, options.crop, budget // 4)
        self.samples, self.sample_labels = self.held_out, data.validation_labels
        if not data.validation_paths:
            self.samples, self.sample_labels = ImageStore(data.paths, options.crop, 0), data.labels
        self.loader = BatchLoader(
            self.training,
            data.labels,
            self.background,
            batch_size=options.batch_size,
            background_per_batch=recipe.background.per_batch,
            crop=options.crop,
            flip=options.flip,
            seed=recipe.training.seed,
            workers=recipe.machine.workers,
            rank=team.rank,
            size=team.size,
        )

    @property
    def skipped(self) -> dict[str, str]:
        """Path -> reason of every image that could not be read so far."""
        return _merged([store.skipped for store in self._stores])

    @property
    def converted(self) -> dict[str, str]:
        """Path -> what was done to an image that was not plain upright RGB."""
        return _merged([store.converted for store in self._stores])

    def restore(self, skipped: Mapping[str, str], converted: Mapping[str, str]) -> None:
        """Remember what happened before a resume, or in another process."""
        if not skipped and not converted:
            return  # the usual case, and the sets below are large
        for store in self._stores:
            own = {str(path) for path in store.paths}
            store.skipped |= {path: why for path, why in skipped.items() if path in own}
            store.converted |= {path: how for path, how in converted.items() if path in own}

    def share(self, team: Team) -> None:
        """Let every process know what happened to the images of all."""
        if team.size == 1:
            return
        for skipped, converted in team.gather((self.skipped, self.converted)):
            self.restore(skipped, converted)

    def scored(self) -> tuple[ImageStore, ImageStore]:
        """What min_score is chosen from: images with an object, and images without."""
        side = self.held_out.side
        objects = self.held_out
        if not len(objects):
            every = -(-len(self.data.paths) // _SCORED)
            objects = ImageStore(self.data.paths[::every], side, 0)
        return objects, ImageStore(self.data.background[:_SCORED], side, 0)

    def unboxed(self, count: int) -> NDArray[np.uint8]:
        """Up to `count` training images, evenly spread, uint8 [M, side, side, 3]."""
        every = max(1, -(-len(self.data.paths) // count))
        store = ImageStore(self.data.paths[::every], self.held_out.side, 0)
        found = [store.pixels(index) for index in range(len(store))]
        readable = [pixels for pixels in found if pixels is not None]
        if not readable:
            return np.empty((0, store.side, store.side, 3), np.uint8)
        return np.stack(readable)

    def none_readable(self) -> InputError:
        """The error for an epoch without a single image."""
        path, reason = next(iter(self.training.skipped.items()))
        return InputError(
            f"None of the {len(self.training)} training images can be read. The first: {reason}",
            hint=f"Look at {path}.",
        )

    def summary(self) -> DataSummary:
        """For the checkpoint."""
        data = self.data
        return DataSummary(
            source=str(data.source),
            images=len(data.paths),
            validation=len(data.validation_paths),
            background=len(data.background),
            skipped=len(self.skipped),
            converted=dict(sorted(Counter(self.converted.values()).items())),
            fingerprint=data.fingerprint,
        )

    @property
    def _stores(self) -> tuple[ImageStore, ...]:
        return (self.training, self.held_out, self.background)


def _merged(parts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {key: value for part in parts for key, value in list(part.items())}
