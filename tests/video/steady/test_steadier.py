"""One stream through a Steadier: averages, hysteresis, and what makes it start anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.localizer import Localizer
from bas_edge.results import Box, Localization
from bas_edge.video import Smoothing, Steadier, VideoFrame

SIZE = (140, 280)  # of the frames; 5 × 10 pixels a cell
FPS = 25
MAP_ALONE = replace(Smoothing.named("off"), map_time_s=0.1)
SURE = np.array([0.8, 0.1, 0.1], np.float32)


@pytest.fixture(scope="module")
def localizer(
    tiny_onnx: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Localizer]:
    model = tiny_onnx(tmp_path_factory.mktemp("engine") / "tiny.onnx", min_score=0.5)
    with Localizer(model, threads=1) as opened:
        yield opened


def picture(seed: int = 0, right: int = 0) -> NDArray[np.uint8]:
    """[H, W, 3] of blocks; `right` moves the camera's view by whole pixels."""
    blocks = np.random.default_rng(seed).integers(0, 255, (14, 60), dtype=np.uint8)
    whole = np.kron(blocks, np.ones((10, 10), np.uint8))  # [140, 600]
    return np.repeat(whole[:, 160 - right : 440 - right, None], 3, axis=2)


def blob(x: float, y: float = 14, radius: float = 5) -> NDArray[np.float32]:
    """[28, 28] with one round object."""
    rows, columns = np.mgrid[:28, :28] + 0.5
    squared = (rows - y) ** 2 + (columns - x) ** 2
    return np.exp(-squared / (2 * radius**2)).astype(np.float32)


def at(index: int, pixels: NDArray[np.uint8] | None = None) -> VideoFrame:
    return VideoFrame(index, index / FPS, picture() if pixels is None else pixels)


def found_in(
    localizer: Localizer, foreground: NDArray[np.float32], scores: NDArray[np.float32] = SURE
) -> Localization:
    return localizer.localization_of(foreground, scores, SIZE)


def middle(box: Box) -> float:
    return (box[0] + box[2]) / 2


def test_off_gives_the_very_same_results(localizer: Localizer) -> None:
    steadier = Steadier(localizer, Smoothing.named("off"))
    first, second = (found_in(localizer, blob(x)) for x in (10, 12))
    assert steadier.steady(at(0), first) == (first, None)
    result, stability = steadier.steady(at(1), second)
    assert result is second
    assert stability is not None
    assert stability.jitter_px == pytest.approx(20, abs=5)  # two cells of ten pixels


def test_the_first_result_is_the_one_that_came_in(localizer: Localizer) -> None:
    seen = found_in(localizer, blob(10))
    result, stability = Steadier(localizer).steady(at(0), seen)
    assert stability is None
    assert (result.box, result.label, result.score) == (seen.box, seen.label, seen.score)
    assert (result.found, result.timing) == (True, seen.timing)
    np.testing.assert_array_equal(result.map, seen.map)
    np.testing.assert_array_equal(result.mask(), seen.mask())


def test_what_does_not_change_is_left_alone(localizer: Localizer) -> None:
    seen = found_in(localizer, blob(10))
    for smoothing in (Smoothing(), Smoothing.named("strong"), Smoothing(min_cutoff_hz=1)):
        steadier = Steadier(localizer, smoothing)
        for index in range(20):
            result, stability = steadier.steady(at(index), seen)
            assert result.box == pytest.approx(seen.box, abs=1e-6)
            if index:
                assert stability is not None
                assert stability.iou == pytest.approx(1)


@settings(max_examples=30)
@given(count=st.integers(1, 40), time_s=st.floats(0.01, 0.5))
def test_the_average_does_not_depend_on_the_frame_rate(
    localizer: Localizer, count: int, time_s: float
) -> None:
    before, after = found_in(localizer, blob(8)), found_in(localizer, blob(20))
    steadier = Steadier(localizer, replace(MAP_ALONE, map_time_s=time_s))
    steadier.steady(VideoFrame(0, 0.0, picture()), before)
    for index in range(1, count + 1):
        frame = VideoFrame(index, 0.3 * index / count, picture())
        result, _ = steadier.steady(frame, after)
    left = np.exp(-0.3 / time_s)
    np.testing.assert_allclose(result.map, left * before.map + (1 - left) * after.map, atol=1e-4)


