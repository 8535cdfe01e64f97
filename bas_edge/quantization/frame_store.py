"""Frames at network size in a temporary file: decoded once, read as often as needed."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bas_edge.decoding import decoded_ahead, none_usable
from bas_edge.engine.manifest import InputPolicy
from bas_edge.errors import BasEdgeError, InputError
from bas_edge.evaluation_report import SkippedImage
from bas_edge.framing import frame_to_input, place
from bas_edge.images import read_image

__all__ = [
    "AHEAD",
    "FramePart",
    "FrameStore",
    "InputFrame",
    "Progress",
    "StoredImages",
    "store_images",
]

AHEAD = 8  # frames held at most while they are decoded

Progress = Callable[[int, int], None]  # how many are done, of how many


class InputFrame(NamedTuple):
    """One frame as the network sees it.

    Attributes:
        pixels: uint8 RGB [h, w, 3].
        frame_size: (H, W) of the frame that it was made from.
    """

    pixels: NDArray[np.uint8]
    frame_size: tuple[int, int]

    @classmethod
    def of(cls, frame: NDArray[np.uint8], policy: InputPolicy) -> InputFrame:
        """uint8 RGB [H, W, 3] by the path of the runtime."""
        height, width = frame.shape[:2]
        return cls(frame_to_input(frame, place((height, width), policy)), (height, width))


class FrameStore:
    """M frames uint8 [h, w, 3] on disk. Threads may share one.

    They lie in an unnamed file in the folder for temporary files (`TMPDIR`), which the system
    removes when the store is closed or the process ends, however it ends. Reading copies, so
    that memory holds what was asked for and nothing else.

    Attributes:
        input_size: (h, w).
        frame_sizes: M times (H, W), of the frames before they were resized.
    """

    def __init__(self, policy: InputPolicy) -> None:
        self.input_size = (policy.height, policy.width)
        self.frame_sizes: list[tuple[int, int]] = []
        self._frame_bytes = 3 * policy.height * policy.width
        self._lock = threading.Lock()
        try:
            self._file = tempfile.TemporaryFile(prefix="bas-edge-", buffering=0)  # noqa: SIM115  (close() does)
        except OSError as error:
            raise _no_room(error) from error

    def append(self, frame: InputFrame) -> None:
        """Write one more frame, of shape [h, w, 3] with this store's h and w.

        Raises:
            BasEdgeError: The disk is full.
        """
        if frame.pixels.shape != (*self.input_size, 3):
            raise ValueError(f"frame is {frame.pixels.shape}, the store is of {self.input_size}")
        left = np.ascontiguousarray(frame.pixels).data.cast("B")
        with self._lock:
            try:
                self._file.seek(len(self) * self._frame_bytes)
                while left:
                    left = left[self._file.write(left) :]
            except OSError as error:
                raise _no_room(error) from error
            self.frame_sizes.append(frame.frame_size)

    def __len__(self) -> int:
        return len(self.frame_sizes)

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Frames `start` to `stop` as a new array uint8 [n, h, w, 3]; as a slice, so 0 ≤ n."""
        start, stop, _ = slice(start, stop).indices(len(self))
        frames = np.empty((max(0, stop - start), *self.input_size, 3), np.uint8)
        left = frames.reshape(-1).data
        with self._lock:
            self._file.seek(start * self._frame_bytes)
            while left:
                count = self._file.readinto(left)
                if not count:
                    raise EOFError("the file of a frame store became shorter")
                left = left[count:]
        return frames

    def batches(self, size: int, progress: Progress | None = None) -> Iterator[NDArray[np.uint8]]:
        """All frames in order, uint8 [n, h, w, 3] with n = `size` but for the last.

        `progress` is called when a batch has been used: with the next one, or at the end.
        """
        return _in_batches(self, size, progress)

    def part(self, indices: Sequence[int]) -> FramePart:
        """Some of the frames; readable until this store is closed."""
        return FramePart(self, indices)

    def close(self) -> None:
        """Remove the file. Safe to call twice; nothing can be read afterwards."""
        self._file.close()

    def __enter__(self) -> FrameStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class FramePart:
    """Some frames of a store, which stays open for whoever opened it.

    Attributes:
        frame_sizes: (H, W) of each, before it was resized.
    """

    def __init__(self, store: FrameStore, indices: Sequence[int]) -> None:
        self._store, self._indices = store, tuple(indices)
        self.frame_sizes = [store.frame_sizes[index] for index in self._indices]

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """As `FrameStore.read`."""
        chosen = [self._store.read(index, index + 1) for index in self._indices[start:stop]]
        return np.concatenate(chosen) if chosen else self._store.read(0, 0)

    def part(self, indices: Sequence[int]) -> FramePart:
        """Some of these frames."""
        return FramePart(self._store, [self._indices[index] for index in indices])

    def batches(self, size: int, progress: Progress | None = None) -> Iterator[NDArray[np.uint8]]:
        """As `FrameStore.batches`."""
        return _in_batches(self, size, progress)

    def close(self) -> None:
        """Nothing: the store is not this one's."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredImages:
    """The M images that could be used, out of N.

    Attributes:
        frames: The store; whoever gets this closes it.
        kept: [M] indices of those images, ascending.
        skipped: The other images.
    """

    frames: FrameStore
    kept: NDArray[np.intp]
    skipped: tuple[SkippedImage, ...]


def store_images(
    paths: Sequence[Path],
    policy: InputPolicy,
    *,
    unusable: Callable[[int, tuple[int, int]], str | None] | None = None,
    progress: Progress | None = None,
) -> StoredImages:
    """Decode every image once, and keep it at the network's size.

    Args:
        paths: The N image files.
        policy: The network's input.
        unusable: Called, in a thread, with the index and the size (H, W) of each decoded image;
            returns a sentence that says why it must be skipped, or None.
        progress: Called after each image, skipped or not.

    Raises:
        InputError: Not one image could be used; the first reason is in the message.
        BasEdgeError: The disk is full.
    """

    def load(index: int) -> InputFrame:
        frame = read_image(paths[index])
        if unusable is not None and (reason := unusable(index, frame.shape[:2])) is not None:
            raise InputError(reason)
        return InputFrame.of(frame, policy)

    kept: list[int] = []
    skipped: list[SkippedImage] = []
    with ExitStack() as on_error:
        store = on_error.enter_context(FrameStore(policy))
        frames = on_error.enter_context(
            closing(decoded_ahead(range(len(paths)), load, ahead=AHEAD))
        )
        for index, frame in enumerate(frames):
            if isinstance(frame, InputError):
                skipped.append(SkippedImage(path=str(paths[index]), reason=str(frame)))
            else:
                store.append(frame)
                kept.append(index)
            if progress is not None:
                progress(index + 1, len(paths))
        if not kept:
            raise none_usable(len(paths), skipped[0].reason if skipped else None)
        on_error.pop_all()
    return StoredImages(store, np.array(kept, np.intp), tuple(skipped))


def _in_batches(
    frames: FrameStore | FramePart, size: int, progress: Progress | None
) -> Iterator[NDArray[np.uint8]]:
    if size < 1:
        raise ValueError(f"batch size is {size}, but must be at least 1")
    total = len(frames)
    for start in range(0, total, size):
        yield frames.read(start, start + size)
        if progress is not None:
            progress(min(start + size, total), total)


def _no_room(error: OSError) -> BasEdgeError:
    where = tempfile.tempdir or "a temporary file"  # without any such folder, asking again raises
    return BasEdgeError(
        f"Cannot write frames to {where}: {error.strerror}.",
        hint="Set TMPDIR to a folder with room for them.",
    )
