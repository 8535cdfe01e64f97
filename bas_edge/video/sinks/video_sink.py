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
from bas_edge.video.sinks.encoders import (
    PREFERRED_ENCODERS,
    TICKS_PER_S,
    available_encoders,
    choose_encoder,
    configure,
)
from bas_edge.video.sinks.file_names import partial
from bas_edge.video.sinks.mp4_output import Mp4Output, check_mp4_name
from bas_edge.video.sinks.ranges import check_fps

__all__ = ["PREFERRED_ENCODERS", "VideoSink", "available_encoders", "even"]


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
            "auto": the first of `available_encoders()` that takes the size of the frames.
        fragmented: Write the index as the video goes on, so that the partial file plays even
            after a power cut, up to some four seconds before it.

    Attributes:
        codec: The encoder in use.

    Raises:
        InputError: No such encoder, or it cannot be opened for this size; another name than .mp4.
        BasEdgeError: The file cannot be written.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(
        self, path: str | Path, fps: float, *, codec: str = "auto", fragmented: bool = False
    ) -> None:
        self._av = require("av", extra="video", purpose="Writing a video file")
        check_fps(fps)
        check_mp4_name(path)
        self.path = Path(path)
        self.partial_path = partial(self.path)
        self.codec = choose_encoder(codec)
        self.fps = fps
        self.frames = 0
        self._choose_again = codec == "auto"
        self._last_tick = -1
        self._stream: Any = None
        self._reformatter = self._av.video.reformatter.VideoReformatter()
        self._output = Mp4Output(self.partial_path, fragmented=fragmented)

    def write(self, pixels: NDArray[np.uint8], time_s: float | None = None) -> None:
        """Append one frame.

        Args:
            pixels: [H, W, 3] uint8 RGB; not kept.
            time_s: When it is shown. None, or a time not after the last frame's, means one
                frame interval after the last frame.
        """
        if self._stream is None:
            self._stream = self._add_stream(*pixels.shape[:2])
        context = self._stream.codec_context
        frame = self._av.VideoFrame.from_numpy_buffer(even(pixels), format="rgb24")  # no copy
        frame = self._reformatter.reformat(
            frame, context.width, context.height, context.pix_fmt, threads=1
        )
        tick = -1 if time_s is None else round(time_s * TICKS_PER_S)
        if tick <= self._last_tick:
            step = round(TICKS_PER_S / self.fps)
            tick = 0 if self._last_tick < 0 else self._last_tick + step
        frame.pts, frame.time_base = tick, Fraction(1, TICKS_PER_S)
        self._last_tick = tick
        with self._output.named_errors():
            packets = self._stream.encode(frame)
        self._output.mux(packets)
        self.frames += 1

    def close(self, *, complete: bool = True) -> None:
        """Finish the file, which then plays; a sink without frames leaves none.

        Args:
            complete: Give it its own name. Otherwise it stays under `partial_path`.
        """
        try:
            if self._stream is not None:
                self._output.mux(self._stream.encode())  # what the encoder still holds
        finally:
            self._output.close()
        with self._output.named_errors():
            if not self.frames:
                self.partial_path.unlink(missing_ok=True)
            elif complete:
                self.partial_path.replace(self.path)

    def discard(self) -> None:
        """Stop, and leave no file."""
        self._output.discard()

    @property
    def plays(self) -> bool:
        """Whether a fragmented file would play up to here, or to a few seconds before."""
        return self._output.plays

    def salvage(self) -> bool:
        """After an error, of a fragmented file: see `Mp4Output.salvage`."""
        return self._output.salvage(self.path)

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.close(complete=kind is None)
        else:
            self.discard()

    def _add_stream(self, height: int, width: int) -> Any:
        if self._choose_again:
            self.codec = choose_encoder("auto", (height, width), self.fps)
        rate = Fraction(self.fps).limit_denominator(1001)
        try:
            stream = self._output.container.add_stream(self.codec, rate=rate)
            configure(stream.codec_context, self.codec, (height, width), self.fps)
            stream.codec_context.open(strict=False)
        except (self._av.error.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"The encoder '{self.codec}' cannot write an mp4 of {width}×{height}: {reason}.",
                hint=f"Encoders to try with --codec: {', '.join(available_encoders())}.",
            ) from None
        return stream


def even(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[H, W, 3] with even H and W and whole rows, where needed a copy with the last one twice."""
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(pixels)
