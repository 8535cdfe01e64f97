"""Checkpoints: safetensors with their description as JSON in the header. No pickle.

Two kinds of file, each replaced atomically:
- `checkpoint.safetensors`: the model to export. `checkpoint.json` beside it is a readable
  copy of the description; the one inside the file is what counts.
- `last.safetensors`: everything a killed run needs to go on as if nothing had happened.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.errors import InputError
from bas_edge.quantization.trained_ranges import TrainedRanges
from bas_edge_training.atomic import replace_atomically
from bas_edge_training.models import BasModel, ModelConfig, build_model
from bas_edge_training.models.config import CHECKPOINT_KEY

__all__ = [
    "Checkpoint",
    "CheckpointInfo",
    "DataSummary",
    "RunState",
    "checkpoint_task",
    "fill",
    "load_checkpoint",
    "load_run_state",
    "load_weights",
    "save_checkpoint",
    "save_run_state",
]

_Described = TypeVar("_Described", bound="Described")


class Described(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A description that travels as JSON in a safetensors header."""

    schema_version: int = 1


class DataSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a model was trained on.

    Attributes:
        source: The folder or CSV, as given.
        images, validation, background: How many images had each role.
        skipped: How many of them could not be read.
        converted: How many were not plain upright RGB, by mode ("L", "CMYK rotated", …).
        fingerprint: sha256 of the list of relative paths and labels.
    """

    source: str
    images: int
    validation: int
    background: int
    skipped: int = 0
    converted: dict[str, int] = {}
    fingerprint: str = ""


class CheckpointInfo(Described, frozen=True, kw_only=True):
    """Everything about a trained model but its weights.

    Attributes:
        classes: Names in the order of the logits.
        recipe: Name of the recipe; `recipe_content` holds its values.
        task: "segmentation" for the weights of a segmenter; UNSET is localization, as in files
            of versions that knew no other.
        finished: False for a checkpoint taken while the run still went on.
        metrics: Last epoch's means and validation figures, by the names of log.csv.
        threshold: How the runtime should cut this model's maps; None leaves it to export.
        min_score: Class score under which the runtime reports nothing found.
        trained_ranges: What the model was rounded with; UNSET where it was trained in float, and
            then not written, so that versions which do not know it read the file as well.
    """

    model: ModelConfig
    classes: tuple[str, ...]
    recipe: str
    recipe_sha256: str
    recipe_content: dict[str, dict[str, Any]]
    task: Literal["segmentation"] | msgspec.UnsetType = msgspec.UNSET
    data: DataSummary
    pretrained: str = ""
    epoch: int
    step: int
    seconds: float
    finished: bool
    metrics: dict[str, float]
    threshold: ThresholdPolicy | None = None
    min_score: float = 0.0
    trained_ranges: TrainedRanges | msgspec.UnsetType = msgspec.UNSET


class RunState(Described, frozen=True, kw_only=True):
    """Where a run stands, beside its tensors.

    Attributes:
        recipe_content: With `[machine]`, so that a resume uses the same by default.
        epoch, batch: The next batch to train on, counted from 0.
        log_rows: Rows of log.csv that belong to the steps done.
        epoch_sums: Figures of the unfinished epoch, summed over its images.
        trained_ranges: As in `CheckpointInfo`.
    """

    recipe: str
    recipe_content: dict[str, dict[str, Any]]
    model: ModelConfig
    fingerprint: str
    pretrained: str
    epoch: int
    batch: int
    step: int
    seconds: float
    log_rows: int
    epoch_sums: dict[str, float]
    metrics: dict[str, float]
    skipped: dict[str, str]
    converted: dict[str, str]
    trained_ranges: TrainedRanges | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained model in evaluation mode, with its description."""

    path: Path
    model: BasModel
    info: CheckpointInfo


def save_checkpoint(path: Path, weights: dict[str, Tensor], info: CheckpointInfo) -> None:
    """Write `path` (.safetensors) and its readable copy (.json)."""
    _save(path, weights, info)
    text = json.dumps(msgspec.to_builtins(info), indent=2, ensure_ascii=False) + "\n"
    replace_atomically(
        path.with_suffix(".json"), lambda temporary: temporary.write_text(text, encoding="utf-8")
    )


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint; `path` is the file or the run folder that holds it.

    Raises:
        InputError: No such file, not a checkpoint of ours, or its weights do not fit.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoint.safetensors"
    tensors, info = load_weights(path)
    if info.task is not msgspec.UNSET:
        raise InputError(
            f"{path} is the checkpoint of a segmenter, not of a BAS model.",
            hint="Give the run of bas-edge train.",
        )
    model = build_model(info.model)
    fill(model, tensors, path)
    return Checkpoint(path, model.eval(), info)


def load_weights(path: Path) -> tuple[dict[str, Tensor], CheckpointInfo]:
    """What a checkpoint file holds, of either task. Raises InputError as `load_checkpoint`."""
    return _load(path, CheckpointInfo, "a checkpoint of bas-edge")


def checkpoint_task(path: str | Path) -> str:
    """What a checkpoint (file or run folder) is of: "segmentation", or "" for anything else."""
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoint.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(CHECKPOINT_KEY, "{}")
        task = json.loads(text).get("task", "")
    except (SafetensorError, OSError, ValueError, AttributeError):
        return ""  # whoever loads it says what is wrong with it
    return str(task)


def fill(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Put the weights of a checkpoint into the model that it describes."""
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise InputError(f"The weights in {path} do not fit their own description: {first}") from (
            error
        )


def save_run_state(path: Path, tensors: dict[str, Tensor], state: RunState) -> None:
    """Write `last.safetensors`."""
    _save(path, tensors, state)


def load_run_state(path: Path) -> tuple[dict[str, Tensor], RunState]:
    """Read `last.safetensors`. Raises InputError where it is missing or not ours."""
    return _load(path, RunState, "the state of an unfinished run")


def _save(path: Path, tensors: dict[str, Tensor], description: Described) -> None:
    contiguous = {
        name: value.detach().to("cpu", memory_format=torch.contiguous_format).contiguous()
        for name, value in tensors.items()
    }
    metadata = {CHECKPOINT_KEY: msgspec.json.encode(description).decode()}
    replace_atomically(path, lambda temporary: save_file(contiguous, temporary, metadata))


def _load(path: Path, kind: type[_Described], what: str) -> tuple[dict[str, Tensor], _Described]:
    if not path.is_file():
        engine = (path.parent / "manifest.json").is_file()
        raise InputError(
            f"{path} does not exist.",
            hint=f"{path.parent} is an engine: name the run folder that it was exported from."
            if engine
            else "bas-edge train writes it.",
        )
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(CHECKPOINT_KEY)
            if text is None:
                raise InputError(f"{path} is a safetensors file, but not {what}.")
            description = msgspec.json.decode(text, type=kind)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except (SafetensorError, OSError) as error:
        if path.suffix != ".safetensors":
            raise InputError(
                f"{path} is not {what}, which is a run folder or a .safetensors file.",
                hint="What the authors of BAS published: bas-edge import-checkpoint.",
            ) from error
        raise InputError(
            f"{path} is damaged: {error}.", hint="Copy it again, or train again."
        ) from error
    except (msgspec.DecodeError, ValueError) as error:
        raise InputError(
            f"{path} is not {what} that this version can read: {error}.",
            hint="Train it again, or use the bas-edge version that wrote it.",
        ) from error
    return tensors, description
