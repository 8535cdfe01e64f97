"""Every error that bas_edge raises on purpose.

BasEdgeError                 exit code 1
├── InputError               2   a file, frame, CSV or option that cannot be used as given
├── MissingExtraError        3   an optional dependency is not installed
├── EngineError              4   an engine bundle or ONNX file cannot be used
│   ├── EngineCorruptError       a hash, size or file of the bundle is wrong
│   ├── EngineSchemaError        written by a version this one cannot read
│   └── EngineMismatchError      built for another GPU or library version
├── BackendError             5   an inference library refused or failed
├── KernelError              6   a native kernel failed
├── PartialFailureError      7   the job finished, but some inputs were skipped
├── AccuracyError            8   reduced precision would cost more than the bound allows
└── StreamError              9   a camera or network stream cannot be read
    ├── StreamAuthenticationError    it refuses the name or password
    ├── StreamNotFoundError          there is a server or a device bus, but nothing by this name
    ├── StreamConnectionError        nobody answers there, or the connection broke
    ├── StreamTimeoutError           it said nothing for too long
    └── StreamCodecError             what it sends cannot be decoded here
"""

from __future__ import annotations

import copyreg
from typing import Any

__all__ = [
    "AccuracyError",
    "BackendError",
    "BasEdgeError",
    "EngineCorruptError",
    "EngineError",
    "EngineMismatchError",
    "EngineSchemaError",
    "InputError",
    "KernelError",
    "MissingExtraError",
    "PartialFailureError",
    "StreamAuthenticationError",
    "StreamCodecError",
    "StreamConnectionError",
    "StreamError",
    "StreamNotFoundError",
    "StreamTimeoutError",
]


class BasEdgeError(Exception):
    """Base class of every error bas_edge raises on purpose.

    Attributes:
        hint: One thing the caller can do about it, or None.
        exit_code: What the command line returns when this error reaches it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, as another process may raise it: whatever the class, by message and hint."""
        # What object.__reduce_ex__ returns; typeshed leaves it out.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class InputError(BasEdgeError, ValueError):
    """A file, frame, annotation or option cannot be used as given."""

    exit_code = 2


class MissingExtraError(BasEdgeError, ImportError):
    """A dependency is not installed: one of `extra`, or of bas-edge itself where that is "".

    `hint` is for one that no extra brings.
    """

    exit_code = 3

    def __init__(
        self, module: str, *, extra: str = "", purpose: str, hint: str | None = None
    ) -> None:
        install = f"pip install 'bas-edge[{extra}]'" if extra else "pip install bas-edge"
        super().__init__(
            f"{purpose} needs the module '{module}', which is not installed.",
            hint=hint or install,
        )
        self.module = module
        self.extra = extra


class EngineError(BasEdgeError):
    """An engine bundle or ONNX file cannot be used."""

    exit_code = 4


class EngineCorruptError(EngineError):
    """A file of the bundle is missing, or does not have the recorded size or hash."""


class EngineSchemaError(EngineError):
    """The bundle was written in a format this version does not know."""


class EngineMismatchError(EngineError):
    """An engine file was built for a different GPU or library version.

    `rebuild` is the command that builds it again here.
    """

    def __init__(
        self,
        path: str,
        *,
        built_for: str,
        running_on: str,
        rebuild: str = "bas-edge build-engine model.onnx -o NAME.engine",
    ) -> None:
        super().__init__(
            f"{path} was built for {built_for}; this machine is {running_on}.",
            hint=f"Rebuild it here: {rebuild}",
        )


class BackendError(BasEdgeError):
    """An inference library refused the graph or failed while running it."""

    exit_code = 5


class KernelError(BasEdgeError):
    """A native kernel failed."""

    exit_code = 6


class PartialFailureError(BasEdgeError):
    """The job finished, but some of its inputs could not be used and were skipped."""

    exit_code = 7


class AccuracyError(BasEdgeError):
    """An engine of reduced precision would be further from float32 than its bound allows."""

    exit_code = 8


class StreamError(BasEdgeError):
    """A camera or a network stream cannot be read. Its text never holds credentials."""

    exit_code = 9


class StreamAuthenticationError(StreamError):
    """The server refuses the user name or the password."""


class StreamNotFoundError(StreamError):
    """The server, or this machine, has no stream or device by this name."""


class StreamConnectionError(StreamError):
    """Nobody answers at this address, or the connection broke."""


class StreamTimeoutError(StreamError):
    """The source was silent for longer than it may be."""


class StreamCodecError(StreamError):
    """The stream has no video, or a kind of video that cannot be decoded here."""
