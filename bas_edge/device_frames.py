"""Frames that already lie on a GPU: arrays of torch or CuPy, and NV12 surfaces of decoders."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bas_edge.errors import InputError
from bas_edge.ops.cuda_frames import DeviceFrame

__all__ = ["GpuFrame", "gpu_frame"]

_LEGACY_STREAM = 1  # CUDA's default stream, by its reserved handle
_DLPACK_CUDA = 2
_DLPACK_UNSIGNED = 1


@dataclass(frozen=True, slots=True)
class GpuFrame:
    """A frame on the device, with what must happen before it may be read.

    Attributes:
        view: Where it lies.
        stream: The stream that its maker works on, to be waited for; None: it is ready.
        owner: Kept alive until the frame has been read.
    """

    view: DeviceFrame
    stream: int | None
    owner: Any


def gpu_frame(frame: Any) -> GpuFrame | None:
    """`frame` as it lies on a GPU; None where it does not lie on one.

    Args:
        frame: A `bas_edge.ops.cuda.DeviceFrame` (NV12 too); or anything with
            `__cuda_array_interface__` or DLPack on a CUDA device, uint8 [H, W, 3], whose pixels
            are adjacent; rows may be padded.

    Raises:
        InputError: It is on a GPU, but of another type, shape or layout.
    """
    if isinstance(frame, DeviceFrame):
        return GpuFrame(frame, None, frame)
    interface = getattr(frame, "__cuda_array_interface__", None)
    device = getattr(frame, "__dlpack_device__", None)
    if interface is not None and interface.get("stream") is not None:
        return _from_array_interface(frame, interface)
    # torch's array interface says nothing of streams; its DLPack waits for the right one.
    if device is not None and device()[0] == _DLPACK_CUDA:
        return _from_dlpack(frame)
    return None if interface is None else _from_array_interface(frame, interface)


def _from_array_interface(frame: Any, interface: dict[str, Any]) -> GpuFrame:
    kind = str(interface["typestr"])
    dtype = "uint8" if kind[1:] == "u1" else kind
    view = _view(int(interface["data"][0]), dtype, interface["shape"], interface.get("strides"))
    stream = interface.get("stream")
    if stream is None and int(interface.get("version", 0)) < 3:
        stream = _LEGACY_STREAM  # before version 3 nothing was said of streams
    return GpuFrame(view, stream, frame)


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("axes", ctypes.c_int32),
        ("type_code", ctypes.c_uint8),
        ("type_bits", ctypes.c_uint8),
        ("type_lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def _from_dlpack(frame: Any) -> GpuFrame:
    # The maker lets the default stream wait for its work, and we wait for the default stream.
    capsule = frame.__dlpack__(stream=_LEGACY_STREAM)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = ctypes.cast(pointer(capsule, b"dltensor"), ctypes.POINTER(_DLTensor)).contents
    plain = (tensor.type_code, tensor.type_bits, tensor.type_lanes) == (_DLPACK_UNSIGNED, 8, 1)
    dtype = "uint8" if plain else f"a type of {tensor.type_bits} bits, code {tensor.type_code}"
    axes = range(tensor.axes)
    view = _view(
        int(tensor.data or 0) + tensor.byte_offset,
        dtype,
        [tensor.shape[axis] for axis in axes],
        [tensor.strides[axis] for axis in axes] if tensor.strides else None,
    )
    # A capsule that nobody took over gives the memory back when it is collected.
    return GpuFrame(view, _LEGACY_STREAM, (frame, capsule))


def _view(
    address: int, dtype: str, shape: Sequence[int], strides: Sequence[int] | None
) -> DeviceFrame:
    want = "it must be uint8 [height, width, 3]"
    if dtype != "uint8":
        raise InputError(f"The frame on the GPU has dtype {dtype}; {want}.")
    if len(shape) != 3 or shape[2] != 3 or min(shape) < 1:
        raise InputError(
            f"The frame on the GPU has shape {list(shape)}; {want}.",
            hint="Move channels last with .permute(1, 2, 0).contiguous(), one frame at a time.",
        )
    height, width = int(shape[0]), int(shape[1])
    usual = (3 * width, 3, 1)
    if strides is not None:  # that of an axis of one element is arbitrary
        strides = [usual[i] if shape[i] == 1 else int(strides[i]) for i in range(3)]
    pitch = usual[0] if strides is None else strides[0]
    if strides is not None and (tuple(strides[1:]) != (3, 1) or pitch < 3 * width):
        raise InputError(
            f"The frame on the GPU has strides {list(strides)}, but its pixels must be adjacent: "
            f"[at least {3 * width}, 3, 1].",
            hint="Use .contiguous() (torch) or ascontiguousarray (CuPy).",
        )
    return DeviceFrame(height=height, width=width, pixels=address, pitch_bytes=pitch)
