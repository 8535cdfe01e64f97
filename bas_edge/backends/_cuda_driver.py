"""The CUDA driver library itself, through ctypes: what no Python library of CUDA gives us alike.

Errors in words, the current context, streams of others, and CUDA graphs (pycuda has none). A call
releases the GIL.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

from bas_edge.errors import BackendError

__all__ = ["FUNCTIONS", "Driver", "DriverCallError", "backend_error", "driver"]

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_HANDLE = ctypes.c_void_p
_HANDLE_OUT = ctypes.POINTER(ctypes.c_void_p)
_INT_OUT = ctypes.POINTER(ctypes.c_int)
_TEXT_OUT = ctypes.POINTER(ctypes.c_char_p)

# Arguments of every function that is called here; each returns a CUresult. Where the library
# keeps an older function under the plain name, this is the symbol that cuda.h means by it.
FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cuInit": (ctypes.c_uint,),
    "cuDriverGetVersion": (_INT_OUT,),
    "cuDeviceGetCount": (_INT_OUT,),
    "cuDeviceGet": (_INT_OUT, ctypes.c_int),
    "cuDeviceGetAttribute": (_INT_OUT, ctypes.c_int, ctypes.c_int),
    "cuDeviceGetName": (ctypes.POINTER(ctypes.c_char), ctypes.c_int, ctypes.c_int),
    "cuGetErrorName": (ctypes.c_int, _TEXT_OUT),
    "cuGetErrorString": (ctypes.c_int, _TEXT_OUT),
    "cuCtxGetCurrent": (_HANDLE_OUT,),
    "cuCtxSetCurrent": (_HANDLE,),
    "cuCtxPushCurrent_v2": (_HANDLE,),
    "cuCtxPopCurrent_v2": (_HANDLE_OUT,),
    "cuDevicePrimaryCtxRelease_v2": (ctypes.c_int,),
    "cuPointerGetAttribute": (_INT_OUT, ctypes.c_int, ctypes.c_uint64),
    "cuMemcpyDtoDAsync_v2": (ctypes.c_uint64, ctypes.c_uint64, ctypes.c_size_t, _HANDLE),
    "cuEventCreate": (_HANDLE_OUT, ctypes.c_uint),
    "cuEventRecord": (_HANDLE, _HANDLE),
    "cuStreamWaitEvent": (_HANDLE, _HANDLE, ctypes.c_uint),
    "cuEventDestroy_v2": (_HANDLE,),
    "cuStreamBeginCapture_v2": (_HANDLE, ctypes.c_int),
    "cuStreamEndCapture": (_HANDLE, _HANDLE_OUT),
    "cuGraphInstantiateWithFlags": (_HANDLE_OUT, _HANDLE, ctypes.c_ulonglong),
    "cuGraphLaunch": (_HANDLE, _HANDLE),
    "cuGraphExecDestroy": (_HANDLE,),
    "cuGraphDestroy": (_HANDLE,),
}
_LAST_CODE = 999  # CUDA_ERROR_UNKNOWN

_NO_MEMORY = "Use a smaller --max-batch, or end what else uses this GPU: nvidia-smi lists it."
_CAPTURE = "Allocate, free and wait before or after the captured block, not inside it."
_BROKEN = "The GPU context is lost: start the process again. compute-sanitizer finds the cause."
_HINTS = {
    2: _NO_MEMORY,
    46: "Another process may hold this GPU for itself: nvidia-smi shows its compute mode.",
    101: "CUDA_VISIBLE_DEVICES decides which GPUs a process sees, numbered from 0.",
    209: "The kernels were not built for this GPU: build them for its compute capability.",
    222: "The driver is older than the compiler of these kernels: update the driver.",
    **dict.fromkeys((700, 715, 716, 717, 718, 719), _BROKEN),
    **dict.fromkeys((900, 901, 905, 906), _CAPTURE),
}


class DriverCallError(Exception):
    """A driver call that failed with a CUresult. Only the device layer sees it.

    `code` is None, and `text` says what happened, where a library keeps the number for itself.
    """

    def __init__(self, code: int | None, text: str = "") -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class Driver:
    """The functions of a loaded driver library, as Python calls."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function of `FUNCTIONS`.

        Raises:
            DriverCallError: It did not return CUDA_SUCCESS.
        """
        code = getattr(self._library, function)(*arguments)
        if code:
            raise DriverCallError(code)

    def number(self, function: str, *arguments: int) -> int:
        """What a function gives through its first argument, an int*."""
        value = ctypes.c_int(0)
        self.call(function, ctypes.byref(value), *arguments)
        return value.value

    def current_context(self) -> int:
        """The handle of the context that is current in this thread, or 0."""
        context = ctypes.c_void_p()
        self.call("cuCtxGetCurrent", ctypes.byref(context))
        return context.value or 0

    def words(self, code: int) -> tuple[str, str]:
        """The name of a CUresult and the driver's text for it; for an unknown one, as much."""
        return (
            self._text("cuGetErrorName", code) or "an unknown error",
            self._text("cuGetErrorString", code) or "the driver has no text for it",
        )

    def code_of(self, text: str) -> int | None:
        """The CUresult that the driver describes by `text`."""
        codes = range(1, _LAST_CODE + 1)
        return next((code for code in codes if self._text("cuGetErrorString", code) == text), None)

    def _text(self, function: str, code: int) -> str:
        text = ctypes.c_char_p()
        if getattr(self._library, function)(code, ctypes.byref(text)) or text.value is None:
            return ""
        return text.value.decode("utf-8", "replace")


@functools.cache
def driver() -> Driver:
    """The driver of this machine.

    Raises:
        OSError: There is none, or it cannot be loaded.
    """
    library = ctypes.CDLL(_LIBRARY)
    for name, arguments in FUNCTIONS.items():
        function = getattr(library, name, None)  # an old driver lacks some: see OLDEST_CUDA
        if function is not None:
            function.argtypes = arguments
            function.restype = ctypes.c_int
    return Driver(library)


def backend_error(library: Driver, doing: str, error: DriverCallError) -> BackendError:
    """The sentence for a failed call; `doing` is such as "creating a stream"."""
    if error.code is None:
        return BackendError(f"CUDA: {doing} failed: {error.text}.")
    name, text = library.words(error.code)
    return BackendError(
        f"CUDA: {doing} failed: {name} ({error.code}), {error.text or text}.",
        hint=_HINTS.get(error.code),
    )
