"""The native module with the CUDA kernels: not in every build, and never needing a driver."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from bas_edge.errors import KernelError

__all__ = ["CudaBuild", "cuda_build", "native"]

_module: ModuleType | None = None


@dataclass(frozen=True, slots=True)
class CudaBuild:
    """What the CUDA kernels of this installation were compiled for.

    Attributes:
        architectures: Such as ("87-real", "90-virtual"), in CMake's terms.
        toolkit: Version of nvcc.
    """

    architectures: tuple[str, ...]
    toolkit: str


def cuda_build() -> CudaBuild | None:
    """What the kernels were compiled for; None in a build without CUDA. Needs no driver."""
    try:
        module = native()
    except KernelError:
        return None
    return CudaBuild(tuple(module.architectures.split(",")), module.toolkit)


def native() -> Any:
    """The module.

    Raises:
        KernelError: This installation has none.
    """
    global _module
    if _module is None:
        try:
            from bas_edge.ops import _cuda
        except ImportError as error:
            raise KernelError(
                "This installation of bas-edge has no CUDA kernels.",
                hint="Where nvcc is: pip install bas-edge --no-binary bas-edge "
                "-C cmake.define.BAS_EDGE_CUDA=ON",
            ) from error
        _module = _cuda
    return _module
