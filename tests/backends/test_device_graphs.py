"""Capturing work into CUDA graphs: the same on fakes and on GPUs."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from device_copies import captured, there_and_back

from bas_edge.backends.device import Device, Graph
from bas_edge.errors import BackendError


def test_a_graph_is_replayed_with_what_staging_then_holds(device: Device) -> None:
    stream, other = device.stream(), device.stream()
    source, target = device.staging(64), device.staging(64)
    target.array[:] = 99
    graph = captured(device, stream, source, target)
    stream.synchronize()
    assert np.all(target.array == 99)  # capturing runs nothing
    for i, where in enumerate((stream, other, stream)):
        source.array[:] = i
        graph.launch(where)
        where.synchronize()
        assert np.all(target.array == i)


def test_graphs_of_two_streams_joined_by_events(device: Device) -> None:
    first, second = device.stream(), device.stream()
    source, target, buffer = device.staging(8), device.staging(8), device.buffer(8)
    forked, joined = device.event(), device.event()
    with first.capture() as graphs:
        first.upload(buffer.address, source.address, 8)
        first.record(forked)
        second.wait_for(forked)
        second.download(target.address, buffer.address, 8)
        second.record(joined)
        first.wait_for(joined)
    source.array[:] = 3
    graphs[0].launch(first)
    first.synchronize()
    assert np.all(target.array == 3)
    second.synchronize()  # it is no longer captured


def test_an_exception_inside_a_capture_leaves_the_stream_usable(device: Device) -> None:
    stream, source, buffer = device.stream(), device.staging(8), device.buffer(8)
    captured: list[list[Graph]] = []

    def fail() -> None:
        with stream.capture() as graphs:
            captured.append(graphs)
            stream.upload(buffer.address, source.address, 8)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    assert captured == [[]]
    values = np.arange(9, dtype=np.float32)
    np.testing.assert_array_equal(there_and_back(device, stream, values), values)


def test_waiting_inside_a_capture_is_an_error_and_the_stream_recovers(device: Device) -> None:
    stream = device.stream()

    def wait_inside() -> None:
        with stream.capture():
            stream.synchronize()

    with pytest.raises(BackendError, match=r"CUDA_ERROR_STREAM_CAPTURE_\w+ \(90\d\)") as caught:
        wait_inside()
    assert "before or after the captured block" in (caught.value.hint or "")
    values = np.arange(5, dtype=np.int16)
    np.testing.assert_array_equal(there_and_back(device, stream, values), values)


def test_allocating_inside_a_capture_breaks_it_even_when_caught(device: Device) -> None:
    stream = device.stream()

    def allocate_inside() -> None:
        with stream.capture(), pytest.raises(BackendError):
            device.buffer(64)

    with pytest.raises(BackendError, match="CUDA_ERROR_STREAM_CAPTURE_INVALIDATED") as caught:
        allocate_inside()
    assert "before or after the captured block" in (caught.value.hint or "")
    stream.synchronize()


def test_what_is_collected_inside_a_capture_is_freed_after_it(device: Device) -> None:
    stream = device.stream()
    source, target, buffer = device.staging(8), device.staging(8), device.buffer(8)
    garbage = [device.buffer(1 << 20), device.staging(100), device.stream(), device.event()]
    with stream.capture() as graphs:
        stream.upload(buffer.address, source.address, 8)
        garbage.clear()
        gc.collect()
        stream.download(target.address, buffer.address, 8)
    source.array[:] = 4
    graphs[0].launch(stream)
    stream.synchronize()
    assert np.all(target.array == 4)


def test_threads_capture_while_others_allocate(device: Device) -> None:
    def work(seed: int) -> bool:
        stream, source, target = device.stream(), device.staging(16), device.staging(16)
        for i in range(10):
            graph = captured(device, stream, source, target)
            source.array[:] = i + seed
            graph.launch(stream)
            stream.synchronize()
            if not np.all(target.array == i + seed):
                return False
            graph.free()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [True] * 4
