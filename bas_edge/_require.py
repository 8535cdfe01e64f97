"""Late imports of optional dependencies."""

from __future__ import annotations

import importlib
from types import ModuleType

from bas_edge.errors import MissingExtraError

__all__ = ["require"]


def require(module: str, *, extra: str = "", purpose: str, hint: str | None = None) -> ModuleType:
    """Import an optional dependency, or say which pip extra brings it; without one, `hint`.

    A module that is absent raises MissingExtraError. One that is present but
    cannot load (a missing .so, the wrong CUDA) keeps its own error, because
    reinstalling the extra would not cure it.

    Example:
        av = require("av", extra="video", purpose="Reading a video file")
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing != module.partition(".")[0]:
            raise  # `module` is installed; one of its own imports is not
        raise MissingExtraError(module, extra=extra, purpose=purpose, hint=hint) from None
