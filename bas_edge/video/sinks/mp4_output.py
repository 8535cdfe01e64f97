"""An mp4 file that is being written: its descriptor, its errors, and when it reaches the disk."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bas_edge._require import require
from bas_edge.errors import InputError
from bas_edge.video.sinks.file_names import cannot_write
from bas_edge.video.sinks.mp4_tail import cut_torn_end

__all__ = ["Mp4Output", "check_mp4_name"]

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
        plays: Whether there is an index on the disk yet; of fragmented files.

    Raises:
        BasEdgeError: The file cannot be written.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, path: Path, *, fragmented: bool) -> None:
        self._av = require("av", extra="video", purpose="Writing a video file")
        self._path, self._fragmented = path, fragmented
        self._synced = time.monotonic()
        self.plays = False
        with self.named_errors():
            self._file = path.open("wb")
        self.container: Any = self._av.open(
            self._file, mode="w", format="mp4", options=_FRAGMENTED if fragmented else {}
        )

    def mux(self, packets: Any) -> None:
        """Write packets."""
        if self._file.closed:  # FFmpeg would crash
            raise cannot_write(self._path, ValueError("it is closed"))
        with self.named_errors():
            self.container.mux(packets)
            if self._fragmented:
                self._file.flush()
                self.plays = self._file.tell() > 0
                if time.monotonic() - self._synced > _SYNC_S:
                    os.fsync(self._file.fileno())
                    self._synced = time.monotonic()

    def close(self) -> None:
        """Write the rest, have it put on the disk, and close the file in any case."""
        with self.named_errors(), self._file:
            self.container.close()
            self._file.flush()
            os.fsync(self._file.fileno())

    def finish(self, path: Path) -> None:
        """Close the file and give it its name."""
        self.close()
        with self.named_errors():
            self._path.replace(path)

    def discard(self) -> None:
        """Close the file whatever it holds, and remove it."""
        self._let_go()
        with self.named_errors():
            self._path.unlink(missing_ok=True)

    def salvage(self, path: Path) -> bool:
        """After an error: give the file its name if it plays, otherwise remove it.

        Returns:
            Whether there is a file now.
        """
        self._let_go()
        with contextlib.suppress(OSError):
            if self.plays:
                cut_torn_end(self._path)
                self._path.replace(path)
            else:
                self._path.unlink(missing_ok=True)
        return path.exists()

    def _let_go(self) -> None:
        if not self._file.closed:
            with contextlib.suppress(self._av.error.FFmpegError, OSError), self._file:
                self.container.close()

    @contextlib.contextmanager
    def named_errors(self) -> Iterator[None]:
        """Turn what PyAV and the system raise into an error that names the file."""
        try:
            yield
        except (self._av.error.FFmpegError, OSError) as error:
            raise cannot_write(self._path, error) from error


def check_mp4_name(path: str | Path) -> None:
    """Refuse a file that would be an mp4 by another name.

    Raises:
        InputError: It does not end in .mp4.
    """
    if Path(path).suffix.lower() != ".mp4":
        raise InputError(f"The video {path} would be an mp4.", hint="End its name in .mp4.")
