"""What TensorRT says while it works: kept, so that an error can repeat its last words."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

__all__ = ["LogLines", "library", "make_logger"]

_KEPT = 200
_REPEATED = 6
_SERIOUS = ("INTERNAL_ERROR", "ERROR")
# Every call without a driver logs this too; it says nothing about the failure at hand.
_NOISE = re.compile(r"cudaError 35|catchCudaError|^-+$|--- (Begin|End) node ---|^Node name:")


class LogLines:
    """The last lines of one build or load. TensorRT may call from several threads."""

    def __init__(self) -> None:
        self._lines: deque[tuple[str, str]] = deque(maxlen=_KEPT)

    def add(self, severity: str, text: str) -> None:
        """Keep one line; verbose ones are dropped. Never raises: TensorRT is the caller."""
        if severity != "VERBOSE":
            self._lines.append((severity, text))

    def last_words(self) -> str:
        """TensorRT's last errors, or its last lines where it logged no error; "" for silence."""
        lines = list(self._lines)
        serious = [text for severity, text in lines if severity in _SERIOUS]
        kept = [text for text in serious if not _NOISE.search(text)] or serious
        return "\n".join(f"  {text}" for text in (kept or [t for _, t in lines])[-_REPEATED:])

    def attached(self, *, whole: bool = False) -> str:
        """`last_words` as the end of an error message; with `whole`, of whatever severity."""
        lines = [text for _, text in list(self._lines) if not _NOISE.search(text)]
        words = "\n".join(f"  {text}" for text in lines[-_REPEATED:]) if whole else ""
        words = words or self.last_words()
        return f" Its last words:\n{words}" if words else " It logged nothing."

    def says(self, pattern: re.Pattern[str]) -> bool:
        """Whether any kept line matches."""
        return any(pattern.search(text) for _, text in list(self._lines))

    def clear(self) -> None:
        self._lines.clear()


def library(trt: Any) -> str:
    """The module's name and version for messages, such as "TensorRT-RTX 1.7.1.116"."""
    name = "TensorRT-RTX" if trt.__name__ == "tensorrt_rtx" else "TensorRT"
    return f"{name} {trt.__version__}"


def make_logger(trt: Any, lines: LogLines) -> Any:
    """An ILogger of the module `trt` that writes into `lines` and prints nothing."""

    def __init__(self: Any) -> None:  # noqa: N807  (the method of a class that is made below)
        trt.ILogger.__init__(self)

    def log(_self: Any, severity: Any, text: str) -> None:
        lines.add(str(severity.name), str(text).rstrip())

    return type("BasEdgeLogger", (trt.ILogger,), {"__init__": __init__, "log": log})()
