"""Training by one process and by several: the row, and what it looks like."""

from __future__ import annotations

import msgspec

from .timings import Provenance

__all__ = ["TrainProcessesRow"]


class TrainProcessesRow(
    msgspec.Struct, frozen=True, kw_only=True, tag="train_processes", tag_field="kind"
):
    """The same training by different numbers of processes, in turns.

    Attributes:
        device: As torch names it; each process has one of its kind, or a part of the cores.
        batch: Of all processes together.
        steps, images: Of each run.
        verified: What was compared before anything was counted.
        images_per_s: By number of processes, of each run; without its first two steps.
        first_step_s: By number of processes, of each run: from the start of the command, with
            torchrun, imports and the list of images, until the first step was done.
    """

    case: str = "train_processes"
    provenance: Provenance
    device: str
    model: str
    batch: int
    steps: int
    images: int
    verified: str
    images_per_s: dict[int, tuple[float, ...]]
    first_step_s: dict[int, tuple[float, ...]]
