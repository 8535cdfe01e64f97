"""Small videos written for the tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

# The 3×3 display matrices that FFmpeg writes for a recording turned by this many degrees.
ONE = 1 << 16
DISPLAY_MATRICES = {
    0: (ONE, 0, 0, ONE),
    90: (0, -ONE, ONE, 0),
    180: (-ONE, 0, 0, -ONE),
    270: (0, ONE, -ONE, 0),
    "mirrored": (-ONE, 0, 0, ONE),
    "upside down": (ONE, 0, 0, -ONE),
    "transposed": (0, ONE, ONE, 0),
}


def noise_frames(count: int, size: tuple[int, int] = (48, 64)) -> list[NDArray[np.uint8]]:
    """Frames that do not compress, so that a file cut in half is cut inside a frame."""
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 255, (count, *size, 3), dtype=np.uint8))


def write_clip(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    *,
    codec: str = "mpeg4",
    fps: int = 25,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode RGB frames of one even size; `faststart` puts the index first."""
    pictures = list(frames)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 8_000_000
        for pixels in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def cut(path: Path, fraction: float) -> Path:
    """The first part of a file, as a killed copy leaves it."""
    content = path.read_bytes()
    short = path.with_name(f"cut_{path.name}")
    short.write_bytes(content[: int(len(content) * fraction)])
    return short


def turn(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Set (a, b, c, d) of the video track's display matrix in an mp4 file."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # after version, flags and times comes the matrix
    a, b, c, d = (value.to_bytes(4, "big", signed=True) for value in matrix)
    zero, unit = bytes(4), (1 << 30).to_bytes(4, "big")
    content[at : at + 36] = a + b + zero + c + d + zero + zero + zero + unit
    turned = path.with_name(f"turned_{path.name}")
    turned.write_bytes(content)
    return turned
