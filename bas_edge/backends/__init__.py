"""Inference backends by name. Each library is imported in one file, when it is asked for."""

from __future__ import annotations

import difflib
import os
from typing import NamedTuple

from bas_edge.backends.base import Backend, TensorSpec
from bas_edge.errors import BackendError, InputError, MissingExtraError

__all__ = ["Backend", "Probe", "TensorSpec", "backend_names", "open_backend", "probe"]

_PLANNED = ("tensorrt", "tensorrt_rtx")
_NAMES = ("onnxruntime", *_PLANNED)


class Probe(NamedTuple):
    """Whether a backend can run here.

    Attributes:
        available: It can.
        version: The library's version; empty when not available.
        reason: Why not, in a sentence; empty when available.
    """

    available: bool
    version: str
    reason: str


def backend_names() -> list[str]:
    """Every backend name this version knows, usable here or not: `probe` tells which."""
    return list(_NAMES)


def check_backend(name: str) -> str:
    """The backend that `name` stands for; "auto" is the best one that this version has.

    Raises:
        InputError: No backend has this name.
        BackendError: It exists, but not in this version.
    """
    if name == "auto":
        return "onnxruntime"
    if name in _PLANNED:
        raise BackendError(
            f"The backend '{name}' is not part of this version of bas-edge.",
            hint="Use the backend 'onnxruntime'.",
        )
    if name not in _NAMES:
        close = difflib.get_close_matches(name, ("auto", *_NAMES), n=1, cutoff=0.5)
        raise InputError(
            f"Unknown backend '{name}'.",
            hint=f"Did you mean '{close[0]}'?"
            if close
            else f"Known: {', '.join(('auto', *_NAMES))}",
        )
    return name


def open_backend(
    name: str, model_path: str | os.PathLike[str], *, threads: int | None = None
) -> Backend:
    """Load an ONNX graph.

    Args:
        name: One of `backend_names()`, or "auto".
        model_path: The graph.
        threads: CPU threads for one run; None lets the library choose (physical cores).

    Raises:
        InputError: Unknown backend, or `threads` is not positive.
        MissingExtraError: Its library is not installed.
        BackendError: The library refuses the graph.
    """
    check_backend(name)
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}, but must be at least 1.")
    from bas_edge.backends.onnxruntime_backend import OnnxRuntimeBackend

    return OnnxRuntimeBackend.open(model_path, threads=threads)


def probe(name: str) -> Probe:
    """Whether the backend can run here, without loading a graph.

    Raises:
        InputError: No backend has this name.
    """
    try:
        check_backend(name)
    except BackendError as error:
        return Probe(False, "", str(error))
    from bas_edge.backends import onnxruntime_backend

    try:
        return Probe(True, onnxruntime_backend.library_version(), "")
    except MissingExtraError as error:
        return Probe(False, "", f"{error} {error.hint}")
    except ImportError as error:
        return Probe(False, "", f"onnxruntime is installed but does not load: {error}")
