from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import bas_edge
from bas_edge.ops import aggregate_maps, maps_to_boxes

CLASSES = ("red", "green", "blue", "grey", "odd")
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture
def model(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> Callable[..., Path]:
    def write(**options: Any) -> Path:
        return tiny_onnx(tmp_path / "m.onnx", **{"classes": CLASSES, **options})

    return write


def noise(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


@pytest.mark.parametrize("maps", ["all", "selected", "mean"])
@pytest.mark.parametrize("name", list(COLOURS))
def test_it_finds_the_rectangle_and_names_its_colour(
    model: Callable[..., Path], graphs: ModuleType, maps: str, name: str
) -> None:
    frame = graphs.coloured_frame((64, 128), (40, 16, 80, 48), COLOURS[name])
    with bas_edge.Localizer(model(maps=maps)) as localizer:
        result = localizer.run(frame)
    assert (result.class_name, result.label) == (name, CLASSES.index(name))
    assert result.found
    assert result.score > 0.9
    assert result.frame_size == (64, 128)
    assert result.map.shape == (8, 8)
    assert result.map.dtype == result.scores.dtype == np.float32
    assert result.scores.sum() == pytest.approx(1, abs=1e-6)
    assert result.boxes == ()
    # Cells are 16×8 frame pixels here; bilinear cuts at 0.5 fall on their borders to a pixel
    # of the 32×32 input, which is 4×2 of the frame.
    assert np.abs(np.subtract(result.box, (40, 16, 80, 48))).max() <= 8


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "centre_crop"])
def test_every_resize_policy_maps_back(
    model: Callable[..., Path], graphs: ModuleType, resize: str
) -> None:
    frame = graphs.coloured_frame((120, 160), (48, 24, 112, 88), (0, 0, 255))
    with bas_edge.Localizer(model(resize=resize)) as localizer:
        result = localizer.run(frame)
    assert result.class_name == "blue"
    assert np.abs(np.subtract(result.box, (48, 24, 112, 88))).max() <= 10  # two input pixels


def test_the_box_is_that_of_the_ops_by_hand(model: Callable[..., Path]) -> None:
    frame = noise((32, 32))
    with bas_edge.Localizer(model(top_k=3)) as localizer:
        result = localizer.run(frame)
        policy = localizer.threshold
    by_hand = maps_to_boxes(result.map[None], (32, 32), policy.value, rule=policy.rule)
    assert result.found == by_hand.found[0]
    assert result.box == tuple(float(edge) for edge in by_hand.boxes[0, 0])


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_selected_maps_average_like_all_maps(
    tmp_path: Path, tiny_onnx: Callable[..., Path], top_k: int
) -> None:
    frame = noise((40, 40))
    results = []
    for maps, k in (("all", None), ("selected", 4)):
        path = tiny_onnx(tmp_path / f"{maps}.onnx", maps=maps, classes=CLASSES, k=k)
        with bas_edge.Localizer(path, top_k=top_k) as localizer:
            results.append(localizer.run(frame))
    np.testing.assert_array_equal(results[0].map, results[1].map)
    assert results[0].box == results[1].box


def test_the_map_is_the_mean_of_the_best_classes(model: Callable[..., Path]) -> None:
    path, frame = model(), noise((32, 32))
    with bas_edge.Localizer(path, top_k=2) as localizer:
        result = localizer.run(frame)
        outputs = localizer._open_runner().backend.run({"frames": frame[None]})
    expected = aggregate_maps(outputs["maps"], outputs["logits"], 2)
    np.testing.assert_array_equal(result.map, expected[0])
    assert result.label == int(outputs["logits"][0].argmax())


def test_nothing_on_a_flat_frame(model: Callable[..., Path]) -> None:
    with bas_edge.Localizer(model(maps="mean")) as localizer:
        result = localizer.run(np.full((30, 50, 3), 77, np.uint8))
    assert not result.found
    assert result.box == (0.0, 0.0, 50.0, 30.0)
    assert not result.mask().any()
    assert result.mask().shape == (30, 50)


