"""Engines with random weights: speed does not depend on what a model has learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bas_edge import build_engine, open_engine
from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.quantization.job import PrecisionJob
from bas_edge.quantization.report_file import read_report
from bas_edge_training import export
from bas_edge_training.checkpoint import CheckpointInfo, DataSummary, load_checkpoint
from bas_edge_training.checkpoint import save_checkpoint as write_checkpoint
from bas_edge_training.models import BasModel, ModelConfig, build_model

from .cases.frame_to_box_int8 import LARGEST_ERROR, MAP_ERROR
from .cases.resize_frame import example_frame
from .eager import EagerLocalizer

__all__ = ["CLASSES", "TOP_K", "engine_path", "load_model", "open_eager", "write_engine"]

CLASSES = 200
TOP_K = 80
CALIBRATION = 25  # frames
_OWN = 0.3  # of each class's weights; the rest is the same for all
THRESHOLD = ThresholdPolicy(rule="fixed", value=0.6, chosen_by="this benchmark")


def engine_path(work: Path, head: str) -> Path:
    """Where the engine of one head ("paper" or "edge") is; its checkpoint lies beside it."""
    return work / f"{head}.engine"


def write_engine(work: Path, head: str) -> None:
    """Initialise, export and build a 200-class model, unless this folder has it already.

    "edge-int8" is the int8 form of "edge", which has to be there.
    """
    if engine_path(work, head).exists():
        return
    if head.endswith("-int8"):
        _write_int8(work, head)
        return
    torch.manual_seed(0)
    config = ModelConfig(head=head, num_classes=CLASSES)
    model = build_model(config).eval()
    _spread_maps(model)
    info = CheckpointInfo(
        model=config,
        classes=tuple(f"class {label:03}" for label in range(CLASSES)),
        recipe="none",
        recipe_sha256="",
        recipe_content={},
        data=DataSummary(source="none", images=0, validation=0, background=0),
        epoch=0,
        step=0,
        seconds=0.0,
        finished=True,
        metrics={},
        threshold=THRESHOLD,
    )
    checkpoint = _checkpoint_path(work, head)
    write_checkpoint(checkpoint, model.state_dict(), info)
    images = _write_images(work / "images")
    onnx = work / f"{head}.onnx"
    export(checkpoint, onnx, top_k=TOP_K, images=images, overwrite=True)
    build_engine(onnx, engine_path(work, head))


def _write_int8(work: Path, head: str) -> None:
    """Calibrated on frames like those that are timed; the accuracy of noise is no accuracy."""
    job = PrecisionJob(
        calibration=_write_images(work / "calibration", CALIBRATION),
        method="min-max",
        search_budget_s=0,
        force=True,
        threads=2,
    )
    onnx = work / f"{head.removesuffix('-int8')}.onnx"
    engine = build_engine(onnx, engine_path(work, head), precision="int8", job=job)
    stage = read_report(open_engine(engine.path)).stages[-1]
    if stage.mean_abs_error > MAP_ERROR or stage.max_abs_error > LARGEST_ERROR:
        raise SystemExit(
            f"The int8 maps of {engine.path.name} are off by {stage.mean_abs_error:.3f} in the "
            f"mean and {stage.max_abs_error:.3f} at most."
        )


def open_eager(work: Path, head: str, threads: int) -> EagerLocalizer:
    """The same weights, in eager torch with published post-processing."""
    manifest = open_engine(engine_path(work, head)).manifest
    return EagerLocalizer(
        load_model(work, head),
        size=manifest.input.height,
        top_k=manifest.top_k,
        threshold=manifest.threshold,
        threads=threads,
    )


def load_model(work: Path, head: str) -> BasModel:
    """The module whose engine `write_engine` wrote."""
    return load_checkpoint(_checkpoint_path(work, head)).model


def _checkpoint_path(work: Path, head: str) -> Path:
    return work / f"{head}-checkpoint.safetensors"


@torch.no_grad()
def _spread_maps(model: BasModel) -> None:
    """Scale the generator so that its random maps reach from near 0 to near 1.

    Its classes look for much the same, as those of a trained network do; else the mean of k maps
    would be flat, and a box of it would hang on the smallest differences.
    """
    weight = model.generator.conv.weight
    weight.mul_(_OWN).add_(weight[:1].clone() / _OWN)
    side = model.config.input_size
    frame = Image.fromarray(example_frame(0)).resize((side, side))
    pixels = torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None]
    spread = float(model.generator(model.features(pixels)).std((2, 3)).mean())
    model.generator.conv.weight.mul_(2 / spread)


def _write_images(folder: Path, count: int = 4) -> Path:
    folder.mkdir(exist_ok=True)
    for seed in range(count):
        Image.fromarray(example_frame(seed)).save(folder / f"{seed}.png")
    return folder