def test_box_and_mask_are_those_of_the_averaged_map(localizer: Localizer) -> None:
    steadier = Steadier(localizer, MAP_ALONE)
    for index, x in enumerate((8, 10, 13)):
        result, _ = steadier.steady(at(index), found_in(localizer, blob(x)))
    again = localizer.localization_of(result.map, result.scores, SIZE)
    assert result.box == again.box
    rows, columns = np.nonzero(result.mask())
    edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert edges == pytest.approx(result.box, abs=5)  # half an input pixel, 8.75 wide


def test_a_flickering_box_is_steadied(localizer: Localizer) -> None:
    random = np.random.default_rng(0)
    noisy = [blob(12) + random.normal(0, 0.08, (28, 28)).astype(np.float32) for _ in range(60)]
    jitter = {}
    for name in ("off", "light", "strong"):
        steadier = Steadier(localizer, Smoothing.named(name))
        found = (steadier.steady(at(i), found_in(localizer, one)) for i, one in enumerate(noisy))
        jitter[name] = np.mean([each.jitter_px for _, each in found if each is not None])
    # Uncorrelated noise falls by √((2 - w) / w): 1.9 and 2.7 times here, and less where a box
    # cannot move by less than a pixel of the input.
    assert jitter["off"] > 6
    assert jitter["light"] < jitter["off"] / 1.7
    assert jitter["strong"] < jitter["off"] / 2.4


def forget(kind: str, index: int) -> VideoFrame:
    """A frame after which nothing before it counts."""
    if kind == "cut":
        return at(index, picture(seed=9))
    if kind == "gap":
        return replace(at(index), gap_s=0.2)
    if kind == "size":
        return at(index, picture().repeat(2, axis=0))  # the same scene
    return VideoFrame(index, {"back": 0.1, "far ahead": 60.0}[kind], picture())


@pytest.mark.parametrize("kind", ["cut", "gap", "size", "back", "far ahead"])
def test_it_starts_anew_at_once(localizer: Localizer, kind: str) -> None:
    options = {"min_cutoff_hz": 0.2, "map_time_s": 2.0, "class_time_s": 2.0}
    steadier = Steadier(localizer, Smoothing(**options))
    for index in range(10):
        steadier.steady(at(index), found_in(localizer, blob(6)))
    frame = forget(kind, 10)
    other = np.array([0.1, 0.8, 0.1], np.float32)
    seen = localizer.localization_of(blob(20), other, frame.pixels.shape[:2])
    result, stability = steadier.steady(frame, seen)
    assert (result.box, result.label) == (seen.box, 1)
    assert stability is None
    fresh = Steadier(localizer, steadier.smoothing)
    fresh.steady(frame, seen)
    later = replace(frame, time_s=frame.time_s + 0.04, gap_s=0.0)
    moved = localizer.localization_of(blob(18), other, frame.pixels.shape[:2])
    np.testing.assert_array_equal(
        steadier.steady(later, moved)[0].map, fresh.steady(later, moved)[0].map
    )


def test_reset_forgets(localizer: Localizer) -> None:
    steadier = Steadier(localizer)
    for index in range(5):
        steadier.steady(at(index), found_in(localizer, blob(6)))
    steadier.reset()
    seen = found_in(localizer, blob(20))
    result, stability = steadier.steady(at(5), seen)
    assert (result.box, stability) == (seen.box, None)


def test_without_cuts_a_new_scene_fades_in(localizer: Localizer) -> None:
    steadier = Steadier(localizer, Smoothing(cut=0.0, map_time_s=1.0, motion=False))
    steadier.steady(at(0), found_in(localizer, blob(6)))
    seen = found_in(localizer, blob(20))
    result, _ = steadier.steady(at(1, picture(seed=9)), seen)
    assert middle(result.box) < 100 < middle(seen.box)


def pan(localizer: Localizer, smoothing: Smoothing, object_moves: bool) -> list[float]:
    """The camera moves by one cell a frame: how far the box is from the object, in pixels."""
    steadier = Steadier(localizer, smoothing)
    errors = []
    for index in range(10):
        seen = found_in(localizer, blob(8 + index * object_moves))
        result, _ = steadier.steady(at(index, picture(right=10 * index)), seen)
        errors.append(abs(middle(result.box) - middle(seen.box)))
    return errors


