from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from bas_edge import Localization, Timing
from bas_edge.engine.manifest import InputPolicy, ResizePolicy, ThresholdPolicy
from bas_edge.errors import InputError
from bas_edge.framing import InputMask, place
from bas_edge.ops import maps_to_boxes
from bas_edge.results import ColorOrder

SIZE = (60, 80)


def blob(rows: slice = slice(2, 6), columns: slice = slice(3, 6)) -> np.ndarray:
    foreground = np.full((8, 8), 0.1, np.float32)
    foreground[rows, columns] = 0.9
    return foreground


def localization(
    resize: ResizePolicy = "stretch", foreground: np.ndarray | None = None
) -> Localization:
    """What a Localizer makes of a map, on a 60×80 frame and a 32×32 input."""
    foreground = blob() if foreground is None else foreground
    policy = ThresholdPolicy(rule="fixed", value=0.5)
    placement = place(SIZE, InputPolicy(height=32, width=32, resize=resize))
    boxes = maps_to_boxes(foreground[None], (32, 32), policy.value)
    box = placement.box_to_frame(tuple(boxes.boxes[0, 0].tolist()))
    assert box is not None
    return Localization(
        box=box,
        label=1,
        class_name="wren",
        score=0.75,
        found=True,
        map=foreground,
        timing=Timing(1.0, 2.0, 0.5),
        frame_size=SIZE,
        scores=np.array([0.25, 0.75], np.float32),
        mask_source=InputMask(placement, policy),
    )


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "centre_crop"])
def test_the_mask_fits_the_box(resize: ResizePolicy) -> None:
    result = localization(resize)
    mask = result.mask()
    assert (mask.shape, mask.dtype) == (SIZE, np.bool_)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    got = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert np.abs(np.subtract(got, result.box)).max() <= 0.5  # rounding to frame pixels


def test_the_mask_is_the_object_of_the_box_only() -> None:
    foreground = blob()
    foreground[0, 0] = 0.9  # another, smaller component
    mask = localization(foreground=foreground).mask()
    assert mask[30, 45]
    assert not mask[0, 0]


def test_nothing_found_has_an_empty_mask_and_draws_nothing() -> None:
    result = replace(localization(), found=False)
    assert not result.mask().any()
    frame = np.full((*SIZE, 3), 9, np.uint8)
    drawn = result.draw(frame)
    assert drawn is not frame
    np.testing.assert_array_equal(drawn, frame)


def test_a_hand_made_result_has_no_mask() -> None:
    with pytest.raises(InputError, match="carries no map"):
        replace(localization(), mask_source=None).mask()


def test_draw_leaves_the_frame_alone_and_marks_the_box() -> None:
    result = localization()
    frame = np.zeros((*SIZE, 3), np.uint8)
    drawn = result.draw(frame)
    assert not frame.any()
    assert (drawn.shape, drawn.dtype) == (frame.shape, np.uint8)
    x0, y0, x1, y1 = (round(edge) for edge in result.box)
    ink = drawn[y1 - 1, x0]
    assert ink.any()
    assert (drawn[y0:y1, x0] == ink).all(), "left edge"
    assert (drawn[y0:y1, x1 - 1] == ink).all(), "right edge"
    assert (drawn[y1 - 1, x0:x1] == ink).all(), "lower edge"
    assert not drawn[y1:].any(), "the box is half-open"
    assert not drawn[:, x1 + 60 :].any()


def test_draw_keeps_the_channel_order() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    rgb = localization().draw(frame, color="rgb")
    bgr = localization().draw(frame[:, :, ::-1], color="bgr")
    np.testing.assert_array_equal(rgb, bgr[:, :, ::-1])


