"""What a finished training says, of either kind."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from bas_edge.cli.launched import tell_skipped
from bas_edge.cli.output import counted, print_json, print_rows

if TYPE_CHECKING:
    from bas_edge_training.results import TrainResult

__all__ = ["tell_trained"]


def tell_trained(
    result: TrainResult, *, as_json: bool, figures: Collection[str] | None = None
) -> None:
    """Print the result; of several processes the first does.

    Args:
        result: Of the training.
        as_json: As one JSON object.
        figures: Which metrics the text shows; None is all of them.

    Raises:
        PartialFailureError: Images were skipped; see `tell_skipped`.
    """
    from bas_edge_training.team import launched_team

    if not launched_team().leads:
        return
    if as_json:
        print_json(result)
    else:
        epochs, steps = counted(result.epochs, "epoch"), counted(result.steps, "step")
        print(f"Trained {epochs} ({steps}) in {result.seconds / 60:.1f} minutes")
        shown = {n: v for n, v in result.metrics.items() if figures is None or n in figures}
        print_rows((name, f"{value:.4g}") for name, value in shown.items())
        for what, count in result.converted.items():
            print(f"note: {counted(count, 'image')} {'was' if count == 1 else 'were'} {what}")
        for warning in result.warnings:
            print(f"note: {warning}")
        print(f"\nWrote {result.checkpoint}\n\nNext:\n  {result.next_command}")
    tell_skipped(result.skipped, hint="The checkpoint is complete. Mend or remove these images.")
