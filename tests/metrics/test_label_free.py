from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from skimage.filters import threshold_isodata, threshold_li, threshold_otsu

from bas_edge.errors import InputError
from bas_edge.metrics import label_free
from bas_edge.metrics.bas_protocol import BasProtocol
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.label_free import RULES, LabelFreeRule, compare_rules, normalised_cells


def bumps(count: int = 5, cells: int = 20) -> NDArray[np.float32]:
    """Soft discs of several sizes on a low floor, as BAS maps look."""
    y, x = np.mgrid[:cells, :cells]
    distance = np.hypot(y - cells / 2 + 0.5, x - cells / 2 + 0.5)
    radius = np.linspace(3, 8, count)[:, None, None]
    return (1 / (1 + np.exp(2 * (distance - radius))) * 0.9 + 0.02).astype(np.float32)


@pytest.mark.parametrize(
    ("ours", "published"),
    [
        (label_free.otsu, threshold_otsu),
        (label_free.isodata, threshold_isodata),
        (label_free.li, threshold_li),
    ],
)
def test_classical_rules_cut_as_scikit_image_does(
    ours: Callable[[np.ndarray], np.ndarray], published: Callable[[np.ndarray], float]
) -> None:
    noise = np.random.default_rng(3).uniform(0, 0.1, size=(5, 20, 20))  # no two cells are equal
    cells = normalised_cells((bumps() + noise).astype(np.float32))
    for row, cut in zip(cells, ours(cells), strict=True):
        # Histogram bins and stopping rules differ; the share of the map that is cut off must not.
        assert abs((row > cut).mean() - (row > published(row)).mean()) < 0.02


@settings(max_examples=12, deadline=None)
@given(
    maps=hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 5)),
        elements=st.floats(-4, 4, width=32),
    )
)
def test_every_rule_gives_a_finite_cut_for_any_map(maps: NDArray[np.float32]) -> None:
    for name, rule in RULES.items():
        cuts = rule.thresholds(maps)
        assert cuts.shape == (len(maps),), name
        assert cuts.dtype == np.float32, name
        assert np.isfinite(cuts).all(), name
        assert (cuts >= 0).all(), name


@pytest.mark.parametrize("rule", ["otsu", "isodata", "li", "triangle", "stable_area"])
def test_adaptive_rules_ignore_the_scale_of_a_map(rule: str) -> None:
    function = getattr(label_free, rule)
    maps = bumps()
    scaled = normalised_cells(maps * np.float32(0.25) - np.float32(0.5))
    np.testing.assert_allclose(function(scaled), function(normalised_cells(maps)), atol=0.02)


def test_normalised_cells_of_a_flat_map_are_zero() -> None:
    maps = np.array([[[3.0, 3.0]], [[1.0, 3.0]]], np.float32)
    np.testing.assert_array_equal(normalised_cells(maps), [[0, 0], [0, 1]])


def test_a_pooled_rule_gives_all_maps_the_cut_of_the_whole_split() -> None:
    maps = bumps()
    cuts = RULES["pooled Otsu"].thresholds(maps)
    together = np.concatenate(list(normalised_cells(maps)))[None]
    np.testing.assert_array_equal(cuts, label_free.otsu(together).astype(np.float32).repeat(5))


def test_the_cut_of_a_network_is_a_multiple_of_all_its_cells_together_up_to_a_cap() -> None:
    maps = np.array([[[1, 1, 1, 2]], [[0, 0, 0, 8]]], np.float32)  # normalised mean 1/4
    assert label_free.network_cut(maps) == pytest.approx(1.9 / 4)
    wide = np.array([[[0, 1, 1, 1]]], np.float32)
    assert label_free.network_cut(wide) == 0.7
    named = RULES["pooled mean x 1.90, at most 0.70"]
    np.testing.assert_allclose(named.thresholds(maps), 1.9 / 4)


def test_maps_without_contrast_give_no_threshold() -> None:
    with pytest.raises(InputError, match="from 2 maps: none has any contrast"):
        label_free.network_cut(np.ones((2, 3, 3), np.float32))


def test_otsu_maximises_the_variance_between_its_sides() -> None:
    row = np.array([0.0, 0.1, 0.15, 0.7, 0.8, 1.0])

    def between(cut: float) -> float:
        low, high = row[row <= cut], row[row > cut]
        return float(len(low) * len(high) * (high.mean() - low.mean()) ** 2)

    (cut,) = label_free.otsu(row[None])
    assert cut == pytest.approx((0.15 + 0.7) / 2)
    assert between(cut) == max(between(other) for other in row[:-1])


def test_a_capped_mean_never_exceeds_its_cap() -> None:
    cells = np.array([[0.0, 0.9, 0.9, 1.0], [0.0, 0.0, 0.0, 1.0]])
    np.testing.assert_allclose(label_free.capped_mean(1.5, 0.5)(cells), [0.5, 0.375])


def test_comparison_is_sorted_by_gap_and_agrees_with_the_oracle() -> None:
    maps = np.repeat(bumps(), 2, axis=0)
    cells = maps.shape[1]
    truth = GroundTruth.stretched(
        [np.array([[cells / 2 - r, cells / 2 - r, cells / 2 + r, cells / 2 + r]])
         for r in np.repeat(np.linspace(3, 8, 5), 2)],
        [(cells, cells)] * len(maps),
        (cells, cells),
    )  # fmt: skip
    rules = {
        "half": LabelFreeRule(rule="fixed", value=0.5),
        "everything": LabelFreeRule(rule="fixed", value=0.0),
        "mean": LabelFreeRule(rule="mean", value=1.5),
    }
    oracle, scores = compare_rules(BasProtocol((cells, cells)), maps, truth, rules)
    by_name = {score.name: score for score in scores}
    assert oracle.by_iou["0.5"].accuracy == 100.0
    assert by_name["half"].gap == 0.0
    assert by_name["everything"].gap > 20
    assert [score.gap for score in scores] == sorted(score.gap for score in scores)
    assert by_name["mean"].accuracy.by_iou["0.5"] == 100.0 - by_name["mean"].gap