def test_the_average_moves_with_the_camera(localizer: Localizer) -> None:
    assert max(pan(localizer, replace(MAP_ALONE, map_time_s=0.3), object_moves=True)) > 20
    moving = replace(MAP_ALONE, map_time_s=0.3, motion=True)
    assert max(pan(localizer, moving, object_moves=True)) < 5
    boxed = replace(moving, min_cutoff_hz=0.5)
    assert max(pan(localizer, boxed, object_moves=True)) < 6


def test_a_camera_that_follows_the_object_moves_nothing(localizer: Localizer) -> None:
    moving = replace(MAP_ALONE, map_time_s=0.3, motion=True)
    assert max(pan(localizer, moving, object_moves=False)) == 0


def test_cells_that_come_into_view_take_the_new_map(localizer: Localizer) -> None:
    steadier = Steadier(localizer, replace(MAP_ALONE, map_time_s=5.0, motion=True))
    steadier.steady(at(0), found_in(localizer, blob(10)))
    seen = found_in(localizer, blob(14))
    result, _ = steadier.steady(at(1, picture(right=40)), seen)  # by four cells
    np.testing.assert_array_equal(result.map[:, :3], seen.map[:, :3])
    assert not np.array_equal(result.map[:, 8:], seen.map[:, 8:])


def scores_of(label: int, lead: float) -> NDArray[np.float32]:
    scores = np.full(3, (1 - lead) / 3, np.float32)
    scores[label] += np.float32(lead)
    return scores


def test_the_label_changes_once_and_not_with_every_frame(localizer: Localizer) -> None:
    steadier = Steadier(localizer, Smoothing(class_time_s=0.2, class_margin=0.1))

    def label(index: int, scores: NDArray[np.float32]) -> int:
        return steadier.steady(at(index), found_in(localizer, blob(10), scores))[0].label

    flicker = [label(i, scores_of(i % 2, 0.3)) for i in range(20)]
    assert flicker == [0] * 20
    change = [label(20 + i, scores_of(1, 0.6)) for i in range(10)]
    assert change == sorted(change)
    assert change[-1] == 1


def test_found_comes_at_once_and_goes_late(localizer: Localizer) -> None:
    options = {"class_time_s": 0.0, "release": 0.6, "hold_s": 0.1}
    steadier = Steadier(localizer, replace(Smoothing.named("off"), **options))

    def found(index: int, score: float) -> bool:
        scores = np.array([score, 0, 0], np.float32)
        return steadier.steady(at(index), found_in(localizer, blob(10), scores))[0].found

    # min_score is 0.5, so what was found goes below 0.3, after more than 0.1 s: three frames of 25.
    assert [found(i, 0.4) for i in range(3)] == [False] * 3
    assert found(3, 0.55)
    assert [found(4 + i, 0.35) for i in range(20)] == [True] * 20
    assert [found(24 + i, 0.2) for i in range(4)] == [True, True, False, False]
    assert [found(28 + i, 0.4) for i in range(2)] == [False] * 2


def test_what_was_found_with_a_lower_min_score_is_not_held(localizer: Localizer) -> None:
    with localizer.clone(min_score=0.9) as stricter:
        steadier = Steadier(stricter)
        on_its_way = found_in(localizer, blob(10))
        assert on_its_way.found
        assert not steadier.steady(at(0), on_its_way)[0].found
        assert not steadier.steady(at(1), found_in(stricter, blob(10)))[0].found


