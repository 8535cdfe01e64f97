"""Every op is tested on every instruction set that this processor has."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from bas_edge.ops import _native, cuda_module
from bas_edge.ops.paths import _forced_path


@pytest.fixture(scope="module", params=_native.available_paths())
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once on each path. Of module scope: Hypothesis refuses narrower ones."""
    with _forced_path(request.param):
        yield request.param


@pytest.fixture(scope="module", params=["emulated", pytest.param("gpu", marks=pytest.mark.gpu)])
def cuda_ops(request: pytest.FixtureRequest, cuda_arrays: ModuleType) -> Iterator[Any]:
    """The CUDA ops on NumPy arrays: on the CPU everywhere, and on a GPU where there is one."""
    if request.param == "gpu":
        with cuda_arrays.gpu_memory() as memory:
            yield cuda_arrays.CudaOps(memory)
        return
    former = cuda_module._module
    cuda_module._module = request.getfixturevalue("emulated_cuda")
    try:
        yield cuda_arrays.CudaOps(cuda_arrays.HostMemory)
    finally:
        cuda_module._module = former
