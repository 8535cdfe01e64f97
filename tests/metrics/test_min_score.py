from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bas_edge.errors import InputError
from bas_edge.metrics.min_score import choose_min_score

SCORES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30)


@settings(max_examples=40)
@given(objects=SCORES, background=st.lists(st.floats(0, 1, width=32), max_size=30))
@example(objects=[0.5, np.nextafter(0.5, 1)], background=[])
@example(objects=[0.5] * 20, background=[0.5] * 3)
def test_no_value_that_keeps_enough_objects_separates_better(
    objects: list[float], background: list[float]
) -> None:
    chosen = choose_min_score(np.array(objects), np.array(background))
    kept = np.mean(np.array(objects) >= chosen.value)
    assert chosen.object_rate == pytest.approx(100 * kept)
    assert kept >= 0.95 - 1e-9
    if background:
        passed = np.mean(np.array(background) >= chosen.value)
        assert chosen.false_positive_rate == pytest.approx(100 * passed)
        for value in [0.0, *objects, *background]:
            rate = np.mean(np.array(objects) >= value)
            if rate >= 0.95:
                gain = rate - np.mean(np.array(background) >= value)
                assert gain <= kept - passed + 1e-9


def test_without_background_the_lowest_five_percent_go() -> None:
    chosen = choose_min_score(np.arange(1, 101) / 100)
    assert chosen.value == pytest.approx(0.055)
    assert chosen.object_rate == 95.0
    assert chosen.false_positive_rate is None


def test_background_below_every_object_is_rejected_without_a_loss() -> None:
    chosen = choose_min_score(np.array([0.4, 0.8, 0.9]), np.array([0.2, 0.3]))
    assert chosen.value == pytest.approx(0.35)
    assert (chosen.object_rate, chosen.false_positive_rate) == (100.0, 0.0)


def test_background_above_every_object_costs_no_object() -> None:
    chosen = choose_min_score(np.array([0.4, 0.5]), np.array([0.8]))
    assert (chosen.value, chosen.object_rate, chosen.false_positive_rate) == (0.0, 100.0, 100.0)


def test_few_images_lose_none() -> None:
    assert choose_min_score(np.array([0.1, 0.9, 0.9])).value == 0.0


@pytest.mark.parametrize(
    ("objects", "background", "message"),
    [
        ([], None, "at least one image with an object"),
        ([2.0], None, "object scores reach from 2.0 to 2.0"),
        ([float("nan")], None, "object scores reach from nan"),
        ([0.5], [-1.0], "background scores reach from -1.0"),
    ],
)
def test_unusable_scores_are_refused(
    objects: list[float], background: list[float] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        choose_min_score(np.array(objects), None if background is None else np.array(background))


def test_keep_must_be_a_share() -> None:
    with pytest.raises(InputError, match="keep is 95"):
        choose_min_score(np.array([0.5]), keep=95)
