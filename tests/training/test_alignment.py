"""Maps that lie beside their objects are found by mirroring, and put right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from bas_edge_training.alignment import align, horizontal_displacement
from bas_edge_training.graph import contract_graph
from bas_edge_training.models import (
    TENSORFLOW,
    TORCHVISION,
    BasModel,
    Conventions,
    Features,
    ModelConfig,
    Trunk,
    build_model,
)
from bas_edge_training.parity import run_onnx

SIDE = 64


class Blobs(Trunk):
    """A trunk whose features are brightness, seen `displaced` pixels too far to the left."""

    def __init__(self, displaced: int, map_stride: int) -> None:
        super().__init__()
        self.displaced, self.map_stride = displaced, map_stride

    def forward(self, x: Tensor) -> Features:
        moved = torch.roll(x, self.displaced, dims=3).mean(1, keepdim=True)
        cells = nn.functional.avg_pool2d(moved, self.map_stride)
        return Features(cells, cells)


class OneLayer(nn.Conv2d):
    """A generator that reads brightness."""

    def forward(self, features: Features) -> Tensor:  # stands in for a Generator
        return super().forward(features.deep)


def displaced_model(displaced: int, map_stride: int = 8, side: int = SIDE) -> BasModel:
    config = ModelConfig(width=0.125, num_classes=2, input_size=side, map_stride=map_stride)
    model = build_model(config)
    model.trunk = Blobs(displaced, map_stride)  # a stand-in
    model.generator = OneLayer(1, 2, 1)  # a stand-in
    nn.init.ones_(model.generator.weight)
    return model.eval()


def bright_squares() -> np.ndarray:
    frames = np.zeros((24, SIDE, SIDE, 3), np.uint8)
    corners = np.random.default_rng(0).integers(18, 34, (24, 2))
    for frame, (x, y) in zip(frames, corners, strict=True):
        frame[y : y + 12, x : x + 12] = 255
    return frames


@pytest.mark.parametrize("displaced", [-6, -3, 0, 4, 7])
def test_displacement_is_found_and_undone(displaced: int) -> None:
    model, frames = displaced_model(displaced), bright_squares()
    assert horizontal_displacement(model, frames) == displaced
    assert align(model, frames) == displaced
    assert horizontal_displacement(model, frames) == 0


@pytest.mark.parametrize("displaced", [-16, 9])
def test_at_map_stride_16_up_to_16_pixels_are_found(displaced: int) -> None:
    """A cell of twice the size may lie twice as far from its object."""
    frames = np.kron(bright_squares(), np.ones((1, 2, 2, 1), np.uint8))  # [24, 128, 128, 3]
    model = displaced_model(displaced, 16, 2 * SIDE)
    assert align(model, frames) == displaced
    assert horizontal_displacement(model, frames) == 0


def test_no_frames_leave_the_model_as_it_is() -> None:
    model = displaced_model(3)
    assert align(model, bright_squares()[:0]) == 0


@pytest.mark.parametrize("conventions", [TENSORFLOW, TORCHVISION])
@pytest.mark.parametrize(("shift", "centred"), [(-5, False), (5, False), (5, True)])
def test_shift_and_padding_are_part_of_the_exported_graph(
    shift: int, centred: bool, conventions: Conventions, make_model: Callable[..., BasModel]
) -> None:
    model = make_model("edge", centred=centred)
    model.set_conventions(conventions)
    model.set_shift(shift)
    graph = contract_graph(model)
    onnx.checker.check_model(graph, full_check=True)
    kinds = [node.op_type for node in graph.graph.node]
    assert kinds.count("Slice") == 1
    assert "Pad" not in kinds
    frames = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    with torch.inference_mode():
        _, maps = model(torch.from_numpy(frames).permute(0, 3, 1, 2))
    np.testing.assert_allclose(run_onnx(graph, frames)["maps"], maps.numpy(), atol=1e-5)
