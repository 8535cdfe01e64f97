"""The frames that ranges are measured on: found, decoded once, and held to what they must be."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from bas_edge.decoding import decoded_ahead
from bas_edge.engine.file_check import sha256
from bas_edge.engine.manifest import InputPolicy
from bas_edge.errors import InputError
from bas_edge.framing import place
from bas_edge.images import decode_image, image_bytes
from bas_edge.quantization.frame_sieve import CalibrationItem, FrameSieve, LoadedFrame
from bas_edge.quantization.frame_source import FrameSource, find_frames, spread
from bas_edge.quantization.frame_store import AHEAD, FramePart, FrameStore, InputFrame, Progress

__all__ = ["CalibrationFrames", "calibration_frames"]

_VIDEO_AHEAD = 4  # whole frames held at most


class CalibrationFrames:
    """Calibration frames at network size, in a temporary file until `close()`.

    Attributes:
        source: As the user named it.
        policy: The network's input, for which they were resized.
        items: What is used; no two with the same content.
        notes: Sentences about what was left out, or is less than it should be.
    """

    def __init__(
        self,
        source: str,
        policy: InputPolicy,
        items: tuple[CalibrationItem, ...],
        notes: tuple[str, ...],
        store: FrameStore | FramePart,
    ) -> None:
        self.source = source
        self.policy = policy
        self.items = items
        self.notes = notes
        self._store = store

    def __len__(self) -> int:
        return len(self.items)

    def batches(self, size: int, progress: Progress | None = None) -> Iterator[NDArray[np.uint8]]:
        """Every frame in the order of `items`, uint8 RGB [n, h, w, 3], as often as asked.

        n is `size` but for the last batch. `progress` gets (done, total) after each batch.
        """
        return self._store.batches(size, progress)

    @property
    def frame_sizes(self) -> list[tuple[int, int]]:
        """(H, W) of each frame, before it was resized."""
        return self._store.frame_sizes

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Frames `start` to `stop` as uint8 [n, h, w, 3]."""
        return self._store.read(start, stop)

    def part(self, indices: Sequence[int]) -> CalibrationFrames:
        """Some of the frames; readable until this one is closed."""
        items = tuple(self.items[index] for index in indices)
        part = self._store.part(indices)
        return CalibrationFrames(self.source, self.policy, items, self.notes, part)

    def close(self) -> None:
        """Remove the temporary file. Safe to call twice."""
        self._store.close()

    def __enter__(self) -> CalibrationFrames:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def calibration_frames(
    source: str | os.PathLike[str],
    policy: InputPolicy,
    *,
    limit: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> CalibrationFrames:
    """Decode and check the frames that ranges are to be measured on; close what this returns.

    Args:
        source: A folder, a glob or a CSV of images, or a video file; see `find_frames`.
        policy: The network's input.
        limit: Take at most this many, spread evenly over the sorted images or the video.
        force: Take fewer than 100 frames, with a note.
        progress: Called with (done, total) after each frame.

    Raises:
        InputError: No images; fewer than 100 different ones without `force`; more than a tenth of
            them unreadable, or of one colour; a video that cannot be decoded.
        MissingExtraError: A video, without PyAV.
        BasEdgeError: The disk is full.
    """
    if limit is not None and limit < 1:
        raise InputError(f"The limit of calibration images is {limit}, but must be at least 1.")
    found = find_frames(source)
    with ExitStack() as on_error:
        store = on_error.enter_context(FrameStore(policy))
        sieve = FrameSieve(found.text, limit, store)
        chosen, frames = (
            _video(found, policy, limit) if found.video else _images(found, policy, limit)
        )
        for done, one in enumerate(on_error.enter_context(closing(frames)), 1):
            sieve.add(one)
            if progress is not None:
                progress(done, chosen)
        notes = sieve.check(chosen, force)
        on_error.pop_all()
    return CalibrationFrames(found.text, policy, tuple(sieve.items), notes, store)


# Decoding


_Frames = Generator[LoadedFrame | InputError, None, None]


def _images(found: FrameSource, policy: InputPolicy, limit: int | None) -> tuple[int, _Frames]:
    def load(path: Path) -> LoadedFrame:
        content = image_bytes(path)  # read once: hashed and decoded from memory
        item = CalibrationItem(path, hashlib.sha256(content).hexdigest(), len(content))
        pixels = decode_image(content, name=str(path)).pixels
        return _loaded(item, pixels, policy, item.sha256)

    paths = [found.images[index] for index in spread(len(found.images), limit)]
    return len(paths), decoded_ahead(paths, load, ahead=AHEAD)


def _video(found: FrameSource, policy: InputPolicy, limit: int | None) -> tuple[int, _Frames]:
    from bas_edge.video.frames import VideoFrame
    from bas_edge.video.sources.video_source import VideoSource

    assert found.video is not None
    path = found.video
    video = VideoSource(path)
    digest, size_bytes = sha256(path), path.stat().st_size

    def load(frame: VideoFrame) -> LoadedFrame:
        item = CalibrationItem(path, digest, size_bytes, frame.index)
        return _loaded(item, frame.pixels, policy, None)

    indices = spread(video.count_packets(), limit)
    return len(indices), decoded_ahead(video.pick(indices), load, ahead=_VIDEO_AHEAD)


def _loaded(
    item: CalibrationItem, pixels: NDArray[np.uint8], policy: InputPolicy, key: str | None
) -> LoadedFrame:
    """Without a `key`, that of the pixels at network size."""
    frame = InputFrame.of(pixels, policy)
    left, top, right, bottom = place(frame.frame_size, policy).target
    shown = frame.pixels[top:bottom, left:right]  # without the padding
    flat = bool((shown == shown[:1, :1]).all())
    return LoadedFrame(item, frame, key or hashlib.sha256(frame.pixels.data).hexdigest(), flat)
