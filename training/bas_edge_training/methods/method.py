"""One way to explain a network by maps, and what exporting and comparing need of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bas_edge.metrics.label_free import CAM_FACTOR, NETWORK_FACTOR
from bas_edge.ops import aggregate_maps
from bas_edge_training.models import BasModel

from .activations import Activations, Layer

__all__ = ["BAS", "Method"]


@dataclass(frozen=True, slots=True)
class Method:
    """How maps are computed. One of `every_map` and `class_map` is set.

    Attributes:
        name: As in `--method`: "cam", "gradcam@deep".
        title: As in tables.
        source: Paper, and section or equation.
        layer: Where it looks; "deep" for BAS's own generator.
        every_map: Forward only, and so exportable: -> maps of all classes [N, C, h, w], or
            [N, 1, h, w] where they do not depend on the class.
        class_map: Of one class an image, int64 [N] -> [N, h, w]; for what needs gradients or many
            forward passes, which no exported graph has.
        class_free: Whether the maps depend on no class.
        of_gradients: Whether they are built of gradients of the class score.
        many_passes: Whether each image costs hundreds of forward passes.
        averages: Whether the maps of many classes are averaged, as BAS's are; else the best
            class alone has its map.
        cut_factor: Of the label-free threshold; see `bas_edge.metrics.network_cut`.
    """

    name: str
    title: str
    source: str
    layer: Layer
    every_map: Callable[[Activations], Tensor] | None = None
    class_map: Callable[[Activations, Tensor], Tensor] | None = None
    class_free: bool = False
    of_gradients: bool = False
    many_passes: bool = False
    averages: bool = False
    cut_factor: float = CAM_FACTOR

    @property
    def exportable(self) -> bool:
        """Whether a graph without gradients can hold it."""
        return self.every_map is not None

    @property
    def output_names(self) -> tuple[str, str]:
        """Names of `outputs` in the graph contract."""
        return ("logits", "foreground" if self.class_free else "maps")

    def selectable(self, model: BasModel) -> bool:
        """Whether its maps come from one convolution with an activation at most behind it.

        Only then can a graph compute those of the best classes alone.
        """
        return not (self.of_gradients and model.head.rectified)

    def outputs(self, model: BasModel, frames: Tensor) -> tuple[Tensor, Tensor]:
        """What is exported: RGB pixels 0 to 255 [N, 3, H, W] -> logits [N, C] and `every_map`.

        Raises:
            ValueError: The method is not exportable.
        """
        if self.every_map is None:
            raise ValueError(f"{self.name} is not forward only")
        seen = Activations(model, frames)
        logits = seen.logits
        return logits, self.every_map(seen)

    def foreground(
        self, seen: Activations, *, top_k: int, classes: Tensor | None = None
    ) -> NDArray[np.float32]:
        """One map an image, as a runtime or an evaluation cuts it: [N, h, w] float32.

        Args:
            seen: Of N frames; gradients are switched on inside where the method needs them.
            top_k: How many class maps are averaged, where `every_map` has one for each class.
            classes: int64 [N]: look for these instead, one an image. Methods that average or are
                class-free have no use for it.
        """
        if self.class_map is not None:
            chosen = seen.logits.argmax(1) if classes is None else classes
            return _float32(self.class_map(seen, chosen))
        assert self.every_map is not None
        maps = self.every_map(seen)
        if self.class_free:
            return _float32(maps[:, 0])
        if classes is not None and not self.averages:
            return _float32(maps[torch.arange(len(maps), device=maps.device), classes])
        return aggregate_maps(_float32(maps), _float32(seen.logits), top_k)


def _float32(values: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = values.detach().float().cpu().contiguous().numpy()
    return array


def _foreground_predictions(seen: Activations) -> Tensor:
    return torch.sigmoid(seen.model.generator(seen.features))


BAS = Method(
    name="bas",
    title="BAS",
    source="Wu et al., CVPR 2022, arXiv 2112.00580, section 3",
    layer="deep",
    every_map=_foreground_predictions,
    averages=True,
    cut_factor=NETWORK_FACTOR,
)
