"""Localizer on a GPU: on a pretended machine everywhere, held against the CPU's own answers."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bas_edge import Localization, Localizer
from bas_edge.engine.manifest import MapsForm, ResizePolicy, ThresholdPolicy
from bas_edge.errors import BackendError, InputError

SIZES = [(40, 60), (33, 31), (70, 20), (32, 32)]


def noise(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def assert_same(got: Localization, expected: Localization) -> None:
    assert got.box == expected.box
    assert got.boxes == expected.boxes
    assert (got.label, got.class_name, got.found) == (
        expected.label,
        expected.class_name,
        expected.found,
    )
    np.testing.assert_array_equal(got.map, expected.map)
    np.testing.assert_array_equal(got.scores, expected.scores)
    assert got.score == expected.score
    assert got.frame_size == expected.frame_size
    np.testing.assert_array_equal(got.mask(), expected.mask())


def slots(localizer: Localizer) -> Any:
    return localizer._open_runner()._slots


@pytest.fixture
def pair(
    gpu: Any, tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> Iterator[tuple[Localizer, Localizer]]:
    """The same engine on the GPU and on the CPU."""
    engine = gpu.bundle(tiny_onnx(tmp_path / "m.onnx", top_k=2), tmp_path / "m.engine")
    with Localizer(engine.path) as on_gpu, Localizer(engine.path, backend="onnxruntime") as on_cpu:
        yield on_gpu, on_cpu


@pytest.mark.parametrize("maps", ["all", "selected", "mean"])
@pytest.mark.parametrize("resize", ["stretch", "letterbox", "centre_crop"])
def test_equal_to_the_cpu(
    gpu: Any,
    tmp_path: Path,
    tiny_onnx: Callable[..., Path],
    maps: MapsForm,
    resize: ResizePolicy,
) -> None:
    model = tiny_onnx(tmp_path / "m.onnx", maps=maps, resize=resize, classes=tuple("abcde"))
    engine = gpu.bundle(model, tmp_path / "m.engine")
    options: dict[str, Any] = {"max_boxes": 2, "threshold": ThresholdPolicy(rule="mean", value=1.2)}
    with (
        Localizer(engine.path, **options) as on_gpu,
        Localizer(engine.path, backend="onnxruntime", **options) as on_cpu,
    ):
        assert on_gpu.backend_name == "tensorrt"
        # Each size four times: step by step, captured, and replayed; on each of two slots.
        for turn in range(8):
            for at, size in enumerate(SIZES):
                frame, color = noise(size, 10 * turn + at), ("rgb", "bgr")[at % 2]
                assert_same(on_gpu.run(frame, color=color), on_cpu.run(frame, color=color))
    assert gpu.cuda.queues.graphs == {}
    assert gpu.contexts == 2  # one for each frame in flight, as all batches are of one


@pytest.mark.parametrize(
    "gpu", [{"version": v} for v in ("8.6.1", "10.3.0", "11.4.0.106")], indirect=True
)
def test_every_generation_of_tensorrt(pair: tuple[Localizer, Localizer]) -> None:
    for turn in range(4):
        assert_same(pair[0].run(noise((40, 60), turn)), pair[1].run(noise((40, 60), turn)))


@pytest.mark.parametrize("gpu", [{"seed": None}, {"seed": 3}, {"seed": 4}], indirect=True)
def test_no_wait_is_missing_whenever_the_gpu_works(pair: tuple[Localizer, Localizer]) -> None:
    frames = [noise(SIZES[i % 4], i) for i in range(12)]
    tickets = [pair[0].submit(frame) for frame in frames]
    for ticket, frame in zip(tickets, frames, strict=True):
        assert_same(ticket.result(), pair[1].run(frame))


@pytest.mark.parametrize("gpu", [{"integrated": True}], indirect=True)
def test_an_integrated_gpu_reads_the_staging_memory_itself(
    gpu: Any, pair: tuple[Localizer, Localizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def upload(*_: int) -> None:
        raise AssertionError("nothing need be uploaded")

    monkeypatch.setattr(gpu.cuda, "cuMemcpyHtoDAsync", upload)
    for turn in range(4):
        assert_same(pair[0].run(noise((40, 60), turn)), pair[1].run(noise((40, 60), turn)))


def test_batches_are_cut_to_the_profile(gpu: Any, pair: tuple[Localizer, Localizer]) -> None:
    frames = [noise(SIZES[i % 4], i) for i in range(10)]
    for got, expected in zip(pair[0].run_batch(frames), pair[1].run_batch(frames), strict=True):
        assert_same(got, expected)
    assert gpu.runs == [4, 4, 4]  # the last two are filled up to the next batch of the profile
    assert pair[0].run_batch([]) == []


def test_a_static_batch_is_filled_up(
    gpu: Any, tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    engine = gpu.bundle(tiny_onnx(tmp_path / "m.onnx"), tmp_path / "m.engine", batches=(3, 3, 3))
    frames = [noise((40, 60), i) for i in range(5)]
    with (
        Localizer(engine.path) as on_gpu,
        Localizer(engine.path, backend="onnxruntime") as on_cpu,
    ):
        for _ in range(3):
            for got, frame in zip(on_gpu.run_batch(frames), frames, strict=True):
                assert_same(got, on_cpu.run(frame))
    assert set(gpu.runs) == {3}


def test_a_frame_may_change_once_it_is_submitted(pair: tuple[Localizer, Localizer]) -> None:
    frame = noise((40, 60))
    expected = pair[1].run(frame)
    for _ in range(4):
        given = frame.copy()
        ticket = pair[0].submit(given)
        given[:] = 0
        assert_same(ticket.result(), expected)
        assert_same(ticket.result(), expected)  # as often as one likes


def test_answers_wait_however_many_frames_follow(pair: tuple[Localizer, Localizer]) -> None:
    frames = [noise(SIZES[i % 4], i) for i in range(7)]
    tickets = [pair[0].submit(frame) for frame in frames]
    expected = [pair[1].run(frame) for frame in frames]
    for at in (6, 0, 3, 5, 1, 2, 4):
        assert_same(tickets[at].result(), expected[at])
    last = pair[0].submit(frames[0])
    pair[0].close()
    assert_same(last.result(), expected[0])
    with pytest.raises(BackendError, match="closed"):
        pair[0].run(frames[0])


def test_boxes_only(gpu: Any, tmp_path: Path, tiny_onnx: Callable[..., Path]) -> None:
    engine = gpu.bundle(tiny_onnx(tmp_path / "m.onnx", top_k=2), tmp_path / "m.engine")
    results = []
    for backend in ("tensorrt", "onnxruntime"):
        with Localizer(engine.path, backend=backend, boxes_only=True) as localizer:
            results.append(localizer.run(noise((40, 60))))
    for result in results:
        assert result.map.shape == (0, 0)
        assert result.scores.shape == (0,)
        with pytest.raises(InputError, match="no mask"):
            result.mask()
    assert results[0].box == results[1].box
    assert results[0].label == results[1].label
    assert results[0].score == pytest.approx(results[1].score, rel=2e-6)  # docs/semantics.md


def test_eight_threads_with_a_clone_each(
    gpu: Any, tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    engine = gpu.bundle(tiny_onnx(tmp_path / "m.onnx", top_k=2), tmp_path / "m.engine")
    frames = [noise(SIZES[i % 4], i) for i in range(8)]
    with Localizer(engine.path, backend="onnxruntime") as on_cpu:
        expected = [on_cpu.run(frame) for frame in frames]
    original = Localizer(engine.path)
    twins = [original.clone() for _ in frames]
    original.close()  # the plan lives as long as a clone does

    def work(at: int) -> None:
        with twins[at] as mine:
            for turn in range(6):
                assert_same(mine.run(frames[(at + turn) % 8]), expected[(at + turn) % 8])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(gpu.script.loaded) == 1


def test_a_plan_that_cannot_be_captured_runs_and_says_so(
    gpu: Any, pair: tuple[Localizer, Localizer], caplog: pytest.LogCaptureFixture
) -> None:
    gpu.cannot_capture = True
    for turn in range(8):
        assert_same(pair[0].run(noise((40, 60), turn)), pair[1].run(noise((40, 60), turn)))
    assert len(caplog.records) == 2  # once for each frame in flight
    said = caplog.records[0].getMessage()
    assert said.startswith("Running without a CUDA graph, which is slower: TensorRT 10.3.0 failed")
    assert "operation not permitted when stream is capturing" in said


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_an_error(
    gpu: Any, pair: tuple[Localizer, Localizer], bad: float
) -> None:
    gpu.poison["logits"] = bad
    for _ in range(3):
        with pytest.raises(BackendError, match="NaN or infinite logits"):
            pair[0].run(noise((40, 60)))
    gpu.poison.clear()
    assert_same(pair[0].run(noise((40, 60))), pair[1].run(noise((40, 60))))


def test_maps_that_are_not_finite_are_an_error(gpu: Any, pair: tuple[Localizer, Localizer]) -> None:
    gpu.poison["maps"] = np.nan
    with pytest.raises(BackendError, match="The network gave maps that are not finite"):
        pair[0].run(noise((40, 60)))


def test_threads_are_refused(gpu: Any, tmp_path: Path, tiny_onnx: Callable[..., Path]) -> None:
    engine = gpu.bundle(tiny_onnx(tmp_path / "m.onnx"), tmp_path / "m.engine")
    with pytest.raises(InputError, match="threads is 2, but the backend 'tensorrt' computes"):
        Localizer(engine.path, threads=2)


def test_a_frame_that_the_cpu_refuses_is_refused_here_too(
    pair: tuple[Localizer, Localizer],
) -> None:
    for localizer in pair:
        with pytest.raises(InputError, match="float64"):
            localizer.run(np.zeros((4, 4, 3)))


def test_batches_of_changing_size_are_captured_all_the_same(
    pair: tuple[Localizer, Localizer], caplog: pytest.LogCaptureFixture
) -> None:
    """TensorRT forgets what it prepared when another shape comes, so each has its own context."""
    frames = [noise(SIZES[i % 4], i) for i in range(9)]
    expected = pair[1].run_batch(frames)
    for count in (9, 1, 6, 9, 3, 9, 1, 2, 9, 9, 5):
        got = pair[0].run_batch(frames[:count])
        for one, other in zip(got, expected[:count], strict=True):
            assert_same(one, other)
    assert caplog.records == []
    assert all(slot._graphs._graphs for slot in slots(pair[0]))


def test_an_interrupted_wait_can_be_taken_up_again(
    gpu: Any, pair: tuple[Localizer, Localizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = noise((40, 60))
    expected = pair[1].run(frame)
    ticket = pair[0].submit(frame)
    (slot, *_) = slots(pair[0])

    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(slot._finished, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ticket.result()
    assert_same(ticket.result(), expected)
    assert_same(pair[0].run(frame), expected)


@pytest.mark.parametrize("gpu", [{"memory_bytes": 1 << 20}], indirect=True)
def test_a_frame_that_is_too_large_for_the_gpu_harms_no_other(
    pair: tuple[Localizer, Localizer],
) -> None:
    frame = noise((40, 60))
    expected = pair[1].run(frame)
    for _ in range(3):
        assert_same(pair[0].run(frame), expected)
        with pytest.raises(BackendError, match="CUDA_ERROR_OUT_OF_MEMORY"):
            pair[0].run(noise((700, 800)))
        assert_same(pair[0].run(frame), expected)


def test_one_that_is_never_closed_leaves_nothing(
    gpu: Any, tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    engine = gpu.bundle(tiny_onnx(tmp_path / "m.onnx"), tmp_path / "m.engine")
    dropped = Localizer(engine.path)
    dropped.run(noise((40, 60)))
    dropped.submit(noise((40, 60)))
    del dropped
    gc.collect()
    assert gpu.cuda.contexts() == []


def test_a_plan_that_gives_one_context_has_one_frame_in_flight(
    gpu: Any,
    tmp_path: Path,
    tiny_onnx: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    gpu.one_profile_each = True
    engine = gpu.bundle(
        tiny_onnx(tmp_path / "m.onnx", top_k=2), tmp_path / "m.engine", batches=(1, 1, 1)
    )
    with (
        Localizer(engine.path) as on_gpu,
        Localizer(engine.path, backend="onnxruntime") as on_cpu,
    ):
        assert "Only 1 batch in flight at a time: " in caplog.text
        for turn in range(4):
            assert_same(on_gpu.run(noise((40, 60), turn)), on_cpu.run(noise((40, 60), turn)))
        with pytest.raises(BackendError, match="gives this plan one execution context only"):
            on_gpu.clone()


def test_an_error_in_the_middle_of_a_submit_waits_for_what_was_enqueued(
    gpu: Any, pair: tuple[Localizer, Localizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = noise((40, 60))
    expected = pair[1].run(frame)
    (slot, *_) = slots(pair[0])

    def fail(*_: Any) -> None:
        raise BackendError("the network cannot be enqueued")

    with monkeypatch.context() as patch:
        patch.setattr(slot, "_enqueue_network", fail)
        with pytest.raises(BackendError, match="cannot be enqueued"):
            pair[0].run(frame)
        assert gpu.cuda.pending(slot._stream.handle) == 0
    for _ in range(4):
        assert_same(pair[0].run(frame), expected)


def test_one_context_for_all_batches_is_slower_and_right(
    gpu: Any, tmp_path: Path, tiny_onnx: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    gpu.one_profile_each = True
    engine = gpu.bundle(tiny_onnx(tmp_path / "m.onnx", top_k=2), tmp_path / "m.engine")
    frames = [noise(SIZES[i % 4], i) for i in range(9)]
    with (
        Localizer(engine.path) as on_gpu,
        Localizer(engine.path, backend="onnxruntime") as on_cpu,
    ):
        expected = on_cpu.run_batch(frames)
        for count in (1, 1, 1, 9, 1, 3, 9, 1):
            got = on_gpu.run_batch(frames[:count])
            for one, other in zip(got, expected[:count], strict=True):
                assert_same(one, other)
    assert "One execution context runs all batches, which is slower: " in caplog.text


def test_ctrl_c_while_an_answer_is_read_harms_nothing(
    pair: tuple[Localizer, Localizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = noise((40, 60))
    expected = pair[1].run(frame)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    for slot in slots(pair[0]):
        with monkeypatch.context() as patch:
            patch.setattr(slot, "_read", interrupted)
            with pytest.raises(KeyboardInterrupt):
                pair[0].run(frame)
    for _ in range(4):
        assert_same(pair[0].run(frame), expected)


def test_a_forked_child_leaves_the_gpu_of_its_parent_alone(
    pair: tuple[Localizer, Localizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as it goes without a fork: the finalizer that would run when the child ends."""
    expected = pair[0].run(noise((40, 60)))
    runner: Any = pair[0]._open_runner()
    _, function, arguments, _ = runner._close.peek()
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: -1)
        function(*arguments)
    assert_same(pair[0].run(noise((40, 60))), expected)
