"""`resize_frame` on a GPU, from what a camera or a decoder leaves there to the network's input."""

from __future__ import annotations

from dataclasses import dataclass

from bas_edge.errors import InputError
from bas_edge.ops.arguments import check_size
from bas_edge.ops.cuda_module import native
from bas_edge.ops.yuv import YuvMatrix, yuv_coefficients

__all__ = ["DeviceFrame", "ResizeFrame"]


@dataclass(frozen=True, slots=True)
class DeviceFrame:
    """A frame that lies on the device, complete: no stream still writes it.

    Attributes:
        height, width: In pixels.
        pixels: Address of [H, W, 3] uint8, or of the luma plane [H, W] of NV12.
        pitch_bytes: From one row to the next; decoders pad their rows.
        chroma: Address of NV12's plane of interleaved U and V, [ceil(H / 2), ceil(W / 2), 2];
            0 for interleaved pixels.
        chroma_pitch_bytes: The same for that plane.
        matrix: How NV12 becomes RGB; see `bas_edge.ops.yuv`.
    """

    height: int
    width: int
    pixels: int
    pitch_bytes: int
    chroma: int = 0
    chroma_pitch_bytes: int = 0
    matrix: YuvMatrix = "bt709"


class ResizeFrame:
    """`bas_edge.ops.resize_frame` on the device, of one rectangle of the frame into another.

    Args:
        frame_size: (H, W) of every frame that it is given.
        shown: xyxy of the frame, half-open: what of it is shown.
        size: (h, w) of the network's input.
        target: xyxy of the input, half-open: where it is shown. The rest becomes `padding`.
        swap_channels: Write the channels in reverse: BGR frames become RGB inputs.

    Raises:
        InputError: A rectangle is empty or not inside.
        KernelError: No CUDA build, no driver, or no memory left.
    """

    def __init__(
        self,
        *,
        frame_size: tuple[int, int],
        shown: tuple[int, int, int, int],
        size: tuple[int, int],
        target: tuple[int, int, int, int],
        padding: int = 0,
        swap_channels: bool = False,
    ) -> None:
        height, width = check_size(size)
        _check_rectangle("shown", shown, check_size(frame_size))
        _check_rectangle("target", target, (height, width))
        self._frame_size = frame_size
        self._op = native().ResizeFrame(
            *frame_size, shown, height, width, target, padding, swap_channels
        )

    def run(self, frame: DeviceFrame, *, input_address: int, stream: int) -> None:
        """Enqueue: `frame` → uint8 [h, w, 3] at `input_address`."""
        if (frame.height, frame.width) != self._frame_size:
            raise InputError(
                f"The frame is {frame.height} × {frame.width}, but this resize is for "
                f"{self._frame_size[0]} × {self._frame_size[1]}."
            )
        row_bytes = frame.width if frame.chroma else 3 * frame.width
        if frame.pitch_bytes < row_bytes:
            raise InputError(
                f"pitch_bytes is {frame.pitch_bytes}, but one row has {row_bytes} bytes."
            )
        if frame.chroma and frame.chroma_pitch_bytes < (frame.width + 1) // 2 * 2:
            raise InputError(
                f"chroma_pitch_bytes is {frame.chroma_pitch_bytes}, but one row has "
                f"{(frame.width + 1) // 2 * 2} bytes."
            )
        self._op.run(
            frame.pixels,
            frame.pitch_bytes,
            frame.chroma,
            frame.chroma_pitch_bytes,
            native().YuvCoefficients(*yuv_coefficients(frame.matrix)),
            input_address,
            stream,
        )


def _check_rectangle(name: str, xyxy: tuple[int, int, int, int], outer: tuple[int, int]) -> None:
    left, top, right, bottom = xyxy
    if not (0 <= left < right <= outer[1] and 0 <= top < bottom <= outer[0]):
        raise InputError(
            f"{name} is {xyxy}, but must be a rectangle inside {outer[1]} × {outer[0]} pixels."
        )
