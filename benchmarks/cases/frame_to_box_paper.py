"""Frame to box with the published head: ours against the eager model, same weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ..harness import Comparison
from .frame_to_box import INPUTS, THREADS, eager, ours, prepare, require_same_boxes

__all__ = ["CASE"]


def _agree(answers: Mapping[str, NDArray[Any]]) -> str:
    return require_same_boxes(answers["ours"], answers["eager paper head"])


CASE = Comparison(
    name="frame_to_box_paper",
    summary="frame to box, paper head, fp32, C=200",
    variants={"ours": ours("paper"), "eager paper head": eager("paper")},
    agree=_agree,
    inputs=INPUTS,
    threads=THREADS,
    targets={"eager paper head": 2.0},
    block_s=2.0,
    prepare=prepare("paper"),
)
