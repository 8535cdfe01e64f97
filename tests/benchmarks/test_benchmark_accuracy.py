"""Agreement with the eager model, and the accuracy table, on maps small enough to count."""

from __future__ import annotations

import numpy as np
import pytest

from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.protocols import open_protocol
from benchmarks.accuracy import Outputs, score_oracle, score_shipped
from benchmarks.eager import EagerResult, fraction_of_range
from benchmarks.parity_eager import compare_image

WHOLE, LEFT = (0.0, 0.0, 4.0, 4.0), (0.0, 0.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("edge", "box", "logits", "verdict"),
    [
        (0.5 - 1e-6, WHOLE, (3, 2, 1), "same"),
        (0.5 - 1e-6, LEFT, (3, 2, 1), "at the cut"),
        (0.3, LEFT, (3, 2, 1), "unexplained"),
        (0.3, LEFT, (3, 2, 2), "class tie"),
        (0.5 + 2e-6, LEFT, (3, 2, 1), "unexplained"),  # the masks agree, so the boxes should
    ],
)
def test_every_differing_box_needs_a_reason(
    edge: float, box: tuple[float, float, float, float], logits: tuple[int, ...], verdict: str
) -> None:
    """Both maps are cut at 0.5; the last column is just above it in the eager map."""
    theirs = np.ones((4, 4), np.float32)
    theirs[0, 0] = 0.0
    ours = theirs.copy()
    theirs[:, 3], ours[:, 3] = 0.5 + 2e-6, edge
    result = compare_image(
        box,
        ours,
        EagerResult(WHOLE, theirs, np.array(logits, np.float32), {}),
        size=(4, 4),
        threshold=ThresholdPolicy(rule="fixed", value=0.5),
        top_k=2,
    )
    assert result.verdict == verdict


def test_the_mean_rule_is_a_fraction_of_the_range_too() -> None:
    foreground = np.array([[1, 1], [1, 5]], np.float32)  # normalised mean 0.25
    assert fraction_of_range(foreground, ThresholdPolicy(rule="mean", value=1.5)) == 0.375
    assert fraction_of_range(foreground, ThresholdPolicy(rule="fixed", value=0.2)) == 0.2


def test_the_oracle_finds_the_cut_and_top1_loc_asks_for_the_class() -> None:
    cells = np.full((2, 4, 4), 0.2, np.float32)
    cells[:, 0, 0] = 0.0
    cells[:, 1:3, 1:3] = 1.0  # the object: only a cut above 0.2 leaves it alone
    box = np.array([[4.0, 4.0, 12.0, 12.0]])
    truth = GroundTruth.stretched([box, box], [(16, 16)] * 2, (16, 16))
    outputs = Outputs(cells, np.array([0, 3]))
    protocol = open_protocol("bas", (16, 16))

    cut, best = score_oracle(outputs, truth, protocol)
    assert float(cut.removeprefix("fixed ")) > 0.2
    assert (best["GT-known"], best["Top-1 Loc"], best["Top-1 cls"]) == (100.0, 50.0, 50.0)

    policy = ThresholdPolicy(rule="fixed", value=0.05)
    cut, low = score_shipped(outputs, truth, protocol, policy)
    assert cut == "fixed 0.05"
    assert (low["GT-known"], low["MaxBoxAccV2"]) == (0.0, 0.0)
