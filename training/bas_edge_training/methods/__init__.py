"""Ways to turn a trained network into maps: BAS, and training-free ones of the CAM family."""

from __future__ import annotations

from .activations import Activations
from .method import BAS, Method
from .registry import METHOD_NAMES, find_method

__all__ = ["BAS", "METHOD_NAMES", "Activations", "Method", "find_method"]
