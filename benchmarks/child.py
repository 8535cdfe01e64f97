"""A measurement in a process of its own, which says at the end what it found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from .conditions import REPOSITORY
from .harness import WorkerError, worker_environment

__all__ = ["report_of", "run_child"]

Report = TypeVar("Report")


def run_child(
    module: str, arguments: Sequence[object], kind: type[Report], *, threads: int
) -> Report:
    """Run `python -m benchmarks.MODULE ARGUMENTS…`; the last line that it prints, as `kind`.

    Raises:
        WorkerError: It failed; its own last words are in the message.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=worker_environment(threads),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise WorkerError(
            f"{' '.join(command[2:])} failed with exit code {done.returncode}:\n{done.stderr}"
        )
    return report_of(done.stdout, kind)


def report_of(output: str, kind: type[Report]) -> Report:
    """The last line of what a child printed."""
    return msgspec.json.decode(output.splitlines()[-1], type=kind)
