"""A machine with a GPU and TensorRT, all pretended, on which engines really run.

The driver is `fakes.cuda_driver`, TensorRT has exactly the attributes of one version and computes
with ONNX Runtime, and the kernels are the real ones, emulated. All work waits in the streams of
the fake driver, so missing waits, freed memory and wrong captures show.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest
from fakes.cuda_driver import FakeCuda
from fakes.machine import fake_machine

from bas_edge.backends import tensorrt_backend
from bas_edge.engine.bundle import Engine, NewPlan, write_bundle
from bas_edge.engine.manifest import FileRecord, PlanRecord
from bas_edge.engine.onnx_metadata import read_manifest
from bas_edge.ops import cuda_module

HEADER_BYTES = 64
DTYPES = {"tensor(uint8)": "UINT8", "tensor(float)": "FLOAT", "tensor(int32)": "INT32"}
OPS = ("AggregateMaps", "LocalizeMaps", "MapsToBoxes", "ResizeFrame")
NUMPY = {"UINT8": np.uint8, "FLOAT": np.float32, "INT32": np.int32}


class GpuMachine:
    """Builds bundles for itself, and says what was asked of its TensorRT.

    Attributes:
        cuda: The driver.
        contexts: Execution contexts made so far.
        runs: Batches that the networks computed.
        one_profile_each: Contexts cannot share the plan's profile, as in TensorRT 8.
        cannot_capture: TensorRT then refuses to run inside a capture.
        poison: Replaces outputs by name, for networks that misbehave.
    """

    def __init__(self, cuda: FakeCuda, tensorrt_fakes: ModuleType, version: str) -> None:
        self.cuda = cuda
        self.version = version
        self.contexts = 0
        self.runs: list[int] = []
        self.cannot_capture = False
        self.one_profile_each = False
        self.poison: dict[str, Any] = {}
        self._fakes = tensorrt_fakes
        self._api = tensorrt_fakes.APIS[version]
        self.script = tensorrt_fakes.Script(deserialize=self._deserialize)
        self.trt = tensorrt_fakes.make(version, self.script)

    def bundle(
        self,
        model: Path,
        output: Path,
        *,
        batches: tuple[int, int, int] = (1, 1, 4),
        target: str = "sm_87",
    ) -> Engine:
        """An engine whose plan is the ONNX graph behind a header of this version."""
        record = PlanRecord(
            backend="tensorrt",
            file=FileRecord(path=f"plans/{target}.plan", sha256="", size_bytes=0),
            library_version=self.version,
            targets=(target,),
            min_batch=batches[0],
            opt_batch=batches[1],
            max_batch=batches[2],
        )
        manifest = msgspec.structs.replace(read_manifest(model), backend="tensorrt")
        plan = NewPlan(record, self.plan(model, batches))
        return write_bundle(output, manifest, model, plans=lambda _: (plan,))

    def plan(self, model: Path, batches: tuple[int, int, int] = (1, 1, 4)) -> bytes:
        header = bytearray(HEADER_BYTES)
        header[:4] = b"ftrt"
        header[24:28] = bytes(int(part) for part in f"{self.version}.0".split(".")[:4])
        header[60:63] = bytes(batches)
        return bytes(header) + model.read_bytes()

    # TensorRT ---------------------------------------------------------------------------------

    def _deserialize(self, plan: bytes, logger: Any) -> Any:
        assert self.cuda.cuCtxGetCurrent(), "no context is current"
        try:
            session = onnxruntime.InferenceSession(plan[HEADER_BYTES:])
        except Exception:  # noqa: BLE001  (its exceptions share no base)
            self._fakes._log(logger, ["2: the plan does not make sense"])
            return None
        return self._engine(session, tuple(plan[60:63]), logger)

    def _engine(self, session: Any, batches: tuple[int, ...], logger: Any) -> Any:
        module = self.trt
        inputs = [node.name for node in session.get_inputs()]
        nodes = {node.name: node for node in (*session.get_inputs(), *session.get_outputs())}
        batch = batches[2] if batches[0] == batches[2] else -1
        shapes = {name: (batch, *node.shape[1:]) for name, node in nodes.items()}
        kinds = {name: DTYPES[node.type] for name, node in nodes.items()}

        def mode(name: str) -> Any:
            return module.TensorIOMode.INPUT if name in inputs else module.TensorIOMode.OUTPUT

        def create_execution_context() -> Any:
            assert self.cuda.cuCtxGetCurrent(), "no context is current"
            self.contexts += 1
            profile = -1 if self.one_profile_each and self.contexts > 1 else 0
            return self._context(profile, session, shapes, kinds, batches, logger)

        return self._fakes.Strict(
            self._api,
            "ICudaEngine",
            num_io_tensors=len(nodes),
            get_tensor_name=lambda at: list(nodes)[at],
            get_tensor_mode=mode,
            get_tensor_dtype=lambda name: module.DataType[kinds[name]],
            get_tensor_shape=lambda name: shapes[name],
            get_tensor_profile_shape=lambda name, _: [(n, *shapes[name][1:]) for n in batches],
            create_execution_context=create_execution_context,
        )

    def _context(
        self,
        profile: int,
        session: Any,
        shapes: dict[str, tuple[int, ...]],
        kinds: dict[str, str],
        batches: tuple[int, ...],
        logger: Any,
    ) -> Any:
        addresses: dict[str, int] = {}
        state: dict[str, Any] = {"batch": batches[0] if batches[0] == batches[2] else 0}
        warm: list[int] = []  # the last shape that ran

        def set_input_shape(name: str, shape: tuple[int, ...]) -> bool:
            if not batches[0] <= shape[0] <= batches[2]:
                self._fakes._log(logger, [f"3: {shape} is outside the profile"])
                return False
            state["batch"] = shape[0]
            return True

        def set_tensor_address(name: str, address: int) -> bool:
            addresses[name] = address
            return True

        def execute_async_v3(stream: int) -> bool:
            assert self.cuda.cuCtxGetCurrent(), "no context is current"
            batch, bound = state["batch"], dict(addresses)
            capturing = self.cuda.queues.streams[stream].capture is not None
            if capturing and (batch not in warm or self.cannot_capture):
                self._fakes._log(logger, ["1: operation not permitted when stream is capturing"])
                return False
            warm[:] = [batch]
            self.cuda.enqueue(stream, lambda: self._run(session, shapes, kinds, bound, batch))
            return True

        return self._fakes.Strict(
            self._api,
            "IExecutionContext",
            active_optimization_profile=profile,
            set_input_shape=set_input_shape,
            set_tensor_address=set_tensor_address,
            execute_async_v3=execute_async_v3,
        )

    def _run(
        self,
        session: Any,
        shapes: dict[str, tuple[int, ...]],
        kinds: dict[str, str],
        addresses: dict[str, int],
        batch: int,
    ) -> None:
        def tensor(name: str) -> np.ndarray:
            shape, dtype = (batch, *shapes[name][1:]), np.dtype(NUMPY[kinds[name]])
            size = int(np.prod(shape)) * dtype.itemsize
            return self.cuda.view(addresses[name], size).view(dtype).reshape(shape)

        names = [node.name for node in session.get_outputs()]
        given = {node.name: tensor(node.name).copy() for node in session.get_inputs()}
        for name, values in zip(names, session.run(names, given), strict=True):
            tensor(name)[...] = values
            if name in self.poison:
                tensor(name)[...] = self.poison[name]
        self.runs.append(batch)


class StreamedKernels:
    """The emulated kernels, but each run waits its turn on a stream of the fake driver."""

    def __init__(self, emulated: ModuleType, cuda: FakeCuda) -> None:
        self._emulated = emulated
        self._cuda = cuda

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._emulated, name)
        if name not in OPS:
            return found

        def make(*arguments: Any) -> StreamedOp:
            assert self._cuda.cuCtxGetCurrent(), "no context is current"
            capture = self._cuda.queues.capture_of_thread()
            assert capture is None, f"{name} allocates inside a capture"
            return StreamedOp(found(*arguments), self._cuda)

        return make


class StreamedOp:
    """An op of which every run waits its turn; where its results lie, it says at once."""

    def __init__(self, op: Any, cuda: FakeCuda) -> None:
        self._op = op
        self._cuda = cuda

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._op, name)
        if name not in ("run", "upsample"):
            return found

        def enqueue(*arguments: Any) -> None:
            *given, stream = arguments
            self._cuda.enqueue(stream, lambda: found(*given, 0))

        return enqueue


@contextmanager
def gpu_machine(
    monkeypatch: pytest.MonkeyPatch,
    tensorrt_fakes: ModuleType,
    emulated: ModuleType,
    *,
    version: str = "10.3.0",
    **driver: Any,
) -> Iterator[GpuMachine]:
    """A machine whose driver, TensorRT and kernels are fakes; nothing may be left behind."""
    with fake_machine("cuda-python", monkeypatch, **driver) as machine:
        assert machine.cuda is not None
        made = GpuMachine(machine.cuda, tensorrt_fakes, version)
        monkeypatch.setattr(tensorrt_backend, "_tensorrt", lambda: made.trt)
        monkeypatch.setattr(cuda_module, "_module", StreamedKernels(emulated, machine.cuda))
        # What the kernels allocate for themselves is not the driver's to watch.
        monkeypatch.setattr(machine.cuda.heap, "check", _lenient(machine.cuda.heap))
        yield made


def _lenient(heap: Any) -> Any:
    check = heap.check

    def checked(address: int, size: int, kinds: set[str]) -> None:
        if heap.find(address) is not None:
            check(address, size, kinds)

    return checked
