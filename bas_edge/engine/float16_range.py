"""Whether what a graph computes fits into float16.

ONNX Runtime's CPU kernels compute float16 layers in float32 and may leave the roundings between
them out, so running the float16 graph there would not show an overflow. The float32 graph does:
its own values are looked at.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bas_edge.backends import open_backend
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.manifest import InputPolicy
from bas_edge.engine.onnx_graph import with_outputs
from bas_edge.engine.precision import LARGEST
from bas_edge.errors import EngineError

__all__ = ["check_range"]

_MARGIN = 2.0  # real frames may reach further than the ones tried here


def check_range(model: Path, tensors: Iterable[str], policy: InputPolicy) -> None:
    """Run a float32 graph on noise, black and white, and look at tensors that become float16.

    Raises:
        EngineError: One comes within a factor of two of the largest float16, or is not finite.
        BackendError: ONNX Runtime refuses the graph.
    """
    names = list(tensors)
    shape = (3, policy.height, policy.width, 3)
    frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    frames[1], frames[2] = 0, 255
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "observed.onnx"
        path.write_bytes(with_outputs(model, names))
        backend = open_backend("onnxruntime", path)
        try:
            outputs = backend.run({INPUT_NAME: frames})
        finally:
            backend.close()
    for name in names:
        reached = float(np.abs(outputs[name]).max(initial=0))
        if not reached * _MARGIN <= LARGEST:  # NaN too
            raise EngineError(
                f"Float16 may overflow: '{name}' reaches {reached:g}, and float16 ends at "
                f"{LARGEST:g}.",
                hint="Build with --precision fp32.",
            )
