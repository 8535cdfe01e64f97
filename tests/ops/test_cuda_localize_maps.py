from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bas_edge.errors import InputError
from bas_edge.ops import aggregate_maps, cuda, maps_to_boxes, maps_to_masks
from bas_edge.ops.cuda_module import native

FORMS = ["all", "selected", "mean"]


@settings(max_examples=40, deadline=None)
@given(
    form=st.sampled_from(FORMS),
    images=st.integers(1, 3),
    classes=st.integers(1, 40),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_equal_to_the_ops_one_after_another(
    cuda_ops: Any,
    form: Literal["all", "selected", "mean"],
    images: int,
    classes: int,
    seed: int,
    data: st.DataObject,
) -> None:
    rng = np.random.default_rng(seed)
    count = {"all": classes, "mean": 1}.get(form) or data.draw(st.integers(1, classes))
    top_k = data.draw(st.integers(1, count))
    max_boxes = data.draw(st.integers(1, 3))
    logits = rng.normal(scale=4, size=(images, classes)).round(0).astype(np.float32)  # ties
    maps = rng.random((images, count, 5, 6), dtype=np.float32)
    options: dict[str, Any] = {"size": (24, 40), "threshold": 0.6}
    records, foreground, masks = cuda_ops.localize_maps(
        logits, maps, form=form, top_k=top_k, max_boxes=max_boxes, **options
    )

    if form == "mean":
        expected = maps[:, 0]
    else:
        best_first = np.tile(-np.arange(count, dtype=np.float32), (images, 1))
        expected = aggregate_maps(maps, logits if form == "all" else best_first, top_k)
    np.testing.assert_array_equal(foreground, expected)
    np.testing.assert_array_equal(records.labels, logits.argmax(axis=1))
    boxes = maps_to_boxes(expected, (24, 40), 0.6, max_boxes=max_boxes)
    np.testing.assert_array_equal(records.boxes.boxes, boxes.boxes)
    np.testing.assert_array_equal(records.boxes.areas, boxes.areas)
    np.testing.assert_array_equal(records.boxes.count, boxes.count)
    np.testing.assert_array_equal(masks, maps_to_masks(expected, (24, 40), 0.6))
    assert not records.status.any()
    wide = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    # 2e-6: 20 roundings of float32, more than a sum over 2^20 classes in this order can make.
    np.testing.assert_allclose(records.scores, (wide / wide.sum(axis=1)[:, None]).max(1), rtol=2e-6)


@pytest.mark.parametrize(("classes", "k"), [(200, 80), (1000, 80)])
def test_equal_at_the_size_of_a_network(cuda_ops: Any, classes: int, k: int) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=(2, classes)).astype(np.float32)
    maps = rng.random((2, classes, 28, 28), dtype=np.float32)
    records, foreground, _ = cuda_ops.localize_maps(
        logits, maps, form="all", top_k=k, size=(224, 224), threshold=0.52
    )
    np.testing.assert_array_equal(foreground, aggregate_maps(maps, logits, k))
    boxes = maps_to_boxes(foreground, (224, 224), 0.52)
    np.testing.assert_array_equal(records.boxes.boxes, boxes.boxes)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", FORMS)
def test_logits_that_are_not_finite_show_in_the_status(
    cuda_ops: Any, form: str, bad: float
) -> None:
    logits = np.zeros((2, 3), np.float32)
    logits[1, 2] = bad
    maps = np.zeros((2, 1 if form == "mean" else 3, 4, 4), np.float32)
    records, _, _ = cuda_ops.localize_maps(
        logits, maps, form=form, top_k=1, size=(8, 8), threshold=0.5
    )
    expected = native().SCORE_NAN if np.isnan(bad) else native().SCORE_INFINITE
    assert records.status.tolist() == [0, expected]


@pytest.mark.parametrize("form", FORMS)
def test_maps_that_are_not_finite_show_in_the_status(cuda_ops: Any, form: str) -> None:
    maps = np.zeros((3, 1 if form == "mean" else 3, 4, 4), np.float32)
    maps[1, 0, 3, 3] = np.nan
    records, _, _ = cuda_ops.localize_maps(
        np.array([[2, 1, 0]] * 3, np.float32), maps, form=form, top_k=1, size=(8, 8), threshold=0.5
    )
    assert (records.status != 0).tolist() == [False, True, False]
    with pytest.raises(InputError, match=r"\[1\]"):
        cuda.raise_for_status(records.status)
    assert records.boxes.count.tolist() == [0, 0, 0]  # flat maps
