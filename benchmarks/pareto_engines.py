"""Makes the engines of a plan, where they are not there yet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bas_edge import build_engine, open_engine
from bas_edge.engine.manifest import Precision
from bas_edge.errors import EngineError, InputError
from bas_edge.quantization.job import PrecisionJob
from bas_edge_training import export
from bas_edge_training.checkpoint import load_checkpoint

from .pareto_plan import PlannedEngine
from .pareto_rows import Candidate

__all__ = ["Sources", "make_engine", "read_candidate"]

CALIBRATION = 200  # images


@dataclass(frozen=True, slots=True)
class Sources:
    """Real images that engines are made with.

    Attributes:
        images: For export: its checks, the distilled mean map, the label-free threshold.
        calibration: For the ranges of int8.
    """

    images: Path
    calibration: Path


def _none(_: Sources) -> dict[str, Any]:
    return {}


def _int8(sources: Sources) -> dict[str, Any]:
    """Nothing is held to a bound: the picture shows what each engine loses."""
    return {
        "job": PrecisionJob(
            calibration=sources.calibration,
            method="min-max",
            limit=CALIBRATION,
            search_budget_s=0,
            force=True,
        )
    }


# What `build_engine` needs for a precision besides the graph.
_KEYWORDS: dict[Precision, Callable[[Sources], dict[str, Any]]] = {"int8": _int8}


def make_engine(planned: PlannedEngine, work: Path, sources: Sources) -> Path:
    """The engine of one entry, in `work`; one that is there and of the same weights is kept.

    Raises:
        InputError: The run has no checkpoint or goes on, or export or build refuse it.
        EngineError: The exported graph disagrees with PyTorch.
    """
    if planned.path is not None:
        return planned.path
    assert planned.run is not None
    checkpoint = planned.run / "checkpoint.safetensors"
    if not checkpoint.is_file():
        raise InputError(f"{checkpoint} does not exist.", hint="Is --runs the right folder?")
    weights = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    onnx = work / f"{planned.name}-{planned.size}.onnx"
    if not _is_of(onnx, weights):
        if not load_checkpoint(checkpoint).info.finished:
            raise InputError(f"The run in {planned.run} is not finished yet.")
        export(checkpoint, onnx, images=sources.images, input_size=planned.size, overwrite=True)
    engine = work / f"{planned.name}-{planned.size}-{planned.precision}.engine"
    if not _is_of(engine, weights):
        keywords = _KEYWORDS.get(planned.precision, _none)(sources)
        build_engine(onnx, engine, precision=planned.precision, overwrite=True, **keywords)
    return engine


def read_candidate(engine: Path, name: str) -> Candidate:
    """What a row says about an engine, from the engine itself."""
    opened = open_engine(engine)
    manifest, model = opened.manifest, opened.model_path.read_bytes()
    return Candidate(
        name=name,
        head=manifest.training.head,
        width=manifest.training.width,
        map_stride=manifest.training.map_stride,
        trained_at=manifest.training.input_size,
        input_size=manifest.input.height,
        precision=manifest.precision,
        onnx_bytes=len(model),
        onnx_sha256=hashlib.sha256(model).hexdigest(),
    )


def _is_of(path: Path, weights: str) -> bool:
    """Whether an engine or exported graph is there, whole, and of these weights."""
    if not path.exists():
        return False
    try:
        return open_engine(path).manifest.training.checkpoint_sha256 == weights
    except EngineError:
        return False
