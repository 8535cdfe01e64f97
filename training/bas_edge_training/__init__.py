"""Training for bas-edge: image labels in, a checkpoint and an ONNX file out (extra: `train`)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bas_edge_training.analysis.experiment import analyse
    from bas_edge_training.analysis.report import Analysis
    from bas_edge_training.checkpoint import Checkpoint, load_checkpoint
    from bas_edge_training.comparison import Comparison, compare
    from bas_edge_training.export_report import ExportReport
    from bas_edge_training.exporting import export
    from bas_edge_training.import_checkpoint import ImportReport, import_checkpoint
    from bas_edge_training.recipe import Recipe, load_recipe, recipe_names
    from bas_edge_training.results import TrainingInterrupted, TrainResult
    from bas_edge_training.training import train

__all__ = [
    "Analysis",
    "Checkpoint",
    "Comparison",
    "ExportReport",
    "ImportReport",
    "Recipe",
    "TrainResult",
    "TrainingInterrupted",
    "analyse",
    "compare",
    "export",
    "import_checkpoint",
    "load_checkpoint",
    "load_recipe",
    "recipe_names",
    "train",
]

_HOMES = {
    "Analysis": "analysis.report",
    "Checkpoint": "checkpoint",
    "Comparison": "comparison",
    "ExportReport": "export_report",
    "ImportReport": "import_checkpoint",
    "Recipe": "recipe",
    "TrainResult": "results",
    "TrainingInterrupted": "results",
    "analyse": "analysis.experiment",
    "compare": "comparison",
    "export": "exporting",
    "import_checkpoint": "import_checkpoint",
    "load_checkpoint": "checkpoint",
    "load_recipe": "recipe",
    "recipe_names": "recipe",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that listing recipes does not load torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    value = getattr(module, name)
    globals()[name] = value
    return value
