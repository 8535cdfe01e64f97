"""How steady two boxes are, and many in constant memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bas_edge.results import Box, Localization, Timing
from bas_edge.video import Stability, StabilitySummary
from bas_edge.video.steady.stability import stability_between


def result(box: Box, found: bool = True) -> Localization:
    nothing = np.empty(0, np.float32)
    timing = Timing(0, 0, 0)
    return Localization(box, 0, "a", 0.9, found, nothing[None], timing, (100, 100), nothing)


def test_two_boxes() -> None:
    here = result((0, 0, 10, 10))
    assert stability_between(here, here) == Stability(1.0, 0.0)
    assert stability_between(here, result((3, 4, 13, 14))) == Stability(
        pytest.approx(42 / 158), pytest.approx(5.0)
    )
    assert stability_between(here, result((0, 0, 20, 10))) == Stability(0.5, 5.0)
    assert stability_between(here, result((10, 0, 20, 10))) == Stability(0.0, 10.0)


def test_without_two_boxes_there_is_nothing_to_compare() -> None:
    here = result((0, 0, 10, 10))
    assert stability_between(here, replace(here, found=False)) is None
    assert stability_between(replace(here, found=False), here) is None


@given(
    values=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 3000)), min_size=1, max_size=60),
    percent=st.sampled_from([0, 10, 50, 90, 100]),
)
def test_the_summary_of_many(values: list[tuple[float, float]], percent: int) -> None:
    summary = StabilitySummary()
    for iou, jitter_px in values:
        summary.add(Stability(iou, jitter_px))
    ious, jitters = np.array(values).T
    assert summary.count == len(values)
    assert summary.mean_iou == pytest.approx(ious.mean())
    assert summary.mean_jitter_px == pytest.approx(jitters.mean())
    exact = np.percentile(ious, percent, method="inverted_cdf")
    assert summary.iou_percentile(percent) == pytest.approx(exact, abs=6e-4)
    exact = np.percentile(jitters, percent, method="inverted_cdf")
    assert summary.jitter_percentile(percent) == pytest.approx(exact, rel=6e-3, abs=0.01)


def test_a_summary_of_nothing() -> None:
    assert set(StabilitySummary().to_dict().values()) == {0}
