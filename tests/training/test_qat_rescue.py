"""A network that int8 breaks, and that quantization-aware training mends.

Four tensors get a channel far out of the range of all others, which nothing reads: the
network in float hardly notices, but nearly all codes of these tensors are spent on one value.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.quantization.codes import Flavour
from bas_edge.quantization.layers import find_layers
from bas_edge.quantization.qdq import insert_qdq
from bas_edge.quantization.trained_ranges import TrainedRanges
from bas_edge_training.batches import Batch
from bas_edge_training.graph import contract_graph
from bas_edge_training.models import (
    TENSORFLOW,
    BasModel,
    ModelConfig,
    build_model,
    fold_batch_norm,
)
from bas_edge_training.recipe import load_recipe
from bas_edge_training.rounded_model import clear_rounding, observe_ranges, round_as
from bas_edge_training.trainer import Trainer

CPU = torch.device("cpu")
OUTLIER = 700.0
SIDE = 32
NO_CLIP = msgspec.structs.replace(TENSORFLOW, activation="relu")  # relu6 knows no outliers


@dataclass(frozen=True)
class Scenes:
    frames: NDArray[np.uint8]  # [M, 32, 32, 3]
    labels: NDArray[np.int64]  # [M]

    @classmethod
    def drawn(cls, seed: int, count: int) -> Scenes:
        """A red, green or blue square on noise."""
        random = np.random.default_rng(seed)
        frames = random.integers(0, 120, (count, SIDE, SIDE, 3)).astype(np.uint8)
        labels = np.arange(count) % 3
        for frame, label in zip(frames, labels, strict=True):
            y, x = random.integers(0, 20, 2)
            frame[y : y + 12, x : x + 12, label] = 250
        return cls(frames, labels)

    def batch(self) -> Batch:
        none = torch.empty(0, SIDE, SIDE, 3, dtype=torch.uint8)
        return Batch(torch.from_numpy(self.frames), torch.from_numpy(self.labels), none)

    def accuracy(self, logits: NDArray[np.float32]) -> float:
        return float((logits.argmax(1) == self.labels).mean())


def trainer(model: BasModel, lr: float, warmup: int) -> Trainer:
    options = (f"optimizer.lr={lr}", f"loss.warmup_steps={warmup}", "loss.beta=0.5")
    return Trainer(model, load_recipe("default", options), CPU)


def plant_outliers(model: BasModel) -> None:
    with torch.no_grad():
        for index in (2, 4, 6, 8):
            writer, reader = (
                model.trunk.blocks[index].pw.conv,
                model.trunk.blocks[index + 1].dw.conv,
            )
            writer.weight[0], writer.bias[0], reader.weight[0] = 0, OUTLIER, 0


def float_logits(model: BasModel, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.no_grad():
        found: NDArray[np.float32] = model.eval()(torch.from_numpy(frames).permute(0, 3, 1, 2))[
            0
        ].numpy()
    return found


def int8_logits(
    model: BasModel, trained: TrainedRanges, flavour: Flavour, frames: NDArray[np.uint8]
) -> NDArray[np.float32]:
    graph = OnnxGraph.read(contract_graph(model).SerializeToString())
    layers = find_layers(graph)
    insert_qdq(graph, layers, trained.codes(graph, layers, flavour), flavour)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(graph.serialize(), options, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(["logits"], {"frames": frames})[0]
    return found


@pytest.fixture(scope="module")
def broken() -> BasModel:
    """Trained in float for 60 steps, BatchNorm folded, outliers planted."""
    torch.manual_seed(1)
    config = ModelConfig(
        width=0.125, num_classes=3, norm="batch", input_size=SIDE, conventions=NO_CLIP
    )
    first = trainer(build_model(config), lr=0.02, warmup=40)
    for number in range(1, 61):
        first.step(Scenes.drawn(number, 12).batch(), number, 1.0)
    model = fold_batch_norm(first.model.eval())
    plant_outliers(model)
    return model


def test_int8_is_mended_in_both_flavours(broken: BasModel) -> None:
    seen, unseen = Scenes.drawn(5, 32), Scenes.drawn(10**6, 60)
    assert unseen.accuracy(float_logits(broken, unseen.frames)) > 0.9
    ranges = observe_ranges(broken, seen.frames, flavour="tensorrt", method="min-max")
    before = {
        flavour: unseen.accuracy(int8_logits(broken, ranges, flavour, unseen.frames))
        for flavour in ("tensorrt", "onnxruntime")
    }
    assert before["tensorrt"] < 0.8

    mending = trainer(broken, lr=0.0003, warmup=0)
    round_as(broken, ranges)
    steps = 40
    for number in range(1, steps + 1):
        factor = 1 - number / (steps + 2)
        mending.step(Scenes.drawn(1000 + number, 12).batch(), number, factor)

    rounded = unseen.accuracy(float_logits(broken, unseen.frames))
    clear_rounding(broken)
    after = {
        flavour: unseen.accuracy(int8_logits(broken, ranges, flavour, unseen.frames))
        for flavour in ("tensorrt", "onnxruntime")
    }
    assert rounded == pytest.approx(after["tensorrt"], abs=0.05)  # ties
    assert min(after.values()) > 0.9
    assert after["onnxruntime"] > before["onnxruntime"]
