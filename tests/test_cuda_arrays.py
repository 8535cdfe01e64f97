"""The memory that ops are tested with on a GPU, on a pretended one."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bas_edge.errors import BackendError
from bas_edge.ops import aggregate_maps, maps_to_boxes, resize_frame, upsample_maps


@pytest.mark.parametrize("shape", [(3, 5), (2, 0), (1,), ()])
def test_arrays_survive_the_way_to_the_gpu_and_back(
    gpu: Any, cuda_arrays: ModuleType, shape: tuple[int, ...]
) -> None:
    array = np.random.default_rng(0).random(shape).astype(np.float32)
    with cuda_arrays.gpu_memory() as new_memory:
        memory = new_memory()
        columns_first = np.asfortranarray(array)
        address = memory.put(columns_first)
        other = memory.put(array + 1)
        np.testing.assert_array_equal(memory.get(address, shape, np.float32), array)
        np.testing.assert_array_equal(memory.get(other, shape, np.float32), array + 1)
        memory.release()
        free, total = gpu.cuda.cuMemGetInfo()
        assert free == total


def test_ops_are_made_and_run_in_the_primary_context(gpu: Any, cuda_arrays: ModuleType) -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((2, 5, 6, 7), dtype=np.float32)
    scores = rng.random((2, 5), dtype=np.float32)
    frame = rng.integers(0, 256, (40, 30, 3), np.uint8)
    with cuda_arrays.gpu_memory() as new_memory:
        assert gpu.cuda.contexts() == [gpu.cuda.primary()]
        ops = cuda_arrays.CudaOps(new_memory)
        foreground = ops.aggregate_maps(maps, scores, 3)
        np.testing.assert_array_equal(foreground, aggregate_maps(maps, scores, 3))
        boxes = ops.maps_to_boxes(foreground, (24, 28), 0.6)
        np.testing.assert_array_equal(boxes.boxes, maps_to_boxes(foreground, (24, 28), 0.6).boxes)
        pixels = ops.upsample_maps(foreground, (24, 28))
        np.testing.assert_array_equal(pixels, upsample_maps(foreground, (24, 28)))
        np.testing.assert_array_equal(ops.resize_frame(frame, (8, 9)), resize_frame(frame, (8, 9)))
    assert gpu.cuda.contexts() == []


def test_memory_ends_with_its_block(gpu: Any, cuda_arrays: ModuleType) -> None:
    with cuda_arrays.gpu_memory() as new_memory:
        memory = new_memory()
    with pytest.raises(BackendError, match="closed"):
        memory.put(np.zeros(3, np.float32))
