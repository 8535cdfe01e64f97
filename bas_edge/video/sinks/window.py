"""A window that shows frames and boxes, through an OpenCV that has windows."""

from __future__ import annotations

import re
import signal
from typing import Any

import numpy as np

from bas_edge._require import require
from bas_edge.errors import InputError
from bas_edge.video.frames import FrameResult, StreamEvent

__all__ = ["Window", "has_windows"]

_QUIT_KEYS = {ord("q"), 27}  # 27 is Escape


class Window:
    """A sink that shows each stream in a window of its own; q or Escape ends the program.

    For a look at a desk. Headless builds of OpenCV have no windows: `bas-edge serve` needs none.

    Raises:
        MissingExtraError: OpenCV is not installed.
        InputError: It was built without windows.
    """

    def __init__(self) -> None:
        self._cv2: Any = require(
            "cv2", purpose="A window", hint="pip install opencv-python, without -headless."
        )
        if not has_windows(self._cv2):
            raise InputError(
                f"The OpenCV {self._cv2.__version__} of this environment has no windows.",
                hint="Look at it in a browser with bas-edge serve, or install opencv-python in "
                "place of opencv-python-headless.",
            )
        self._quit = False

    def write(self, result: FrameResult) -> None:
        """Show the frame with what was found in it."""
        drawn = result.finding.draw(result.frame.pixels, color="rgb")
        self._cv2.imshow(result.stream, np.ascontiguousarray(drawn[:, :, ::-1]))
        if self._cv2.waitKey(1) & 0xFF in _QUIT_KEYS and not self._quit:
            self._quit = True
            signal.raise_signal(signal.SIGINT)

    def event(self, event: StreamEvent) -> None:
        """The picture stands still; the terminal says why."""

    def close(self, *, complete: bool) -> None:  # noqa: ARG002  (as every sink)
        """Close the windows."""
        self._cv2.destroyAllWindows()


def has_windows(cv2: Any) -> bool:
    """Whether this OpenCV was built with windows."""
    gui = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.M)
    return gui is not None and gui[1] != "NONE"
