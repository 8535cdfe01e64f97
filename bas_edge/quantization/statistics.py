"""One pass of a float32 graph over the calibration frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.onnx_graph import with_outputs
from bas_edge.engine.opened import opened
from bas_edge.errors import EngineError
from bas_edge.quantization.histograms import TensorStatistics

__all__ = ["STATISTICS_VERSION", "Frames", "Statistics", "measure", "pack", "unpack"]

STATISTICS_VERSION = 1  # of what is measured and how it is stored
_BATCH = 4
_THREADS = 2  # that count while the other tensors wait

Statistics = dict[str, TensorStatistics]
Progress = Callable[[int, int], None]
_SEPARATOR = "\n"  # of tensor and part in the names of stored arrays


class Frames(Protocol):
    """Frames at network size that can be read again and again."""

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Frames `start` to `stop`, uint8 [n, h, w, 3]."""
        ...

    def batches(self, size: int, progress: Progress | None = None) -> Iterator[NDArray[np.uint8]]:
        """uint8 [n, h, w, 3]."""
        ...


def measure(
    model: bytes,
    tensors: Iterable[str],
    frames: Frames,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Statistics:
    """Statistics of tensors of a float32 graph. Memory holds one small batch at a time.

    Raises:
        EngineError: A value is NaN or infinite.
        BackendError: ONNX Runtime refuses the graph.
    """
    names = list(dict.fromkeys(tensors))
    found: Statistics = {name: TensorStatistics() for name in names}

    def count(name: str, values: NDArray[np.float32]) -> None:
        try:
            found[name].add(values)
        except ValueError:
            raise EngineError(
                f"The tensor '{name}' holds NaN or infinite values on a calibration image.",
                hint="Look at the training log, and train again from an earlier checkpoint.",
            ) from None

    with (
        opened(with_outputs(model, names), threads=threads) as backend,
        ThreadPoolExecutor(_THREADS, thread_name_prefix="count") as pool,
    ):
        for batch in frames.batches(_BATCH, progress):
            outputs = backend.run({INPUT_NAME: batch})
            for done in [pool.submit(count, name, outputs[name]) for name in names]:
                done.result()
    return found


def pack(statistics: Statistics) -> dict[str, NDArray[Any]]:
    """Arrays for the cache."""
    return {
        f"{name}{_SEPARATOR}{part}": array
        for name, one in statistics.items()
        for part, array in one.to_arrays().items()
    }


def unpack(arrays: dict[str, NDArray[Any]]) -> Statistics:
    """What `pack` packed.

    Raises:
        ValueError, KeyError: These are not its arrays.
    """
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        tensor, _, part = name.rpartition(_SEPARATOR)
        parts.setdefault(tensor, {})[part] = array
    return {tensor: TensorStatistics.from_arrays(found) for tensor, found in parts.items()}
