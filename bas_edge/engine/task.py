"""Whether an engine is one for what is to be done with it."""

from __future__ import annotations

from pathlib import Path

from bas_edge.engine.manifest import Manifest, Task
from bas_edge.errors import InputError

__all__ = ["require_task"]

_OPENS = {
    "localization": "Open it with bas_edge.Localizer, or on the command line: bas-edge run",
    "segmentation": "Open it with bas_edge.Segmenter, or on the command line: bas-edge run",
}


def require_task(path: Path, manifest: Manifest, task: Task) -> None:
    """Raise InputError, with what to open it with, where an engine was made for another task."""
    if manifest.task != task:
        raise InputError(
            f"{path} is an engine for {manifest.task}, not for {task}.",
            hint=f"{_OPENS[manifest.task]}.",
        )
