"""Frame to box with the edge head: against the eager paper head, and against itself in eager."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ..harness import Comparison
from .frame_to_box import INPUTS, THREADS, eager, ours, prepare, require_same_boxes

__all__ = ["CASE"]


def _agree(answers: Mapping[str, NDArray[Any]]) -> str:
    """The paper head has other weights; its own case holds it to its eager twin."""
    return require_same_boxes(answers["ours"], answers["eager edge head"])


CASE = Comparison(
    name="frame_to_box_edge",
    summary="frame to box, edge head, fp32, C=200",
    variants={
        "ours": ours("edge"),
        "eager paper head": eager("paper"),
        "eager edge head": eager("edge"),
    },
    agree=_agree,
    inputs=INPUTS,
    threads=THREADS,
    targets={"eager paper head": 5.0},
    block_s=2.0,
    prepare=prepare("edge", "paper"),
)