def test_the_map_is_drawn_where_it_was_asked_for() -> None:
    frame = np.full((60, 80, 3), 90, np.uint8)
    result = replace(localization(), found=False, box=(0.0, 0.0, 80.0, 60.0))
    np.testing.assert_array_equal(result.draw(frame), frame)
    shaded = result.draw(frame, opacity=1.0)
    y, x = np.unravel_index(result.map.argmax(), result.map.shape)
    high = shaded[60 * int(y) // result.map.shape[0] + 3, 80 * int(x) // result.map.shape[1] + 3]
    assert high[0] > 120 > shaded[0, 0, 0]
    bgr = result.draw(frame, color="bgr", opacity=1.0)
    np.testing.assert_array_equal(bgr[:, :, ::-1], shaded)
    with pytest.raises(InputError, match="opacity is"):
        result.draw(frame, opacity=1.5)


def test_a_result_fits_a_smaller_copy_of_its_frame() -> None:
    result = localization()
    small = result.resized((30, 20))
    assert small.frame_size == (30, 20)
    x0, y0, x1, y1 = result.box
    assert small.box == (x0 / 4, y0 / 2, x1 / 4, y1 / 2)
    assert small.draw(np.zeros((30, 20, 3), np.uint8)).any()


def test_objects_are_the_boxes_that_were_found() -> None:
    result = localization()
    (one,) = result.objects
    assert (one.label, one.class_name, one.box) == (result.label, result.class_name, result.box)
    assert (one.score, one.area, one.text) == (result.score, None, result.best.text)
    two = replace(result, boxes=(result.box, (0.0, 0.0, 5.0, 5.0)))
    assert [each.box for each in two.objects] == list(two.boxes)
    nothing = replace(result, found=False)
    assert nothing.objects == ()
    assert nothing.best == result.best


def test_labels_have_different_colours() -> None:
    frame = np.zeros((*SIZE, 3), np.uint8)
    inks = {
        replace(localization(), label=i).draw(frame).reshape(-1, 3).max(0).tobytes()
        for i in range(20)
    }
    assert len(inks) > 15


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3), (1000, 1500)])
def test_draw_at_extreme_sizes(size: tuple[int, int]) -> None:
    height, width = size
    result = replace(localization(), box=(0.0, 0.0, float(width), float(height)), frame_size=size)
    drawn = result.draw(np.zeros((height, width, 3), np.uint8))
    assert drawn.shape == (height, width, 3)
    assert drawn[-1].any()


def test_a_class_name_in_any_script_is_drawn() -> None:
    frame = np.zeros((*SIZE, 3), np.uint8)
    assert replace(localization(), class_name="мышь 鳥 🦜").draw(frame).any()


def test_every_box_is_drawn() -> None:
    result = localization()
    frame = np.zeros((*SIZE, 3), np.uint8)
    other = (60.0, 50.0, 75.0, 58.0)
    drawn = replace(result, boxes=(result.box, other)).draw(frame)
    assert not result.draw(frame)[57, 62].any()
    assert drawn[57, 62].any()


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((60, 81, 3), np.uint8),
        np.zeros((60, 80), np.uint8),
        np.zeros((60, 80, 3), np.float32),
    ],
)
def test_draw_refuses_another_frame(frame: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"the result is for a uint8 frame of shape \[60, 80, 3\]"):
        localization().draw(frame)


def test_draw_refuses_another_colour_order() -> None:
    wrong: ColorOrder = "gbr"  # a wrong value is the point
    with pytest.raises(InputError, match="Unknown color order 'gbr'"):
        localization().draw(np.zeros((*SIZE, 3), np.uint8), color=wrong)


def test_to_dict_is_plain_json() -> None:
    fields = localization().to_dict()
    assert json.loads(json.dumps(fields)) == fields
    assert fields == {
        "box": list(localization().box),
        "label": 1,
        "class_name": "wren",
        "score": 0.75,
        "found": True,
        "width": 80,
        "height": 60,
        "timing_ms": {"pre": 1.0, "infer": 2.0, "post": 0.5, "total": 3.5},
    }


def test_results_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        localization().label = 2  # assigning is the point
