"""A few small images and a recipe that trains on them in about a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from bas_edge_training.checkpoint import CheckpointInfo, DataSummary, save_checkpoint
from bas_edge_training.models import BasModel, ModelConfig, build_model, find_backbone
from bas_edge_training.recipe import Recipe, load_recipe

TINY = (
    "model.width=0.125",
    "data.resize=40",
    "data.crop=32",
    "data.batch_size=4",
    "schedule.epochs=2",
    "schedule.warmup_steps=0",
    "training.deterministic=true",
    "validation.fraction=0",
    "machine.device=cpu",
    "machine.threads=1",
    "machine.workers=0",
)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only lose time to threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny_overrides() -> tuple[str, ...]:
    """What makes the default recipe tiny: 3 steps an epoch on `image_folder`."""
    return TINY


@pytest.fixture
def tiny_recipe() -> Recipe:
    return load_recipe("default", TINY)


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Three classes of four images, 40 to 50 pixels, each a coloured square on noise."""
    generator = np.random.default_rng(5)
    root = tmp_path / "images"
    for label, name in enumerate(("ant", "bee", "cat")):
        (root / name).mkdir(parents=True)
        for number in range(4):
            height, width = generator.integers(40, 51, 2)
            pixels = generator.integers(0, 120, (height, width, 3)).astype(np.uint8)
            y, x = generator.integers(4, 20, 2)
            pixels[y : y + 16, x : x + 16, label] = 250
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.fixture
def background_folder(tmp_path: Path) -> Path:
    """Three images without any object."""
    generator = np.random.default_rng(6)
    root = tmp_path / "nothing"
    root.mkdir()
    for number in range(3):
        pixels = generator.integers(0, 120, (44, 44, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
    return root


def lively_model(
    head: str,
    *,
    architecture: str = "mobilenet_v1",
    classes: int = 6,
    norm: str = "none",
    centred: bool = False,
    map_stride: int = 8,
    side: int = 64,
) -> BasModel:
    """Width 0.125 at 64 pixels, with random weights whose logits and maps vary."""
    torch.manual_seed(1)
    config = ModelConfig(
        architecture=architecture,
        num_classes=classes,
        head=head,
        width=0.125,
        input_size=side,
        norm=norm,
        centred=centred,
        map_stride=map_stride,
        conventions=find_backbone(architecture).conventions,
    )
    model = build_model(config).eval()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.dim() == 4:
            scale = 0.4 if tensor.shape[1] == 1 else (2.0 / tensor[0].numel()) ** 0.5
            torch.nn.init.normal_(tensor, 0, scale)
        elif tensor.dtype == torch.float32:
            positive = name.endswith(("bn.weight", "running_var"))
            torch.nn.init.uniform_(tensor, 0.5, 1.5) if positive else torch.nn.init.normal_(
                tensor, 0, 0.3
            )
    return model


@pytest.fixture
def image_files(tmp_path: Path) -> Callable[..., list[Path]]:
    """Frames [M, H, W, 3] as files that stand in for a data set."""

    def write(frames: NDArray[np.uint8]) -> list[Path]:
        folder = tmp_path / "frames"
        folder.mkdir()
        paths = [folder / f"{number:02}.png" for number in range(len(frames))]
        for path, frame in zip(paths, frames, strict=True):
            Image.fromarray(frame).save(path)
        return paths

    return write


@pytest.fixture
def make_model() -> Callable[..., BasModel]:
    return lively_model


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """A run folder as `train` leaves it, around a model."""

    def make(
        model: BasModel,
        *,
        source: str = "",
        recipe_content: dict[str, dict[str, Any]] | None = None,
        classes: tuple[str, ...] | None = None,
        **info: object,
    ) -> Path:
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        described = CheckpointInfo(
            model=model.config,
            classes=classes or tuple(f"class {i}" for i in range(model.config.num_classes)),
            recipe="default",
            recipe_sha256="5" * 64,
            recipe_content=recipe_content or {},
            data=DataSummary(source=source, images=12, validation=3, background=0),
            epoch=4,
            step=48,
            seconds=9.0,
            finished=True,
            metrics={},
            **info,  # any field of CheckpointInfo
        )
        save_checkpoint(folder / "checkpoint.safetensors", model.state_dict(), described)
        return folder

    return make
