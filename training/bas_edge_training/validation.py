"""What labels alone can say about a model: class accuracy, and how much its maps cover."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bas_edge.metrics.min_score import choose_min_score
from bas_edge_training.image_store import ImageStore
from bas_edge_training.models import BasModel
from bas_edge_training.trainer import to_network

__all__ = ["Predictions", "choose_run_min_score", "evaluation_mode", "predict"]


@dataclass(frozen=True, slots=True)
class Predictions:
    """Outputs on the readable images of a store, in its order.

    Attributes:
        indices: int64 [N], places in the store.
        scores: float32 [N, C], softmax.
        areas: float32 [N], the mean of the predicted class's map, 0 to 1.
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float32]
    areas: NDArray[np.float32]

    def top1(self, labels: Sequence[int]) -> float:
        """Fraction whose best class is its label; `labels` are those of the whole store."""
        wanted = np.asarray(labels)[self.indices]
        return float((self.scores.argmax(1) == wanted).mean())


@contextlib.contextmanager
def evaluation_mode(model: BasModel) -> Iterator[None]:
    """The model in eval mode and no gradients; its mode is restored."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def predict(
    model: BasModel, images: ImageStore, device: torch.device, batch_size: int
) -> Predictions:
    """Run the model on every readable image of a store, each stretched to its side."""
    indices: list[int] = []
    scores: list[Tensor] = []
    areas: list[Tensor] = []
    with evaluation_mode(model):
        for members, frames in _batches(images, batch_size):
            logits, maps = model(to_network(frames, device))
            rows = torch.arange(len(members), device=device)
            areas.append(maps[rows, logits.argmax(1)].mean((1, 2)).float().cpu())
            scores.append(logits.float().softmax(1).cpu())
            indices += members
    if not indices:
        classes = model.config.num_classes
        empty = np.empty(0, np.float32)
        return Predictions(np.empty(0, np.int64), empty.reshape(0, classes), empty)
    return Predictions(
        np.asarray(indices, np.int64), torch.cat(scores).numpy(), torch.cat(areas).numpy()
    )


def choose_run_min_score(
    model: BasModel,
    objects: ImageStore,
    background: ImageStore,
    device: torch.device,
    batch_size: int,
) -> float:
    """The class score that separates images with an object from images without.

    0, which keeps everything, where no image with an object can be read.
    """
    found = predict(model, objects, device, batch_size)
    if not len(found.indices):
        return 0.0
    others = predict(model, background, device, batch_size)
    return choose_min_score(found.scores.max(1), others.scores.max(1)).value


def _batches(images: ImageStore, batch_size: int) -> Iterator[tuple[list[int], Tensor]]:
    members: list[int] = []
    frames: list[NDArray[np.uint8]] = []
    for index in range(len(images)):
        pixels = images.pixels(index)
        if pixels is not None:
            members.append(index)
            frames.append(pixels)
        if frames and (len(frames) == batch_size or index == len(images) - 1):
            yield members, torch.from_numpy(np.stack(frames))
            members, frames = [], []
