"""What a network says when it sees only a part of its own features, or all but that part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bas_edge_training.analysis.growth import GrowingMask
from bas_edge_training.models import BasModel

__all__ = ["Responses", "masked_responses"]


@dataclass(frozen=True, slots=True, eq=False)
class Responses:
    """Of N images and R masks each. All float64; S is the label's logit.

    Attributes:
        labels: int64 [N].
        correct: bool [N], whether the label is the best class of the whole image.
        whole, empty: [N], S of the whole image, and of an image without any features.
        whole_entropy, empty_entropy: [N], their cross-entropy in nats.
        entropy: [N, R], cross-entropy in nats of what is inside the mask.
        inside: [N, R], S of what is inside the mask.
        outside: [N, R], S of what is left when the inside is erased.
        areas: [N, R], share of the frame that the mask covers, 0 to 1.
    """

    labels: NDArray[np.int64]
    correct: NDArray[np.bool_]
    whole: NDArray[np.float64]
    empty: NDArray[np.float64]
    whole_entropy: NDArray[np.float64]
    empty_entropy: NDArray[np.float64]
    entropy: NDArray[np.float64]
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    areas: NDArray[np.float64]

    @classmethod
    def join(cls, parts: Sequence[Responses]) -> Responses:
        """Those of several batches, one after another; at least one."""
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in cls.__dataclass_fields__
            )
        )

    def __getitem__(self, images: NDArray[np.bool_]) -> Responses:
        """Those of some of the images, bool [N]."""
        return Responses(*(getattr(self, name)[images] for name in self.__dataclass_fields__))


def masked_responses(
    model: BasModel,
    frames: Tensor,
    labels: Sequence[int],
    objects: Sequence[GrowingMask],
    ratios: Sequence[float],
) -> Responses:
    """Run one batch under every mask.

    As in training, what is masked is F, the features that the erase branch reads, not pixels.
    A cell is kept by the share of its pixels that lie in the mask, so that masks keep their area.

    Args:
        model: In evaluation mode, with gradients off.
        frames: RGB pixels 0 to 255, uint8 [N, 3, H, W], on the model's device.
        labels: N class indices.
        objects: N growing masks of H × W pixels.
        ratios: R areas relative to the object's.
    """
    wanted = torch.tensor(labels, device=frames.device)
    rows = torch.arange(len(labels), device=frames.device)
    deep = model.features(frames).deep  # [N, channels, h, w]
    height, width = deep.shape[-2:]
    ranks = torch.from_numpy(np.stack([one.rank for one in objects])).to(frames.device)

    def scores(features: Tensor) -> Tensor:  # [N, channels, h, w] -> [N, C]
        return model.head.logits(model.tail(features)).float()

    def of_label(logits: Tensor) -> tuple[Tensor, Tensor]:  # its S and cross-entropy, [N] each
        return logits[rows, wanted], F.cross_entropy(logits, wanted, reduction="none")

    logits = scores(deep)
    whole, whole_entropy = of_label(logits)
    empty, empty_entropy = of_label(scores(torch.zeros_like(deep)))
    entropy, inside, outside = [], [], []
    for ratio in ratios:
        pixels = torch.tensor([one.pixels(ratio) for one in objects], device=frames.device)
        mask = (ranks < pixels[:, None, None]).float().unsqueeze(1)  # [N, 1, H, W]
        kept = F.adaptive_avg_pool2d(mask, (height, width)).to(deep.dtype)  # [N, 1, h, w]
        score, loss = of_label(scores(deep * kept))
        inside.append(score)
        entropy.append(loss)
        outside.append(scores(deep * (1 - kept))[rows, wanted])
    areas = [[one.pixels(ratio) / one.rank.size for ratio in ratios] for one in objects]
    return Responses(
        labels=np.asarray(labels, np.int64),
        correct=(logits.argmax(1) == wanted).cpu().numpy(),
        whole=_array(whole),
        empty=_array(empty),
        whole_entropy=_array(whole_entropy),
        empty_entropy=_array(empty_entropy),
        entropy=_array(torch.stack(entropy, 1)),
        inside=_array(torch.stack(inside, 1)),
        outside=_array(torch.stack(outside, 1)),
        areas=np.asarray(areas, np.float64),
    )


def _array(values: Tensor) -> NDArray[np.float64]:
    return values.double().cpu().numpy()
