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
from bas_edge_training.team import ALONE, Team
from bas_edge_training.trainer import to_network

__all__ = ["Predictions", "choose_run_min_score", "evaluation_mode", "predict"]

_NO_CLASSES, _NO_FIGURES = np.empty(0, np.int64), np.empty(0, np.float32)


@dataclass(frozen=True, slots=True)
class Predictions:
    """Outputs on the readable images of a store, in its order.

    Attributes:
        indices: int64 [N], places in the store.
        classes: int64 [N], the best class of each.
        scores: float32 [N], its softmax.
        areas: float32 [N], the mean of its map, 0 to 1.
    """

    indices: NDArray[np.int64]
    classes: NDArray[np.int64]
    scores: NDArray[np.float32]
    areas: NDArray[np.float32]

    def top1(self, labels: Sequence[int]) -> float:
        """Fraction whose best class is its label; `labels` are those of the whole store."""
        wanted = np.asarray(labels)[self.indices]
        return float((self.classes == wanted).mean())


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
    model: BasModel,
    images: ImageStore,
    device: torch.device,
    batch_size: int,
    team: Team = ALONE,
) -> Predictions:
    """Run the model on every readable image of a store, each stretched to its side.

    The processes of a team do a part of it each, and all of them get the whole.
    """
    blocks = [
        range(at, min(at + batch_size, len(images)))
        for at in range(team.rank * batch_size, len(images), team.size * batch_size)
    ]
    wanted = [index for block in blocks for index in block]
    parts = team.gather(_predict(model, images, wanted, device, batch_size))
    indices, classes, scores, areas = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = indices.argsort()
    return Predictions(indices[order], classes[order], scores[order], areas[order])


def _predict(
    model: BasModel,
    images: ImageStore,
    wanted: Sequence[int],
    device: torch.device,
    batch_size: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """The attributes of Predictions for some images of a store."""
    indices: list[int] = []
    classes, scores, areas = [_NO_CLASSES], [_NO_FIGURES], [_NO_FIGURES]
    with evaluation_mode(model):
        for members, frames in _batches(images, wanted, batch_size):
            logits, maps = model(to_network(frames, device))
            rows = torch.arange(len(members), device=device)
            areas.append(maps[rows, logits.argmax(1)].mean((1, 2)).float().cpu().numpy())
            score, best = logits.float().softmax(1).cpu().max(1)
            scores.append(score.numpy())
            classes.append(best.numpy())
            indices += members
    return (
        np.asarray(indices, np.int64),
        np.concatenate(classes),
        np.concatenate(scores),
        np.concatenate(areas),
    )


def choose_run_min_score(
    model: BasModel,
    objects: ImageStore,
    background: ImageStore,
    device: torch.device,
    batch_size: int,
    team: Team = ALONE,
) -> float:
    """The class score that separates images with an object from images without.

    0, which keeps everything, where no image with an object can be read.
    """
    found = predict(model, objects, device, batch_size, team)
    if not len(found.indices):
        return 0.0
    others = predict(model, background, device, batch_size, team)
    return choose_min_score(found.scores, others.scores).value


def _batches(
    images: ImageStore, wanted: Sequence[int], batch_size: int
) -> Iterator[tuple[list[int], Tensor]]:
    members: list[int] = []
    frames: list[NDArray[np.uint8]] = []
    for index in wanted:
        pixels = images.pixels(index)
        if pixels is not None:
            members.append(index)
            frames.append(pixels)
        if frames and (len(frames) == batch_size or index == wanted[-1]):
            yield members, torch.from_numpy(np.stack(frames))
            members, frames = [], []
