"""Checking what a caller passes as a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from bas_edge.ops.cuda_frames import DeviceFrame

__all__ = ["CudaArray", "Frame", "checked_frame"]


class CudaArray(Protocol):
    """An array on a GPU, as torch, CuPy, Numba and JAX have it."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...


Frame: TypeAlias = "NDArray[np.uint8] | Image | DeviceFrame | CudaArray"
"""uint8 [H, W, 3], a Pillow image, or, with a TensorRT backend, a frame on the GPU: see
`bas_edge.device_frames.gpu_frame`."""


def checked_frame(frame: Any, swap: bool, index: int, count: int) -> tuple[NDArray[np.uint8], bool]:
    """The frame as an array, and whether its channels are to be swapped."""
    if type(frame) is not np.ndarray:
        if type(frame).__module__.partition(".")[0] == "PIL":
            from bas_edge.images import rgb_pixels

            return rgb_pixels(frame), False
        if not isinstance(frame, np.ndarray):
            raise _frame_error(frame, index, count)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
        raise _frame_error(frame, index, count)
    return frame, swap


def _frame_error(frame: Any, index: int, count: int) -> InputError:
    name = "The frame" if count == 1 else f"Frame {index}"
    want = "it must be a uint8 array [height, width, 3]"
    if frame is None:
        return InputError(
            f"{name} is None; {want}.",
            hint="cv2.imread gives None for a file it cannot read: check the path.",
        )
    if not isinstance(frame, np.ndarray):
        kind = type(frame)
        return InputError(
            f"{name} is a {kind.__module__}.{kind.__qualname__}; {want}.",
            hint="Convert it with numpy.asarray, or read the file with bas_edge.images.read_image.",
        )
    if frame.size == 0:
        return InputError(f"{name} is empty: its shape is {list(frame.shape)}; {want}.")
    if frame.ndim != 3 or frame.shape[2] != 3:
        hints = {2: "Make grey into RGB: numpy.repeat(frame[:, :, None], 3, axis=2)"}
        if frame.ndim == 3:
            hints[3] = "Drop an alpha channel with frame[:, :, :3]; move channels-first with "
            hints[3] += "frame.transpose(1, 2, 0)."
        hints[4] = "For several frames use run_batch."
        return InputError(
            f"{name} has shape {list(frame.shape)}; {want}.", hint=hints.get(frame.ndim)
        )
    return InputError(
        f"{name} has dtype {frame.dtype}; {want}.",
        hint="Scale it to 0..255 and convert it with .astype('uint8').",
    )
