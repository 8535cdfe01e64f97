"""Which networks of timm go the whole way from `timm:NAME` to a box. Needs timm.

    python -m benchmarks.timm_networks resnet18 convnext_atto --map-stride 16 8

For each network and map stride: cut and build, hold every other cell of the dilated form to the
original, one training step, export (which compares PyTorch and the graph), build the engine (with
`--int8` another in eight bits), localize in a frame. One line each; exit code 1 if one failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bas_edge import Localizer, build_engine
from bas_edge.errors import BasEdgeError
from bas_edge.quantization.job import PrecisionJob
from bas_edge_training.checkpoint import CheckpointInfo, DataSummary, save_checkpoint
from bas_edge_training.exporting import export
from bas_edge_training.models import (
    BasModel,
    LossConfig,
    ModelConfig,
    bas_loss,
    build_model,
    find_backbone,
    parameter_groups,
)

_SIDE = 96
_CLASSES = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="names that timm.create_model knows")
    parser.add_argument("--map-stride", nargs="+", type=int, default=[16, 8])
    parser.add_argument("--int8", action="store_true", help="quantize on noise too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    failures = 0
    for name in options.names:
        for stride in options.map_stride:
            start = time.perf_counter()
            try:
                words = check(f"timm:{name}", stride, int8=options.int8)
            except BasEdgeError as error:
                failures += 1
                words = f"REFUSED: {error} ({error.hint})"
            print(f"{name} {stride}: {words} [{time.perf_counter() - start:.0f} s]", flush=True)
    return int(failures > 0)


def check(architecture: str, stride: int, *, int8: bool) -> str:
    """What was built, in words.

    Raises:
        BasEdgeError: A step was refused.
    """
    torch.manual_seed(0)
    model = built(architecture, stride)
    frames = torch.randint(0, 256, (4, 3, _SIDE, _SIDE))
    train_step(model, frames)
    model.eval()
    with torch.no_grad():
        features = model.features(frames)
        tail = model.tail(features.deep)
    fine = list(features.fine.shape[1:]) if features.fine is not None else None
    words = f"F {list(features.deep.shape[1:])}, finer {fine}, tail {list(tail.shape[1:])}"
    words += f", frames move by {model.trunk.displacement}"
    if stride == 8:
        words += f", every other cell off by {lattice_error(model):.1e}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        save_checkpoint(path / "checkpoint.safetensors", model.state_dict(), described(model))
        report = export(path, path / "net.onnx", simplify=False)
        words += f", {report.nodes} nodes"
        pixels = np.random.default_rng(0).integers(0, 256, (24, 80, 120, 3)).astype(np.uint8)
        write(pixels, path / "images")
        build_engine(path / "net.onnx", path / "net.engine")
        if int8:
            job = PrecisionJob(path / "images", method="min-max", force=True, search_budget_s=0)
            build_engine(path / "net.onnx", path / "int8.engine", precision="int8", job=job)
        for engine in ("net", "int8") if int8 else ("net",):
            with Localizer(path / f"{engine}.engine") as localizer:
                assert localizer.run(pixels[0]).map.shape == (_SIDE // stride,) * 2
    return words


def built(architecture: str, stride: int) -> BasModel:
    config = ModelConfig(
        architecture=architecture,
        num_classes=_CLASSES,
        map_stride=stride,
        norm="batch",
        centred=True,
        input_size=_SIDE,
        conventions=find_backbone(architecture).conventions,
    )
    return build_model(config)


def train_step(model: BasModel, frames: torch.Tensor) -> None:
    """One, after which no parameter of the model may lack a gradient or a learning rate."""
    optimizer = torch.optim.SGD(parameter_groups(model, 1e-3, 5e-4), lr=1e-3, momentum=0.9)
    losses = bas_loss(model.train(), frames, torch.arange(len(frames)) % _CLASSES, LossConfig())
    losses.total.backward()
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert id(parameter) in known, name
    optimizer.step()


def lattice_error(model: BasModel) -> float:
    """How far every other cell of map stride 8 is from that of 16, of the largest one.

    Not 0 where the network averages over all cells (squeeze and excitation): there are more.
    """
    original = built(model.config.architecture, 16).eval()
    original.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        fine, coarse = model.trunk(x).deep, original.trunk(x).deep
    lattices = (fine[:, :, at::2, at::2] for at in (0, 1))  # TensorFlow's padding: the odd ones
    return min(float((cells - coarse).abs().max() / coarse.abs().max()) for cells in lattices)


def described(model: BasModel) -> CheckpointInfo:
    return CheckpointInfo(
        model=model.config,
        classes=tuple("abc"),
        recipe="",
        recipe_sha256="",
        recipe_content={},
        data=DataSummary(source="", images=0, validation=0, background=0),
        epoch=0,
        step=1,
        seconds=0.0,
        finished=True,
        metrics={},
    )


def write(pixels: np.ndarray, folder: Path) -> None:
    from PIL import Image

    folder.mkdir()
    for number, frame in enumerate(pixels):
        Image.fromarray(frame).save(folder / f"{number:02}.png")


if __name__ == "__main__":
    sys.exit(main())
