from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.ops import cuda, reference, resize_frame
from bas_edge.ops.yuv import YuvMatrix, nv12_to_rgb

SIDES = st.integers(1, 70)
SIZES = st.tuples(SIDES, SIDES)


def random_frame(size: tuple[int, int], seed: int = 0, channels: int = 3) -> NDArray[np.uint8]:
    """Noise with large areas of 0 and 255, where clipping and rounding show."""
    noise = np.random.default_rng(seed).integers(-200, 456, (*size, channels))
    return np.clip(noise, 0, 255).astype(np.uint8)


@settings(max_examples=80, deadline=None)
@given(source=SIZES, size=SIZES, seed=st.integers(0, 9), pitch_bytes=st.integers(0, 9))
@example(source=(1, 1), size=(1, 1), seed=0, pitch_bytes=0)
@example(source=(1, 1), size=(9, 5), seed=0, pitch_bytes=0)
@example(source=(70, 70), size=(1, 1), seed=0, pitch_bytes=0)
@example(source=(7, 9), size=(7, 9), seed=0, pitch_bytes=0)  # identity
def test_equal_to_reference(
    cuda_ops: Any, source: tuple[int, int], size: tuple[int, int], seed: int, pitch_bytes: int
) -> None:
    frame = random_frame(source, seed)
    got = cuda_ops.resize_frame(frame, size, pitch_bytes=pitch_bytes)
    np.testing.assert_array_equal(got, reference.resize_frame(frame, size))


@pytest.mark.parametrize(
    ("source", "size"),
    [
        ((720, 1280), (224, 224)),
        ((1080, 607), (224, 224)),
        ((33, 4096), (31, 224)),
        ((4096, 35), (256, 256)),
        ((5, 32768), (3, 1)),
        ((32768, 3), (2, 3)),  # far more rows than a chunk
        ((100, 60), (199, 301)),
    ],
)
def test_equal_to_the_cpu_at_the_sizes_of_cameras(
    cuda_ops: Any, source: tuple[int, int], size: tuple[int, int]
) -> None:
    frame = random_frame(source)
    np.testing.assert_array_equal(cuda_ops.resize_frame(frame, size), resize_frame(frame, size))


@settings(max_examples=40, deadline=None)
@given(
    source=SIZES,
    size=SIZES,
    matrix=st.sampled_from(["bt601", "bt709", "bt601-full", "bt709-full"]),
    pitch_bytes=st.integers(0, 9),
)
@example(source=(1, 1), size=(1, 1), matrix="bt709", pitch_bytes=0)
@example(source=(7, 9), size=(7, 9), matrix="bt601", pitch_bytes=3)
def test_nv12_is_resized_as_the_rgb_that_it_stands_for(
    cuda_ops: Any,
    source: tuple[int, int],
    size: tuple[int, int],
    matrix: YuvMatrix,
    pitch_bytes: int,
) -> None:
    height, width = source
    luma = random_frame(source, 1, 1)[:, :, 0]
    chroma = random_frame(((height + 1) // 2, (width + 1) // 2), 2, 2)
    got = cuda_ops.resize_frame(luma, size, chroma=chroma, matrix=matrix, pitch_bytes=pitch_bytes)
    expected = reference.resize_frame(nv12_to_rgb(luma, chroma, matrix=matrix), size)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("source", "size"), [((4, 9001), (3, 40)), ((720, 1280), (224, 224)), ((3, 997), (2, 33))]
)
def test_nv12_of_all_widths(cuda_ops: Any, source: tuple[int, int], size: tuple[int, int]) -> None:
    """Wide rows are read where they lie, others are copied on chip first."""
    height, width = source
    luma = random_frame(source, 1, 1)[:, :, 0]
    chroma = random_frame(((height + 1) // 2, (width + 1) // 2), 2, 2)
    got = cuda_ops.resize_frame(luma, size, chroma=chroma, pitch_bytes=1)
    np.testing.assert_array_equal(got, resize_frame(nv12_to_rgb(luma, chroma), size))


@settings(max_examples=40, deadline=None)
@given(source=SIZES, size=SIZES, swap=st.booleans(), data=st.data())
def test_one_rectangle_into_another(
    cuda_ops: Any, source: tuple[int, int], size: tuple[int, int], swap: bool, data: st.DataObject
) -> None:
    def rectangle(outer: tuple[int, int]) -> tuple[int, int, int, int]:
        left, top = data.draw(st.integers(0, outer[1] - 1)), data.draw(st.integers(0, outer[0] - 1))
        right = data.draw(st.integers(left + 1, outer[1]))
        return left, top, right, data.draw(st.integers(top + 1, outer[0]))

    shown, target = rectangle(source), rectangle(size)
    frame = random_frame(source)
    got = cuda_ops.resize_frame(
        frame, size, shown=shown, target=target, padding=128, swap_channels=swap
    )
    expected = np.full((*size, 3), 128, np.uint8)
    inner = frame[shown[1] : shown[3], shown[0] : shown[2]]
    resized = reference.resize_frame(inner, (target[3] - target[1], target[2] - target[0]))
    expected[target[1] : target[3], target[0] : target[2]] = resized[..., ::-1] if swap else resized
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("option", "rectangle"),
    [("shown", (0, 0, 5, 4)), ("shown", (2, 0, 2, 4)), ("target", (-1, 0, 2, 2))],
)
def test_a_rectangle_that_is_not_inside_is_refused(
    cuda_ops: Any, option: str, rectangle: tuple[int, int, int, int]
) -> None:
    whole = {"shown": (0, 0, 4, 4), "target": (0, 0, 8, 8), option: rectangle}
    with pytest.raises(InputError, match=f"{option} is .*must be a rectangle inside"):
        cuda.ResizeFrame(frame_size=(4, 4), size=(8, 8), **whole)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (cuda.DeviceFrame(height=4, width=5, pixels=1, pitch_bytes=15), "The frame is 4 × 5"),
        (cuda.DeviceFrame(height=4, width=4, pixels=1, pitch_bytes=11), "one row has 12 bytes"),
        (
            cuda.DeviceFrame(
                height=4, width=4, pixels=1, pitch_bytes=4, chroma=1, chroma_pitch_bytes=3
            ),
            "chroma_pitch_bytes is 3, but one row has 4 bytes",
        ),
        (
            cuda.DeviceFrame(
                height=4,
                width=4,
                pixels=1,
                pitch_bytes=12,
                matrix="bt2020",
            ),
            "Unknown colour matrix 'bt2020'",
        ),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(
    cuda_ops: Any, frame: cuda.DeviceFrame, says: str
) -> None:
    op = cuda.ResizeFrame(frame_size=(4, 4), shown=(0, 0, 4, 4), size=(2, 2), target=(0, 0, 2, 2))
    with pytest.raises(InputError, match=says):
        op.run(frame, input_address=1, stream=0)
