"""What each process of test_several_segmenting.py runs; torchrun starts it.

`segmentation_driver.py FOLDER OPTION ...` makes one run, set of masks and segmenter after another
of FOLDER/set, and leaves what this process got in FOLDER/outcomes_RANK.json.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from bas_edge_training.batches import Batch
from bas_edge_training.segmentation.bas_training import train_multi_label
from bas_edge_training.segmentation.mask_maker import MaskMaker
from bas_edge_training.segmentation.pseudo_masks import make_masks
from bas_edge_training.segmentation.seed_journal import SeedRecord
from bas_edge_training.segmentation.segmenter_training import train_segmenter
from bas_edge_training.trainer import StepFigures, Trainer

RANK = int(os.environ["RANK"])
plain_record, plain_step = MaskMaker.record, Trainer.step


def fail() -> None:
    raise ValueError("the disk is on fire")


def main(folder: Path, options: Sequence[str]) -> None:
    data, outcomes = folder / "set", {}
    made: list[int] = []

    def run(name: str, make: Callable[[], Any]) -> None:
        made.clear()
        try:
            outcomes[name] = {"skipped": list(make().skipped), "made": list(made)}
        except Exception as error:  # noqa: BLE001  (the test looks at it)
            outcomes[name] = {"error": type(error).__name__, "message": str(error)}

    def record(self: MaskMaker, at: int) -> SeedRecord:
        made.append(at)
        return plain_record(self, at)

    MaskMaker.record = record
    run("bas", lambda: train_multi_label(data, folder / "bas", overrides=options))
    run("masks", lambda: make_masks(folder / "bas", data, folder / "masks", scales=(1.0, 0.5)))
    run("segmenter", lambda: train_segmenter(data, folder / "segmenter", overrides=options))

    def burning_step(self: Trainer, batch: Batch, number: int, factor: float) -> StepFigures | None:
        if RANK == 1 and number == 3:
            fail()
        return plain_step(self, batch, number, factor)

    def burning_record(self: MaskMaker, at: int) -> SeedRecord:
        if RANK == 1 and made:
            fail()
        return record(self, at)

    Trainer.step, MaskMaker.record = burning_step, burning_record
    run("bas_failed", lambda: train_multi_label(data, folder / "bas_failed", overrides=options))
    run("failed", lambda: train_segmenter(data, folder / "failed", overrides=options))
    half = folder / "half"
    run("half", lambda: make_masks(folder / "bas", data, half, scales=(1.0, 0.5)))
    (folder / f"outcomes_{RANK}.json").write_text(json.dumps(outcomes))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2:])
