"""onnxsim, kept at arm's length.

It is native code that has crashed and hung on valid graphs, so it runs in a child process with
a time limit, and its result is taken only if it still is the same function. The graph that
`graph.py` writes is correct without it: whatever goes wrong here costs nothing but a line in
the report.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from bas_edge.errors import BasEdgeError
from bas_edge_training.parity import run_onnx

__all__ = ["ONNXSIM", "Simplification", "simplify"]

ONNXSIM = (sys.executable, "-m", "onnxsim")  # + input and output file
_SECONDS = 120.0
_TOLERANCE = 1e-4  # of each output's range: onnxsim only reorders float32 sums


@dataclass(frozen=True, slots=True)
class Simplification:
    """What became of the attempt.

    Attributes:
        applied: Whether the simplified graph was taken.
        nodes_before, nodes_after: Node counts; equal where it was not taken.
        reason: Why it was not taken; empty where it was.
    """

    applied: bool
    nodes_before: int
    nodes_after: int
    reason: str = ""

    def __str__(self) -> str:
        if self.applied:
            return f"{self.nodes_before} nodes -> {self.nodes_after}, same outputs"
        return f"kept the graph as it was: {self.reason}"


def simplify(
    model: onnx.ModelProto,
    frames: NDArray[np.uint8],
    *,
    command: Sequence[str] = ONNXSIM,
    timeout_s: float = _SECONDS,
) -> tuple[onnx.ModelProto, Simplification]:
    """The simplified model, or `model` itself with the reason why.

    Args:
        model: A graph of the contract.
        frames: uint8 [M, H, W, 3], on which both graphs must agree, one by one and together.
        command: Called with an input and an output file.
        timeout_s: When the child is killed.
    """
    before = len(model.graph.node)
    if tuple(command) == ONNXSIM and importlib.util.find_spec("onnxsim") is None:
        return model, Simplification(False, before, before, "onnxsim is not installed")
    with tempfile.TemporaryDirectory(prefix="bas_edge_") as folder:
        source, target = Path(folder, "model.onnx"), Path(folder, "simplified.onnx")
        onnx.save(model, source)
        reason = _run([*command, str(source), str(target)], timeout_s)
        if not reason and not target.is_file():
            reason = "onnxsim wrote no file"
        if not reason:
            try:
                simplified = onnx.load(target)
                reason = _difference(model, simplified, frames)
            except (onnx.checker.ValidationError, BasEdgeError, ValueError) as error:
                reason = f"onnxsim's result is not usable: {str(error).splitlines()[0]}"
            except Exception as error:
                if type(error).__name__ != "DecodeError":  # of protobuf, which is onnx's own affair
                    raise
                reason = "onnxsim's result is not an ONNX file"
    if reason:
        return model, Simplification(False, before, before, reason)
    return simplified, Simplification(True, before, len(simplified.graph.node))


def _run(command: list[str], timeout_s: float) -> str:
    """Empty on success, else what went wrong. A timeout or Ctrl-C kills the child."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return f"onnxsim took longer than {timeout_s:g} s"
    except OSError as error:
        return f"onnxsim could not be started: {error.strerror}"
    if done.returncode < 0:
        return f"onnxsim was ended by signal {-done.returncode}"
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        return f"onnxsim failed: {words[-1] if words else f'exit code {done.returncode}'}"
    return ""


def _difference(
    model: onnx.ModelProto, simplified: onnx.ModelProto, frames: NDArray[np.uint8]
) -> str:
    """Empty where both are the same function with the same signature."""
    onnx.checker.check_model(simplified, full_check=True)
    if _signature(model) != _signature(simplified):
        return "onnxsim changed the inputs or outputs (a fixed batch, or other types)"
    for batch in (frames[:1], frames):
        expected, got = run_onnx(model, batch), run_onnx(simplified, batch)
        for name, values in expected.items():
            error = float(np.max(np.abs(got[name].astype(np.float64) - values), initial=0.0))
            limit = _TOLERANCE * float(np.ptp(values)) if name != "classes" else 0.0
            if not error <= limit:
                return f"onnxsim changed '{name}' by {error:.2g} on a batch of {len(batch)}"
    return ""


def _signature(model: onnx.ModelProto) -> list[tuple[str, int, list[Any]]]:
    return [
        (v.name, v.type.tensor_type.elem_type,
         [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim])
        for v in [*model.graph.input, *model.graph.output]
    ]  # fmt: skip
