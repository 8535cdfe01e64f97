"""What a network computes on its way to the class scores, each tensor once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Literal

from torch import Tensor

from bas_edge_training.models import BasModel, Features

__all__ = ["Activations", "Layer"]

Layer = Literal["last", "deep"]


class Activations:
    """One batch on its way through a model; whatever several methods look at is computed once.

    Attributes:
        model: In evaluation mode.
        frames: RGB pixels 0 to 255 [N, 3, H, W].
        gradients: Of one class score an image in the features of a layer, by layer and classes.
    """

    def __init__(self, model: BasModel, frames: Tensor) -> None:
        self.model, self.frames = model, frames
        self.gradients: dict[tuple[Layer, tuple[int, ...]], Tensor] = {}

    @cached_property
    def features(self) -> Features:
        """What leaves the trunk, at the map stride."""
        return self.model.features(self.frames)

    @cached_property
    def last(self) -> Tensor:
        """[N, D, h', w']: what the 1x1 classifier reads, behind the tail and the head's layers."""
        return self._last_of(self.features.deep)

    @cached_property
    def logits(self) -> Tensor:
        """[N, C]."""
        return self.model.head.scores(self.last)

    @cached_property
    def class_maps(self) -> Tensor:
        """[N, C, h', w']: class activation maps, whose mean is the logit."""
        return self.model.head.class_maps(self.last)

    def at(self, layer: Layer) -> Tensor:
        """Features [N, D, h, w] at a layer: "last", or "deep", F of the paper."""
        return self.last if layer == "last" else self.features.deep

    def onward(self, layer: Layer) -> Callable[[Tensor], Tensor]:
        """The rest of the network: features at a layer -> logits [N, C]."""
        if layer == "last":
            return self.model.head.scores
        return lambda deep: self.model.head.scores(self._last_of(deep))

    def _last_of(self, deep: Tensor) -> Tensor:
        return self.model.head.features(self.model.tail(deep))
