"""An mp4 file, written frame by frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bas_edge._require import require
from bas_edge.errors import InputError

__all__ = ["PREFERRED_ENCODERS", "VideoSink", "available_encoders"]

# Software encoders, best picture first. Wheels differ in which of them they bundle.
PREFERRED_ENCODERS = ("libx264", "libopenh264", "mpeg4")
# Inference needs the processor more than the annotated copy does.
ENCODER_OPTIONS = {"libx264": {"preset": "veryfast", "crf": "23"}, "mpeg4": {"q:v": "3"}}
TICKS_PER_S = 60_000  # 24, 25, 30, 50, 60 and 29.97 fps are exact; MPEG-4 allows up to 65535


def available_encoders() -> list[str]:
    """Those of `PREFERRED_ENCODERS` that the installed PyAV has, best first."""
    av = require("av", extra="video", purpose="Writing a video file")
    return [name for name in PREFERRED_ENCODERS if _has_encoder(av, name)]


class VideoSink:
    """Writes RGB frames to an mp4 (yuv420p); use as a context manager.

    The file is written as `NAME.partial.mp4` and takes its own name when the block ends
    well. Ctrl-C closes the partial file, so that it plays, and leaves it under that name;
    any other error removes it.

    Odd widths and heights grow by one pixel, a copy of the last column or row, because
    yuv420p needs even sizes. The first frame sets the size of the video; a later frame
    of another size is scaled to it.

    Args:
        path: The file to write; an existing one is replaced at the end.
        fps: Frames per second, for frames that come without a time.
        codec: An FFmpeg encoder by name ("libx264", "h264_nvenc", "h264_v4l2m2m", …), or
            "auto": the first of `available_encoders()`.

    Raises:
        InputError: No such encoder, or it cannot be opened for this size.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, path: str | Path, fps: float, *, codec: str = "auto") -> None:
        self._av = require("av", extra="video", purpose="Writing a video file")
        self.path = Path(path)
        self.partial_path = self.path.with_name(f"{self.path.stem}.partial.mp4")
        self.codec = self._choose(codec)
        self.fps = fps
        self.frames = 0
        self._last_tick = -1
        self._stream: Any = None
        self._container: Any = self._av.open(str(self.partial_path), mode="w", format="mp4")

    def write(self, pixels: NDArray[np.uint8], time_s: float | None = None) -> None:
        """Append one frame.

        Args:
            pixels: [H, W, 3] uint8 RGB.
            time_s: When it is shown. None, or a time not after the last frame's, means one
                frame interval after the last frame.
        """
        if self._stream is None:
            self._stream = self._add_stream(*pixels.shape[:2])
        frame = self._av.VideoFrame.from_ndarray(_even(pixels), format="rgb24")
        frame = frame.reformat(self._stream.width, self._stream.height, "yuv420p")
        tick = -1 if time_s is None else round(time_s * TICKS_PER_S)
        if tick <= self._last_tick:
            step = round(TICKS_PER_S / self.fps)
            tick = 0 if self._last_tick < 0 else self._last_tick + step
        frame.pts, frame.time_base = tick, Fraction(1, TICKS_PER_S)
        self._last_tick = tick
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Finish the file and give it its name; a sink without frames leaves no file."""
        self._finish()
        if self.frames:
            self.partial_path.replace(self.path)
        else:
            self.partial_path.unlink(missing_ok=True)

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        elif issubclass(kind, KeyboardInterrupt):
            self._finish()
        else:
            self._container.close()
            self.partial_path.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode())  # what the encoder still holds
        self._container.close()

    def _choose(self, codec: str) -> str:
        if codec == "auto":
            names = [name for name in PREFERRED_ENCODERS if _has_encoder(self._av, name)]
            if not names:
                raise InputError(
                    f"This PyAV has none of the encoders {', '.join(PREFERRED_ENCODERS)}.",
                    hint="Name one that it has with --codec, or write no video: --no-annotate.",
                )
            return names[0]
        if not _has_encoder(self._av, codec):
            raise InputError(
                f"This PyAV has no encoder '{codec}'.",
                hint=f"It has: {', '.join(available_encoders())}.",
            )
        return codec

    def _add_stream(self, height: int, width: int) -> Any:
        rate = Fraction(self.fps).limit_denominator(1001)  # 30000/1001 stays exact
        try:
            stream = self._container.add_stream(self.codec, rate=rate)
            stream.width, stream.height = width + width % 2, height + height % 2
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
            stream.codec_context.options = ENCODER_OPTIONS.get(self.codec, {})
            stream.codec_context.open(strict=False)
        except (self._av.error.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"The encoder '{self.codec}' cannot write an mp4 of {width}×{height}: {reason}.",
                hint=f"Encoders to try with --codec: {', '.join(available_encoders())}.",
            ) from None
        return stream


def _has_encoder(av: Any, name: str) -> bool:
    try:
        return bool(av.codec.Codec(name, "w").type == "video")
    except (av.error.FFmpegError, ValueError):
        return False


def _even(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return pixels
