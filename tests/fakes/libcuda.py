"""The fake driver as a C library: real C function pointers, of the types that we declare."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

from bas_edge.backends._cuda_driver import FUNCTIONS
from fakes.cuda_driver import FakeCuda
from fakes.cuda_errors import CODES, FakeCudaError

__all__ = ["libcuda"]

TEXTS = {text: text.encode() for pair in CODES.values() for text in pair}  # kept, C points to them
RENAMED = {"cuGraphInstantiateWithFlags": "cuGraphInstantiate"}
OUT = {ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_void_p)}


def libcuda(cuda: FakeCuda) -> Any:
    """What ctypes.CDLL("libcuda.so.1") would give."""
    functions = {name: _function(cuda, name, types) for name, types in FUNCTIONS.items()}
    return SimpleNamespace(**functions)


def _function(cuda: FakeCuda, name: str, types: tuple[Any, ...]) -> Any:
    plain = RENAMED.get(name, name.removesuffix("_v2"))
    out = [at for at, each in enumerate(types) if each in OUT]

    def call(*arguments: Any) -> int:
        if plain.startswith("cuGetError"):
            return _text(plain, *arguments)
        if plain == "cuDeviceGetName":
            into, size, device = arguments
            ctypes.memmove(into, cuda.cuDeviceGetName(size, device), size)
            return 0
        given = [value or 0 for at, value in enumerate(arguments) if at not in out]
        try:
            result = getattr(cuda, plain)(*given)
        except FakeCudaError as error:
            return error.code
        except Exception as error:  # noqa: BLE001 - a C function cannot raise
            cuda.faults.append(f"{name}: {error!r}")
            return 999
        for at in out:
            arguments[at][0] = result
        return 0

    return ctypes.CFUNCTYPE(ctypes.c_int, *types)(call)


def _text(function: str, code: int, text: Any) -> int:
    if code not in CODES:
        return 1
    text[0] = TEXTS[CODES[code][function == "cuGetErrorString"]]
    return 0
