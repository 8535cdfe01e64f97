"""What `train()` returns, and how it says that it was stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["TrainResult", "TrainingInterrupted"]


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C: the run was saved, and the message says how to go on."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run left behind.

    Attributes:
        folder: The run folder.
        checkpoint: checkpoint.safetensors in it.
        epochs, steps: How many were done, over all resumes.
        seconds: Time spent, over all resumes.
        metrics: The last epoch's figures, by the names of log.csv's columns.
        min_score: The class score (softmax, 0 to 1) below which the runtime finds nothing.
        skipped: Path -> reason, for images that could not be read.
        converted: How many images were not plain upright RGB, by what was done to them.
        warnings: Sentences about data that was used, but likely not as meant.
        next_command: What to type next.
    """

    folder: Path
    checkpoint: Path
    epochs: int
    steps: int
    seconds: float
    metrics: dict[str, float]
    min_score: float
    skipped: dict[str, str]
    converted: dict[str, int]
    warnings: tuple[str, ...]
    next_command: str
