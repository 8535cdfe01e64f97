"""An mp4 file that is being written: its descriptor, its errors, and when it reaches the disk."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bas_edge._require import require
from bas_edge.errors import BasEdgeError

__all__ = ["Mp4Output"]

_SYNC_S = 2.0
# The index goes into the file every two seconds, so that it plays up to there.
_FRAGMENTED = {
    "movflags": "+delay_moov+default_base_moof",
    "frag_duration": "2000000",  # µs
    "flush_packets": "1",
}


class Mp4Output:
    """PyAV's container on a file that is opened and closed here.

    Left to itself, PyAV never closes a file whose first bytes cannot be written.

    Args:
        path: The file, which is replaced.
        fragmented: Write the index as the file grows, and have the system put it all on the disk
            every two seconds, so that after a power cut it plays up to some four seconds before.

    Attributes:
        container: For adding streams.

    Raises:
        BasEdgeError: The file cannot be written.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, path: Path, *, fragmented: bool) -> None:
        self._av = require("av", extra="video", purpose="Writing a video file")
        self._path, self._fragmented = path, fragmented
        self._synced = time.monotonic()
        with self.named_errors():
            self._file = path.open("wb")
        self.container: Any = self._av.open(
            self._file, mode="w", format="mp4", options=_FRAGMENTED if fragmented else {}
        )

    def mux(self, packets: Any) -> None:
        """Write packets."""
        with self.named_errors():
            self.container.mux(packets)
            if self._fragmented:
                self._file.flush()
                if time.monotonic() - self._synced > _SYNC_S:
                    os.fsync(self._file.fileno())
                    self._synced = time.monotonic()

    def close(self) -> None:
        """Write the rest, have it put on the disk, and close the file in any case."""
        with self.named_errors(), self._file:
            self.container.close()
            self._file.flush()
            os.fsync(self._file.fileno())

    def discard(self) -> None:
        """Close the file whatever it holds, and remove it."""
        with contextlib.suppress(self._av.error.FFmpegError, OSError), self._file:
            self.container.close()
        self._path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def named_errors(self) -> Iterator[None]:
        """Turn what PyAV and the system raise into an error that names the file."""
        try:
            yield
        except (self._av.error.FFmpegError, OSError) as error:
            raise BasEdgeError(
                f"Cannot write {self._path}: {error.strerror or error}.",
                hint="Check the folder, its permissions and the space that is left.",
            ) from error