def test_ties_go_to_the_lower_label(model: Callable[..., Path]) -> None:
    with bas_edge.Localizer(model()) as localizer:
        result = localizer.run(np.zeros((8, 8, 3), np.uint8))
    assert result.scores.tolist() == [pytest.approx(0.2)] * 5
    assert result.label == 0


def test_a_score_under_min_score_is_not_found(
    model: Callable[..., Path], graphs: ModuleType
) -> None:
    frame = graphs.coloured_frame((32, 32), (8, 8, 24, 24), (255, 0, 0))
    path = model()
    with bas_edge.Localizer(path) as localizer:
        score = localizer.run(frame).score
    for min_score, found in ((score, True), (np.nextafter(score, 1), False)):
        with bas_edge.Localizer(path, min_score=min_score) as localizer:
            result = localizer.run(frame)
        assert result.found == found
        assert (result.box == (0.0, 0.0, 32.0, 32.0)) != found
        assert result.mask().any() == found
    with bas_edge.Localizer(model(min_score=1.0)) as localizer:
        assert localizer.min_score == 1.0
        assert not localizer.run(frame).found


def test_more_boxes_largest_first(model: Callable[..., Path], graphs: ModuleType) -> None:
    frame = graphs.coloured_frame((64, 64), (0, 0, 16, 16), (255, 0, 0))
    frame[32:64, 32:64] = (255, 0, 0)
    with bas_edge.Localizer(model(), max_boxes=4) as localizer:
        result = localizer.run(frame)
    assert len(result.boxes) == 2
    assert result.box == result.boxes[0]
    assert np.abs(np.subtract(result.boxes, [(32, 32, 64, 64), (0, 0, 16, 16)])).max() <= 4
    assert len(result.to_dict()["boxes"]) == 2


def test_a_map_that_is_bright_only_on_the_padding_is_not_found(model: Callable[..., Path]) -> None:
    black = np.zeros((8, 64, 3), np.uint8)  # the letterbox's grey is brighter
    with bas_edge.Localizer(model(maps="mean", resize="letterbox"), max_boxes=3) as localizer:
        result = localizer.run(black)
    assert result.map.max() > result.map.min()
    assert not result.found
    assert result.box == (0.0, 0.0, 64.0, 8.0)


# Batches


def test_a_batch_of_many_sizes_gives_what_single_frames_give(
    model: Callable[..., Path],
) -> None:
    frames = [noise((8 + 5 * i, 70 - 3 * i), seed=i) for i in range(19)]  # over two full chunks
    with bas_edge.Localizer(model(top_k=2)) as localizer:
        together = localizer.run_batch(frames)
        assert localizer.run_batch([]) == []
        assert len(localizer.run_batch(iter(frames[:3]))) == 3
        for frame, result in zip(frames, together, strict=True):
            alone = localizer.run(frame)
            assert result.frame_size == frame.shape[:2]
            assert result.label == alone.label
            # The backend may sum a batch in another order: float32 rounding.
            np.testing.assert_allclose(result.map, alone.map, rtol=1e-5, atol=1e-6)


def test_an_array_of_frames_is_a_batch(model: Callable[..., Path]) -> None:
    with bas_edge.Localizer(model()) as localizer:
        assert len(localizer.run_batch(np.stack([noise((8, 8))] * 3))) == 3


def test_results_outlive_later_runs(model: Callable[..., Path]) -> None:
    with bas_edge.Localizer(model(maps="mean")) as localizer:
        first = localizer.run_batch([noise((9, 9), 1), noise((9, 9), 2)])
        kept = [(r.map.copy(), r.scores.copy()) for r in first]
        localizer.run_batch([noise((9, 9), 3), noise((9, 9), 4)])
    for result, (map_, scores) in zip(first, kept, strict=True):
        np.testing.assert_array_equal(result.map, map_)
        np.testing.assert_array_equal(result.scores, scores)


def test_stages_are_timed(model: Callable[..., Path]) -> None:
    with bas_edge.Localizer(model()) as localizer:
        for result in localizer.run_batch([noise((64, 64))] * 2):
            timing = result.timing
            assert min(timing.pre_ms, timing.infer_ms, timing.post_ms) > 0
            assert timing.total_ms == timing.pre_ms + timing.infer_ms + timing.post_ms
