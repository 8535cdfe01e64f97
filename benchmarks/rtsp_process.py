"""`rtsp_gst.py` as a process: started, told things, killed, started again."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import IO

from .harness import SkippedCaseError

__all__ = ["RtspProcess"]

_SCRIPT = Path(__file__).with_name("rtsp_gst.py")
_NEEDS = (
    "GStreamer's RTSP server is not there for {python}: on Debian and Ubuntu it is in python3-gi, "
    "gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-good, -bad and -ugly, and gstreamer1.0-libav"
)


class RtspProcess:
    """A film over RTSP at 127.0.0.1:`port`, in a process of its own.

    Args:
        video: H.264 in mp4.
        python: The interpreter that has `gi`.
        options: More of the script's options.

    Raises:
        SkippedCaseError: It does not start; the message names the Debian packages.
    """

    def __init__(self, video: Path, python: Path, *options: str) -> None:
        self._command = [str(python), str(_SCRIPT), "--video", str(video.resolve()), *options]
        self._python = python
        self.port = 0
        self.start()

    def __enter__(self) -> RtspProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it; on the port that it had before, if it had one."""
        command = [*self._command, "--port", str(self.port)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        except OSError as error:
            raise SkippedCaseError(f"{_NEEDS.format(python=self._python)} ({error}).") from None
        ready = _pipe(self._process.stdout).readline()
        if not ready.startswith("ready "):
            _, said = self._process.communicate()
            reason = (said.strip().splitlines() or ["it said nothing"])[-1]
            raise SkippedCaseError(f"{_NEEDS.format(python=self._python)} ({reason}).")
        self.port = int(ready.split()[1])

    def resize(self, width: int, height: int) -> None:
        """Send another size from now on; returns when it does."""
        pipe = _pipe(self._process.stdin)
        pipe.write(f"size {width} {height}\n")
        pipe.flush()
        _pipe(self._process.stdout).readline()

    def kill(self) -> None:
        """As a power cut does. Safe to call twice."""
        self._process.kill()
        self._process.communicate()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
