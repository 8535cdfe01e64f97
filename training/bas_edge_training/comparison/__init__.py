"""BAS beside the CAM family, and beside engines, on the same images: `bas-edge compare`."""

from __future__ import annotations

from .compare import DEFAULT_METHODS, compare
from .report import Comparison

__all__ = ["DEFAULT_METHODS", "Comparison", "compare"]
