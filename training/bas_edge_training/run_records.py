"""What a run writes down about itself: to go on from, and beside its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge_training.checkpoint import CheckpointInfo, RunState

if TYPE_CHECKING:
    from bas_edge_training.run import Run

__all__ = ["checkpoint_info", "run_state"]


def run_state(run: Run, log_rows: int) -> RunState:
    """All that a resume needs besides tensors; `log_rows` are the rows of its log so far."""
    return RunState(
        recipe=run.name,
        recipe_content=msgspec.to_builtins(run.recipe),
        model=run.trainer.model.config,
        fingerprint=run.data.fingerprint,
        pretrained=run.pretrained,
        epoch=run.epoch,
        batch=run.batch,
        step=run.number,
        seconds=run.seconds,
        log_rows=log_rows,
        epoch_sums=dict(run.sums),
        metrics=run.metrics,
        skipped=run.images.skipped,
        converted=run.images.converted,
        trained_ranges=run.ranges,
    )


def checkpoint_info(
    run: Run, *, finished: bool, min_score: float, threshold: ThresholdPolicy | None
) -> CheckpointInfo:
    """What the checkpoint says of how it came about; see `CheckpointInfo`."""
    return CheckpointInfo(
        model=run.trainer.result.config,
        classes=run.data.classes,
        recipe=run.name,
        recipe_sha256=run.recipe.sha256,
        recipe_content=run.recipe.to_dict(),
        data=run.images.summary(),
        pretrained=run.pretrained,
        epoch=run.epoch,
        step=run.number,
        seconds=run.seconds,
        finished=finished,
        metrics=run.metrics,
        min_score=min_score,
        threshold=threshold,
        trained_ranges=run.ranges,
    )
