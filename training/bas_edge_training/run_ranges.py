"""The ranges of a quantization-aware run: chosen when it begins, and rounded to from then on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bas_edge.quantization.trained_ranges import TrainedRanges
from bas_edge_training.bias_correction import correct_biases
from bas_edge_training.recipe import QatSection
from bas_edge_training.rounded_model import observe_ranges, round_as
from bas_edge_training.team import Team
from bas_edge_training.trainer import Trainer

__all__ = ["calibrate", "round_trainer"]


def calibrate(
    trainer: Trainer, frames: NDArray[np.uint8], options: QatSection, team: Team
) -> tuple[TrainedRanges, str]:
    """Choose the ranges of a new run, and round its models from now on.

    Args:
        trainer: Not rounded yet.
        frames: [N, H, W, 3] uint8, at least one.
        options: How.
        team: All of which get the ranges of process 0.

    Returns:
        The ranges, and what was done in words.
    """
    ranges = observe_ranges(trainer.model, frames, flavour=options.flavour, method=options.ranges)
    corrected = correct_biases(trainer.model, frames)
    ranges = team.gather(ranges)[0]  # machines differ in the last digits
    trainer.share()
    if trainer.averaged is not None:
        trainer.averaged.load_state_dict(trainer.model.state_dict())
    round_trainer(trainer, ranges)
    return ranges, (
        f"{len(ranges.ranges)} tensors rounded as for {options.flavour}, ranges by "
        f"{options.ranges} on {len(frames)} images; {corrected} biases corrected."
    )


def round_trainer(trainer: Trainer, ranges: TrainedRanges) -> None:
    """Round both models of a trainer to these ranges from now on."""
    for model in (trainer.model, trainer.averaged):
        if model is not None:
            round_as(model, ranges)
