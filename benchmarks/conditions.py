"""What a measurement depends on besides the code: the machine and its libraries."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from bas_edge import ops
from bas_edge.conditions import installed_version, machine_conditions

__all__ = ["REPOSITORY", "read_commit", "read_conditions"]

REPOSITORY = Path(__file__).resolve().parent.parent

# Beyond the runtime's own: those that baselines run on.
_LIBRARIES = ("torch", "scikit-image", "opencv-python-headless", "opencv-python", "av", "tensorrt",
              "tensorrt-rtx", "cuda-bindings", "pycuda")  # fmt: skip


def read_conditions() -> dict[str, Any]:
    """`bas_edge.conditions.machine_conditions`, the baselines' libraries and our dispatch path."""
    conditions = machine_conditions()
    conditions.pop("commit", None)  # a row has its own
    versions = {**conditions["versions"]}
    versions.update({name: installed_version(name) for name in _LIBRARIES})
    conditions["versions"] = {name: each for name, each in versions.items() if each is not None}
    conditions["ops_path"] = ops.active_path()
    return conditions


def read_commit() -> str:
    """The short hash of HEAD, with "+changes" where the code differs from it."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if not head:
        return "unknown"
    # The rows and tables that this very run writes do not make the code another one.
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!docs")
    return f"{head}+changes" if changed else head


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
