"""One process of `train_processes`, started by torchrun: trains, and process 0 tells when each step
was done, as one line of JSON."""

from __future__ import annotations

import json
import sys
import time

from bas_edge_training import train
from bas_edge_training.progress import SilentReporter
from bas_edge_training.team import launched_team
from bas_edge_training.training_log import LogRow

__all__ = ["main"]


class StepClock(SilentReporter):
    """Losses, and the system's time after each step: processes compare it."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.times_s: list[float] = []

    def step(self, row: LogRow) -> None:
        self.losses.append(row.loss)
        self.times_s.append(time.time())


def main() -> None:
    """`train_child.py IMAGES OUTPUT SECTION.KEY=VALUE …`."""
    images, output, *overrides = sys.argv[1:]
    clock = StepClock()
    train(images, output, "default", overrides=overrides, reporter=clock)
    if launched_team().leads:
        print(json.dumps({"losses": clock.losses, "times_s": clock.times_s}), flush=True)


if __name__ == "__main__":
    main()
