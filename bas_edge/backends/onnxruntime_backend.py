"""ONNX Runtime on the CPU. The only file that imports onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge._require import require
from bas_edge.backends.base import Backend, TensorSpec
from bas_edge.errors import BackendError

__all__ = ["UNWANTED_OPTIMIZERS", "OnnxRuntimeBackend", "library_version"]

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
_ONLY_FATAL = 4  # its errors are raised and reach the user as BackendError, so not printed too

# It rounds the weights of float layers between quantized ones to eight bits, with one scale for all
# channels: layers that were kept in float for their accuracy (1.31; microsoft/onnxruntime 22969).
UNWANTED_OPTIMIZERS = ("WeightBiasQuantization",)


def library_version() -> str:
    """The installed version of onnxruntime."""
    return str(_onnxruntime().__version__)


class OnnxRuntimeBackend:
    """One loaded graph; see `Backend`. Clones share the session, whose run is thread-safe."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs = tuple(_spec(node) for node in session.get_inputs())
        self._outputs = tuple(_spec(node) for node in session.get_outputs())
        self._output_names = [spec.name for spec in self._outputs]

    @classmethod
    def open(
        cls,
        model_path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        literal: bool = False,
        spin: bool = True,
    ) -> OnnxRuntimeBackend:
        """Load a graph.

        Args:
            model_path: The graph.
            threads: None means one thread a physical core.
            literal: Compute QuantizeLinear and DequantizeLinear as they stand and what lies
                between in float32: the rounding of TensorRT. Otherwise they are fused into
                kernels on eight bits, as far as their places allow.
            spin: Whether idle threads of the network stay awake for its next layer or frame.

        Raises:
            MissingExtraError: onnxruntime is not installed.
            BackendError: It refuses the graph.
        """
        ort = _onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = _ONLY_FATAL
        options.intra_op_num_threads = threads or 0
        if not spin:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if literal:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        try:
            session = ort.InferenceSession(
                os.fspath(model_path),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=list(UNWANTED_OPTIMIZERS),
            )
        except Exception as error:  # its exceptions share no base below Exception
            raise BackendError(
                f"ONNX Runtime {ort.__version__} cannot load {os.fspath(model_path)}: {error}",
                hint="Export the model again, or install a newer onnxruntime.",
            ) from error
        return cls(session)

    @property
    def name(self) -> str:
        return "onnxruntime"

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._outputs

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch; see `Backend.run`."""
        session = self._session
        if session is None:
            raise BackendError("This backend is closed.", hint="Open the engine again.")
        try:
            arrays = session.run(self._output_names, feeds)
        except Exception as error:  # its exceptions share no base below Exception
            raise BackendError(f"ONNX Runtime failed while running the graph: {error}") from error
        return dict(zip(self._output_names, arrays, strict=True))

    def clone(self) -> Backend:
        """A second handle on the same session; closing one leaves the other open."""
        if self._session is None:
            raise BackendError("This backend is closed.", hint="Open the engine again.")
        return OnnxRuntimeBackend(self._session)

    def close(self) -> None:
        self._session = None


def _onnxruntime() -> Any:
    ort = require("onnxruntime", extra="", purpose="The ONNX Runtime backend")
    ort.disable_telemetry_events()
    return ort


def _spec(node: Any) -> TensorSpec:
    shape = tuple(side if isinstance(side, int) else None for side in node.shape)
    if node.type not in _DTYPES:
        raise BackendError(f"The graph's tensor '{node.name}' has the type {node.type}.")
    return TensorSpec(node.name, shape, np.dtype(_DTYPES[node.type]))
