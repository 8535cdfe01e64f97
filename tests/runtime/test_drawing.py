"""Drawing with slices is, pixel by pixel, what Pillow draws on the whole frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bas_edge.drawing import draw_boxes

INK = (90, 255, 121)
Box = tuple[float, float, float, float]


def pillow_draw(
    frame: NDArray[np.uint8], boxes: list[Box], text: str, ink: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """The definition: the whole frame through Pillow."""
    height, width = frame.shape[:2]
    line = max(2, round(min(height, width) / 200))
    image = Image.fromarray(frame)
    canvas = ImageDraw.Draw(image)
    for box in boxes:
        x0, y0, x1, y1 = (round(edge) for edge in box)
        canvas.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=ink, width=line)
    font = ImageFont.load_default(size=max(10, round(min(height, width) / 28)))
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    x = min(max(0, round(boxes[0][0])), max(0, round(width - (right - left) - 2 * line)))
    y = round(boxes[0][1] - (bottom - top) - 2 * line)
    y = y if y >= 0 else round(boxes[0][1])
    plate = (x, y, x + right - left + 2 * line, y + bottom - top + 2 * line)
    canvas.rectangle(plate, fill=ink)
    canvas.text((x + line - left, y + line - top), text, fill=(0, 0, 0), font=font)
    return np.array(image)


@st.composite
def frames_and_boxes(draw: st.DrawFn) -> tuple[tuple[int, int], list[Box]]:
    height, width = draw(st.tuples(st.integers(1, 90), st.integers(1, 130)))
    edges_x, edges_y = st.floats(0, width), st.floats(0, height)
    boxes = []
    for _ in range(draw(st.integers(1, 2))):
        x0, x1 = sorted((draw(edges_x), draw(edges_x)))
        y0, y1 = sorted((draw(edges_y), draw(edges_y)))
        boxes.append((x0, y0, x1, y1))
    return (height, width), boxes


@given(case=frames_and_boxes(), text=st.sampled_from(["wren 0.75", "Ag,j|Å 1.00", "мышь 鳥 0.05"]))
@example(case=((60, 80), [(0.0, 0.0, 80.0, 60.0)]), text="wren 0.75")  # the whole frame
@example(case=((60, 80), [(79.0, 59.0, 80.0, 60.0)]), text="wren 0.75")  # thinner than a line
@example(case=((60, 80), [(20.0, 20.0, 23.0, 22.0)]), text="wren 0.75")  # thinner than two
@example(case=((1, 1), [(0.0, 0.0, 1.0, 1.0)]), text="wren 0.75")
@example(case=((60, 80), [(10.5, 30.5, 50.5, 40.5)]), text="wren 0.75")  # halves round to even
def test_it_is_what_pillow_draws(case: tuple[tuple[int, int], list[Box]], text: str) -> None:
    size, boxes = case
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    before = frame.copy()
    np.testing.assert_array_equal(
        draw_boxes(frame, boxes, text, INK), pillow_draw(frame, boxes, text, INK)
    )
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize("size", [(720, 1280), (1080, 1920)])
def test_at_the_sizes_of_cameras(size: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    boxes = [(100.4, 200.0, 700.5, 600.2), (900.0, 10.0, 1270.0, 70.0)]
    for score in ("0.51", "0.52", "0.51"):  # the third plate is a kept one
        text = f"Red winged Blackbird {score}"
        np.testing.assert_array_equal(
            draw_boxes(frame, boxes, text, INK), pillow_draw(frame, boxes, text, INK)
        )


def test_a_frame_that_is_not_contiguous() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)[:, ::-1, ::-1]
    drawn = draw_boxes(frame, [(10.0, 30.0, 50.0, 50.0)], "wren", INK)
    assert drawn.flags.c_contiguous
    whole = np.ascontiguousarray(frame)
    np.testing.assert_array_equal(
        drawn, pillow_draw(whole, [(10.0, 30.0, 50.0, 50.0)], "wren", INK)
    )