@pytest.mark.parametrize("name", ["light", "strong"])
@pytest.mark.parametrize("min_score", [0.0, 0.5])
def test_where_maps_are_empty_a_box_goes_after_the_hold(
    tiny_onnx: Callable[..., Path], tmp_path: Path, min_score: float, name: str
) -> None:
    smoothing = Smoothing.named(name)
    with Localizer(tiny_onnx(tmp_path / "tiny.onnx", min_score=min_score), threads=1) as engine:
        steadier = Steadier(engine, smoothing)
        for index in range(5):
            steadier.steady(at(index), found_in(engine, blob(8)))
        flat = found_in(engine, np.zeros((28, 28), np.float32))  # its score is as high as before
        found = [steadier.steady(at(5 + index), flat)[0].found for index in range(50)]
    held = round(smoothing.hold_s * FPS)
    assert found[held - 1 : held + 2] in ([True, True, False], [True, False, False])  # to a bit
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("name", ["light", "strong"])
@pytest.mark.parametrize("score", [0.0, 0.1, 0.29])
def test_where_scores_are_low_a_box_goes_when_the_page_says(
    localizer: Localizer, score: float, name: str
) -> None:
    smoothing = Smoothing.named(name)
    steadier = Steadier(localizer, smoothing)
    steadier.steady(at(0), found_in(localizer, blob(8)))
    low = np.array([score, 0, 0], np.float32)
    found = [
        steadier.steady(at(1 + index), found_in(localizer, blob(8), low))[0].found
        for index in range(200)
    ]
    # The average goes from 0.8 to the score, and passes 0.6 of min_score on its way.
    falls_s = smoothing.class_time_s * np.log((0.8 - score) / (0.6 * 0.5 - score))
    assert abs(found.index(False) / FPS - falls_s - smoothing.hold_s) <= 2 / FPS
    assert found == sorted(found, reverse=True)


def test_an_empty_map_among_others_takes_nothing_away(localizer: Localizer) -> None:
    steadier = Steadier(localizer, Smoothing.named("light"))
    flat = np.zeros((28, 28), np.float32)
    found = [
        steadier.steady(at(i), found_in(localizer, flat if i % 4 else blob(8)))[0].found
        for i in range(40)
    ]
    assert all(found)


def test_what_appears_is_not_blended_with_what_was_not_there(localizer: Localizer) -> None:
    steadier = Steadier(localizer, replace(MAP_ALONE, map_time_s=2.0))
    nothing = np.array([0.4, 0.3, 0.3], np.float32)
    for index in range(5):
        result, stability = steadier.steady(at(index), found_in(localizer, blob(4), nothing))
        assert (result.found, result.box, stability) == (False, (0, 0, 280, 140), None)
    seen = found_in(localizer, blob(20))
    assert steadier.steady(at(5), seen)[0].box == seen.box


def test_a_box_that_was_away_is_not_filtered_with_the_one_before(localizer: Localizer) -> None:
    steadier = Steadier(localizer, replace(Smoothing.named("off"), min_cutoff_hz=0.1))
    steadier.steady(at(0), found_in(localizer, blob(8)))
    flat = np.zeros((28, 28), np.float32)
    result, _ = steadier.steady(at(1), localizer.localization_of(flat, SURE, SIZE))
    assert not result.found
    seen = found_in(localizer, blob(12))
    assert steadier.steady(at(2), seen)[0].box == seen.box


def test_frames_of_one_time_are_averaged_too(localizer: Localizer) -> None:
    steadier = Steadier(localizer, MAP_ALONE)
    for x in (8, 20):
        result, _ = steadier.steady(at(0), found_in(localizer, blob(x)))
    assert 0 < np.abs(result.map - blob(8)).max() < 0.1


def test_all_boxes_come_from_the_averaged_map(
    tiny_onnx: Callable[..., Path], tmp_path: Path
) -> None:
    two = blob(6, radius=3) + blob(21, radius=2.5)
    with Localizer(tiny_onnx(tmp_path / "tiny.onnx"), threads=1, max_boxes=4) as several:
        for cutoff_hz in (0.0, 1.0):
            steadier = Steadier(several, Smoothing(min_cutoff_hz=cutoff_hz))
            for index in range(3):
                result, _ = steadier.steady(at(index), several.localization_of(two, SURE, SIZE))
            assert len(result.boxes) == 2
            assert result.boxes[0] == result.box
            assert middle(result.boxes[1]) == pytest.approx(210, abs=10)


def test_a_result_without_a_map_cannot_be_smoothed(
    tiny_onnx: Callable[..., Path], tmp_path: Path
) -> None:
    with Localizer(tiny_onnx(tmp_path / "tiny.onnx"), threads=1, boxes_only=True) as few:
        seen = few.run(picture())
        with pytest.raises(InputError, match="This result carries no map") as caught:
            Steadier(few).steady(at(0), seen)
        assert caught.value.hint is not None
        assert Steadier(few, Smoothing.named("off")).steady(at(0), seen)[0] is seen
