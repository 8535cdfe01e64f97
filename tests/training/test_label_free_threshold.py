"""The cut that a trained model ships with, chosen from its own boxes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bas_edge.ops import maps_to_boxes
from bas_edge_training.models import BasModel, ModelConfig, build_model
from bas_edge_training.threshold import label_free_threshold

SIDE = 64


class Brightness(nn.Module):
    """A model whose every class map is the brightness of its cells; its scores are constant."""

    def __init__(self, contrast: tuple[float, ...]) -> None:
        super().__init__()
        self.config = ModelConfig(width=0.125, num_classes=len(contrast), input_size=SIDE)
        self.contrast = nn.Parameter(torch.tensor(contrast))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        cells = nn.functional.avg_pool2d(frames.float().mean(1, keepdim=True) / 255, 4)
        maps = cells ** self.contrast.view(1, -1, 1, 1)
        return torch.arange(len(self.contrast)).flip(0).expand(len(frames), -1).float(), maps


def scenes(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Frames with a bright object and dimmer clutter, and the objects' boxes."""
    rng = np.random.default_rng(7)
    frames = rng.integers(0, 12, (count, SIDE, SIDE, 3), dtype=np.uint8)
    boxes = np.empty((count, 4))
    for frame, box in zip(frames, boxes, strict=True):
        for y, x in rng.integers(0, SIDE - 16, (2, 2)):
            frame[y : y + 16, x : x + 16] = 80
        (x, y), (width, height) = rng.integers(4, 28, 2), rng.integers(18, 32, 2)
        frame[y : y + height, x : x + width] = 180
        frame[y + 2 : y + 12, x + 2 : x + 12] = 255
        box[:] = x, y, x + width, y + height
    return frames, boxes


def test_the_chosen_cut_finds_the_objects() -> None:
    frames, boxes = scenes()
    model = Brightness((1.0, 1.0)).train()
    policy = label_free_threshold(model, frames)  # type: ignore[arg-type]  # a stand-in
    assert policy is not None
    assert policy.rule == "fixed"
    assert 80 / 255 < policy.value < 180 / 255
    assert "40 unboxed images" in policy.chosen_by
    with torch.no_grad():
        _, maps = model(torch.from_numpy(frames).permute(0, 3, 1, 2))
    found = maps_to_boxes(maps[:, 0].numpy(), (SIDE, SIDE), policy.value).boxes[:, 0]
    assert np.abs(found - boxes).mean() < 3
    assert model.training


def test_top_k_decides_which_maps_are_cut() -> None:
    frames, _ = scenes()
    model = Brightness((1.0, 3.0))  # the second has the lower score, and darker objects
    one, both = (label_free_threshold(model, frames, top_k=k) for k in (1, 2))  # type: ignore[arg-type]
    assert one is not None
    assert both is not None
    assert one.value != both.value


def test_maps_without_contrast_choose_nothing() -> None:
    frames, _ = scenes(4)
    torch.manual_seed(0)
    model: BasModel = build_model(ModelConfig(width=0.125, num_classes=3, input_size=SIDE))
    for value in model.generator.parameters():
        nn.init.zeros_(value)
    assert label_free_threshold(model, frames) is None
    assert label_free_threshold(model, frames[:0]) is None
    assert label_free_threshold(Brightness((1.0,)), frames[:1]) is None  # type: ignore[arg-type]
