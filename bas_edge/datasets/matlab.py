"""Lists that a set distributes as MATLAB files; reading them needs SciPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bas_edge._require import require
from bas_edge.datasets.listing import expect
from bas_edge.errors import InputError

__all__ = ["load_mat"]


def load_mat(path: Path, what: str, *names: str) -> tuple[Any, ...]:
    """The variables `names` of one .mat file, as SciPy gives them with `squeeze_me`.

    Raises:
        InputError: The file is not there or no MATLAB file, or lacks a variable.
        MissingExtraError: SciPy is not installed.
    """
    expect(path, what)
    io = require("scipy.io", extra="datasets", purpose=f"Reading {path.name}")
    try:
        content = io.loadmat(path, squeeze_me=True)
    except (OSError, ValueError, TypeError, NotImplementedError, io.matlab.MatReadError) as error:
        raise InputError(
            f"{path} is not a MATLAB file that SciPy reads: {error}.", hint="Fetch it again."
        ) from error
    missing = [name for name in names if name not in content]
    if missing:
        raise InputError(f"{path} has no variable '{missing[0]}', which {what} has.")
    return tuple(content[name] for name in names)
