"""The learning rate over a run."""

from __future__ import annotations

import math

from bas_edge_training.recipe import ScheduleSection

__all__ = ["lr_factor", "total_steps"]


def total_steps(schedule: ScheduleSection, steps_per_epoch: int) -> int:
    """Optimizer steps of the whole run."""
    return schedule.steps or schedule.epochs * steps_per_epoch


def lr_factor(schedule: ScheduleSection, step: int, total: int) -> float:
    """What to multiply each base learning rate with at `step`, 0 ≤ step < total.

    The warm-up is linear, from 1/warmup_steps to 1, and takes at most half of the run; "poly" and
    "cosine" run over the rest. "step" counts its epochs from the start, in the run's proportions
    where `steps` replaces `epochs`.
    """
    warmup = min(schedule.warmup_steps, total // 2)
    if step < warmup:
        return (step + 1) / warmup
    if schedule.kind == "step":
        epoch = step * schedule.epochs // total  # begun, counted from 0
        return float(schedule.decay_factor ** sum(at <= epoch for at in schedule.decay_epochs))
    done = (step - warmup) / max(1, total - warmup)
    if schedule.kind == "poly":
        return float((1.0 - done) ** schedule.power)
    if schedule.kind == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * done))
    return 1.0
