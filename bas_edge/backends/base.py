"""What every inference backend offers, and nothing that only one of them has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Backend", "TensorSpec"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One engine input or output. A None in `shape` is a dynamic axis."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


class Backend(Protocol):
    """One loaded engine. Holds its memory until close(). One thread at a time."""

    @property
    def name(self) -> str:
        """The name a user selects it by, such as "onnxruntime"."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one batch and wait for it.

        The caller owns the returned arrays: no later run() writes into them. Feeds were
        already checked against `inputs`, so an implementation checks nothing twice.

        Raises:
            BackendError: The library failed; its own last words are in the message.
        """
        ...

    def clone(self) -> Backend:
        """A second engine for another thread, sharing weights where the library can."""
        ...

    def close(self) -> None:
        """Free its memory. Safe to call twice."""
        ...
