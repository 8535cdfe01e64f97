"""An exported model's own module, in float16, from uint8 frames to the tensors of its graph."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bas_edge.backends.base import TensorSpec
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.manifest import Manifest
from bas_edge_training.models import BasModel

__all__ = ["TorchNetwork", "specs_of"]


class TorchNetwork(nn.Module):
    """Eager torch in channels-last order; safe to capture once it has run.

    The trunk, head and generator compute in `dtype`; normalisation, sigmoid and outputs are
    float32, as in a float16 engine. With the form "selected" all C maps are computed and K of
    them gathered; the exported graph computes K alone.

    Args:
        model: On the device where it is to run.
        manifest: Which outputs; "mean" has a generator that torch has not.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, model: BasModel, manifest: Manifest, dtype: torch.dtype = torch.float16
    ) -> None:
        super().__init__()
        if manifest.maps == "mean":
            raise ValueError("the form 'mean' has no torch module")
        config = model.config
        device = next(model.parameters()).device
        self._model = model.eval().to(dtype=dtype, memory_format=torch.channels_last)
        self._dtype = dtype
        self._picked = manifest.k if manifest.maps == "selected" else 0
        self._shift = config.shift_x
        for name, values in (("mean", config.conventions.mean), ("std", config.conventions.std)):
            # Made once: a copy from the host could not be captured.
            self.register_buffer(name, torch.tensor(values, device=device).view(1, 3, 1, 1))

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """uint8 [N, H, W, 3] → logits [N, C], maps [N, K, h, w], and classes [N, K] if picked."""
        x = (frames.permute(0, 3, 1, 2).float() - self.mean) / self.std
        if self._shift:
            x = F.pad(x, (-self._shift, self._shift))
        features = self._model.trunk(x.to(self._dtype))
        logits = self._model.head.logits(self._model.tail(features.deep)).float()
        maps = torch.sigmoid(self._model.generator(features).float())
        if not self._picked:
            return {"logits": logits, "maps": maps}
        best = logits.topk(self._picked, dim=1).indices
        index = best[:, :, None, None].expand(-1, -1, *maps.shape[2:])
        return {"logits": logits, "classes": best.int(), "maps": maps.gather(1, index)}


def specs_of(manifest: Manifest, cells: tuple[int, int]) -> tuple[TensorSpec, ...]:
    """The tensors of its graph with maps of h × w cells: the input, then the outputs."""
    policy, classes = manifest.input, len(manifest.classes)
    frames = TensorSpec(INPUT_NAME, (None, policy.height, policy.width, 3), np.dtype(np.uint8))
    logits = TensorSpec("logits", (None, classes), np.dtype(np.float32))
    maps = TensorSpec("maps", (None, manifest.k, *cells), np.dtype(np.float32))
    if manifest.maps == "all":
        return frames, logits, maps
    return frames, logits, TensorSpec("classes", (None, manifest.k), np.dtype(np.int32)), maps
