"""Frames that already lie on the (pretended) GPU."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bas_edge import Localizer
from bas_edge.device_frames import gpu_frame
from bas_edge.errors import InputError
from bas_edge.ops.cuda import DeviceFrame
from bas_edge.ops.yuv import nv12_to_rgb


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


class OnGpu:
    """What torch and CuPy show of an array on a GPU; its memory is the host's, as all is here."""

    def __init__(self, array: np.ndarray, stream: int | None = None, **changes: Any) -> None:
        self.array = array
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, False),
            "strides": None if array.flags.c_contiguous else array.strides,
            "stream": stream,
            "version": 3,
            **changes,
        }


class ByDlpack:
    """Only DLPack, as JAX has it."""

    def __init__(self, array: np.ndarray, device: int = 2) -> None:
        self.array = array
        self.device = device
        self.asked: list[int] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0

    def __dlpack__(self, *, stream: int) -> Any:
        self.asked.append(stream)
        return self.array.__dlpack__()


@pytest.fixture
def pair(
    gpu: Any, tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> Iterator[tuple[Localizer, Localizer]]:
    engine = gpu.bundle(
        tiny_onnx(tmp_path / "m.onnx", top_k=2, resize="letterbox"), tmp_path / "m.engine"
    )
    with Localizer(engine.path) as on_gpu, Localizer(engine.path, backend="onnxruntime") as on_cpu:
        yield on_gpu, on_cpu


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("wrap", [OnGpu, ByDlpack])
def test_arrays(pair: tuple[Localizer, Localizer], wrap: Any, color: Any) -> None:
    for turn in range(6):  # another address each time
        array = noise(40, 60, 3, seed=turn)
        expected = pair[1].run(array, color=color)
        got = pair[0].run(wrap(array), color=color)
        assert got.box == expected.box
        np.testing.assert_array_equal(got.map, expected.map)


@pytest.mark.parametrize("wrap", [OnGpu, ByDlpack])
def test_rows_may_be_padded(pair: tuple[Localizer, Localizer], wrap: Any) -> None:
    array = noise(40, 64, 3)[:, 1:61]
    np.testing.assert_array_equal(pair[0].run(wrap(array)).map, pair[1].run(array).map)


def test_batches(pair: tuple[Localizer, Localizer]) -> None:
    arrays = [noise(40 + i, 60, 3, seed=i) for i in range(6)]
    for got, array in zip(pair[0].run_batch([OnGpu(a) for a in arrays]), arrays, strict=True):
        np.testing.assert_array_equal(got.map, pair[1].run(array).map)
    with pytest.raises(InputError, match="cannot be in one batch"):
        pair[0].run_batch([arrays[0], OnGpu(arrays[1])])


def test_nv12(pair: tuple[Localizer, Localizer]) -> None:
    luma, chroma = noise(41, 64), noise(21, 32, 2, seed=1)
    frame = DeviceFrame(
        height=41,
        width=61,
        pixels=luma.ctypes.data,
        pitch_bytes=64,
        chroma=chroma.ctypes.data,
        chroma_pitch_bytes=64,
        matrix="bt601",
    )
    rgb = nv12_to_rgb(luma[:, :61], chroma[:, :31], matrix="bt601")
    expected = pair[1].run(rgb)
    for color in ("rgb", "bgr"):  # NV12 is neither, so this changes nothing
        np.testing.assert_array_equal(pair[0].run(frame, color=color).map, expected.map)


def test_what_its_maker_still_has_to_do_is_waited_for(
    gpu: Any, pair: tuple[Localizer, Localizer]
) -> None:
    array, content = np.zeros((40, 60, 3), np.uint8), noise(40, 60, 3)
    expected = pair[1].run(content)
    device = pair[0]._open_runner()._plan.device
    maker = device.stream()

    def write() -> None:
        array[:] = content

    with device.current():
        gpu.cuda.enqueue(maker.handle, write)
    np.testing.assert_array_equal(pair[0].run(OnGpu(array, maker.handle)).map, expected.map)
    maker.free()


def test_dlpack_asks_its_maker_to_order_its_work_before_the_default_stream() -> None:
    frame = ByDlpack(noise(4, 5, 3))
    found = gpu_frame(frame)
    assert found is not None
    assert frame.asked == [1]
    assert found.stream == 1
    assert found.view == DeviceFrame(
        height=4, width=5, pixels=frame.array.ctypes.data, pitch_bytes=15
    )


def test_dlpack_is_asked_before_an_array_interface_that_names_no_stream() -> None:
    """As torch has both: its array interface is older than streams."""
    frame = ByDlpack(noise(4, 5, 3))
    frame.__cuda_array_interface__ = {**OnGpu(frame.array).__cuda_array_interface__, "version": 2}
    found = gpu_frame(frame)
    assert found is not None
    assert frame.asked == [1]
    frame.__cuda_array_interface__["stream"] = 42
    found = gpu_frame(frame)
    assert found is not None
    assert found.stream == 42


def test_an_old_array_interface_waits_for_the_default_stream() -> None:
    found = gpu_frame(OnGpu(noise(4, 5, 3), version=2))
    assert found is not None
    assert found.stream == 1


def test_a_frame_on_another_gpu_is_refused(gpu: Any, pair: tuple[Localizer, Localizer]) -> None:
    array = noise(40, 60, 3)
    gpu.cuda.elsewhere[array.ctypes.data] = 1
    with pytest.raises(InputError, match="lies on GPU 1, but this engine runs on GPU 0") as caught:
        pair[0].run(OnGpu(array))
    assert "cuda:0" in str(caught.value.hint)


def test_a_submitted_frame_lives_until_it_was_read(pair: tuple[Localizer, Localizer]) -> None:
    array = noise(40, 60, 3)
    expected = pair[1].run(array)
    frame = OnGpu(array)
    alive = weakref.ref(frame)
    ticket = pair[0].submit(frame)
    del frame
    assert alive() is not None
    np.testing.assert_array_equal(ticket.result().map, expected.map)
    assert alive() is None


def test_chroma_on_another_gpu_is_refused(gpu: Any, pair: tuple[Localizer, Localizer]) -> None:
    luma, chroma = noise(40, 60), noise(20, 30, 2)
    gpu.cuda.elsewhere[chroma.ctypes.data] = 1
    frame = DeviceFrame(
        height=40,
        width=60,
        pixels=luma.ctypes.data,
        pitch_bytes=60,
        chroma=chroma.ctypes.data,
        chroma_pitch_bytes=60,
    )
    with pytest.raises(InputError, match="lies on GPU 1"):
        pair[0].run(frame)


def test_all_frames_are_checked_before_any_is_run(
    gpu: Any, pair: tuple[Localizer, Localizer]
) -> None:
    frames = [OnGpu(noise(40, 60, 3)) for _ in range(9)]
    gpu.cuda.elsewhere[frames[8].array.ctypes.data] = 1
    with pytest.raises(InputError, match="lies on GPU 1"):
        pair[0].run_batch(frames)
    assert gpu.runs == []


def test_the_stride_of_a_single_row_is_arbitrary(pair: tuple[Localizer, Localizer]) -> None:
    array = noise(1, 60, 3)
    got = pair[0].run(OnGpu(array, strides=(7, 3, 1)))
    np.testing.assert_array_equal(got.map, pair[1].run(array).map)


def test_what_lies_on_the_host_is_not_taken() -> None:
    assert gpu_frame(noise(4, 5, 3)) is None
    assert gpu_frame(ByDlpack(noise(4, 5, 3), device=1)) is None
    assert gpu_frame(None) is None


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (OnGpu(np.zeros((4, 5, 3), np.float32)), "dtype <f4; it must be uint8"),
        (OnGpu(np.zeros((4, 5), np.uint8)), r"shape \[4, 5\]; it must be"),
        (OnGpu(np.zeros((3, 4, 5), np.uint8)), r"shape \[3, 4, 5\]; it must be"),
        (OnGpu(np.zeros((0, 5, 3), np.uint8)), r"shape \[0, 5, 3\]; it must be"),
        (OnGpu(np.zeros((3, 4, 5), np.uint8).transpose(1, 2, 0)), "must be adjacent"),
        (OnGpu(np.zeros((4, 5, 3), np.uint8)[::-1]), "must be adjacent"),
        (ByDlpack(np.zeros((4, 5, 3), np.float32)), "a type of 32 bits, code 2"),
        (ByDlpack(np.zeros((4, 5, 3), np.int8)), "a type of 8 bits, code 0"),
    ],
)
def test_other_layouts_are_refused(frame: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        gpu_frame(frame)


def test_a_cpu_engine_refuses_them(pair: tuple[Localizer, Localizer]) -> None:
    with pytest.raises(InputError, match="lies on a GPU, but this engine runs on the CPU"):
        pair[1].run(OnGpu(noise(4, 5, 3)))
