"""One CUDA op, ready to run on many inputs, and held against the CPU's bits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge.backends.device import DeviceBuffer

from .gpu_clock import GraphClock
from .gpu_counts import Work
from .gpu_inputs import ROTATED_BYTES, Arrays, RotatingInputs, download
from .harness import WrongAnswerError

__all__ = ["GpuOp"]


class GpuOp(ABC):
    """One op on one shape of input.

    Attributes:
        name: In `bas_edge.ops.cuda`, as the CPU's op is called.
        title: What tells this shape from others.
        work: Its bytes and launches.
        inputs: On the device, once open() was called.
    """

    name: str
    title: str
    work: Work
    inputs: RotatingInputs

    def open(self, clock: GraphClock, rotated_bytes: int = ROTATED_BYTES) -> None:
        """Allocate everything and upload the inputs."""
        self._clock = clock
        self.inputs = RotatingInputs(
            clock.device,
            clock.stream,
            self._contents(),
            read_bytes=self.work.input_bytes,
            rotated_bytes=rotated_bytes,
        )
        self._result = clock.device.buffer(self._result_bytes())
        with clock.device.current():
            self._op = self._make()

    def enqueue(self, at: int) -> None:
        """Run on set `at` of the inputs."""
        self._run(self._op, at, self._result, self._clock.stream.handle)

    def verify(self) -> str:
        """Hold the answers of every set against the CPU's.

        Raises:
            WrongAnswerError: A bit differs.
        """
        expected: dict[int, Any] = {}
        for at in range(self.inputs.count):
            content = at % len(self.inputs.contents)
            if content not in expected:
                expected[content] = self._expected(self.inputs.content(at))
            with self._clock.device.current():
                self.enqueue(at)
            self._compare(at, expected[content])
        return f"bits of the CPU ops on {self.inputs.count} inputs"

    def close(self) -> None:
        self._clock.stream.synchronize()
        with self._clock.device.current():
            del self._op
        self._result.free()
        self.inputs.free()

    def require(self, at: int, what: str, got: NDArray[Any], expected: NDArray[Any]) -> None:
        """Every value the same.

        Raises:
            WrongAnswerError: One is not.
        """
        if not np.array_equal(got, expected):
            count = int(np.count_nonzero(got != expected))
            raise WrongAnswerError(
                f"{self.name} ({self.title}): {count} of {expected.size} values of {what} differ "
                f"from the CPU's on input {at}"
            )

    def download(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """The result of the last run."""
        return download(self._clock.stream, self._result.address, shape, dtype)

    @abstractmethod
    def _contents(self) -> list[Arrays]: ...

    @abstractmethod
    def _result_bytes(self) -> int: ...

    @abstractmethod
    def _make(self) -> Any: ...

    @abstractmethod
    def _run(self, op: Any, at: int, result: DeviceBuffer, stream: int) -> None: ...

    @abstractmethod
    def _expected(self, content: Arrays) -> Any: ...

    @abstractmethod
    def _compare(self, at: int, expected: Any) -> None: ...
