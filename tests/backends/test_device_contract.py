"""What every library of CUDA must do behind `bas_edge.backends.device`, on fakes and on GPUs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from device_copies import captured, staged, there_and_back

from bas_edge.backends.device import Device
from bas_edge.errors import BackendError, InputError


def test_it_says_what_it_is(device: Device) -> None:
    assert device.index == 0
    assert device.name
    assert device.compute_capability >= (5, 0)
    assert device.driver_cuda >= (11, 4)
    free, total = device.memory_bytes()
    assert 0 < free <= total


@pytest.mark.parametrize("size", [1, 3, 4096, 1_000_003])
def test_bytes_go_there_and_back(device: Device, size: int) -> None:
    values = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    np.testing.assert_array_equal(there_and_back(device, device.stream(), values), values)


def test_pageable_memory_too(device: Device) -> None:
    values = np.arange(100, dtype=np.uint8)
    back = np.zeros_like(values)
    stream, buffer = device.stream(), device.buffer(100)
    stream.upload(buffer.address, values.ctypes.data, 100)
    stream.download(back.ctypes.data, buffer.address, 100)
    stream.synchronize()
    np.testing.assert_array_equal(back, np.arange(100))


def test_zero_bytes(device: Device) -> None:
    buffer, staging, stream = device.buffer(0), device.staging(0), device.stream()
    assert buffer.size_bytes == staging.size_bytes == staging.array.size == 0
    assert buffer.address
    stream.upload(buffer.address, staging.address, 0)
    stream.download(staging.address, buffer.address, 0)
    stream.synchronize()


def test_a_negative_size_is_refused(device: Device) -> None:
    for make in (device.buffer, device.staging):
        with pytest.raises(InputError, match="size_bytes is -1, but must be at least 0"):
            make(-1)


def test_a_part_of_a_buffer(device: Device) -> None:
    stream, buffer = device.stream(), device.buffer(8)
    zeros, source = (
        staged(device, np.zeros(8, np.uint8)),
        staged(device, np.array([5, 6], np.uint8)),
    )
    stream.upload(buffer.address, zeros.address, 8)
    stream.upload(buffer.address + 3, source.address, 2)
    target = device.staging(8)
    stream.download(target.address, buffer.address, 8)
    stream.synchronize()
    assert target.array.tolist() == [0, 0, 0, 5, 6, 0, 0, 0]


def test_a_stream_keeps_its_order(device: Device) -> None:
    stream, buffer, target = device.stream(), device.buffer(4), device.staging(40)
    sources = [staged(device, np.full(4, i, np.uint8)) for i in range(10)]
    for i, source in enumerate(sources):
        stream.upload(buffer.address, source.address, 4)
        stream.download(target.address + 4 * i, buffer.address, 4)
    stream.synchronize()
    np.testing.assert_array_equal(target.array, np.repeat(np.arange(10), 4))


def test_streams_have_handles_of_their_own(device: Device) -> None:
    first, second = device.stream(), device.stream()
    assert 0 not in {first.handle, second.handle}  # 0 is CUDA's default stream
    assert first.handle != second.handle


def test_one_stream_waits_for_another(device: Device) -> None:
    writer, reader = device.stream(), device.stream()
    buffer, target = device.buffer(1 << 16), device.staging(1 << 16)
    written, read = device.event(), device.event()
    for i in range(20):
        source = staged(device, np.full(1 << 16, i, np.uint8))
        writer.upload(buffer.address, source.address, 1 << 16)
        writer.record(written)
        reader.wait_for(written)
        reader.download(target.address, buffer.address, 1 << 16)
        reader.record(read)
        writer.wait_for(read)
        read.wait()
        assert np.all(target.array == i)


def test_events(device: Device) -> None:
    stream, event, buffer = device.stream(), device.event(), device.buffer(1 << 20)
    assert event.is_done()  # never recorded: CUDA calls it done
    source = device.staging(1 << 20)
    stream.upload(buffer.address, source.address, 1 << 20)
    stream.record(event)
    while not event.is_done():
        pass
    event.wait()
    assert event.is_done()


def test_elapsed_ms(device: Device) -> None:
    stream, start, end = device.stream(), device.event(timed=True), device.event(timed=True)
    source, buffer = device.staging(1 << 20), device.buffer(1 << 20)
    stream.record(start)
    stream.upload(buffer.address, source.address, 1 << 20)
    stream.record(end)
    end.wait()
    assert 0 < end.elapsed_ms(start) < 10_000
    assert start.elapsed_ms(start) == 0


def test_elapsed_ms_needs_timed_events(device: Device) -> None:
    plain, timed = device.event(), device.event(timed=True)
    for first, last in ((plain, timed), (timed, plain)):
        with pytest.raises(InputError, match="An event without timing has no time") as caught:
            last.elapsed_ms(first)
        assert caught.value.hint == "Make both by event(timed=True)."


def test_elapsed_ms_of_events_never_recorded(device: Device) -> None:
    first, last = device.event(timed=True), device.event(timed=True)
    with pytest.raises(BackendError, match=r"time between two events failed: CUDA_ERROR_\w+ \(\d"):
        last.elapsed_ms(first)


def test_free_twice(device: Device) -> None:
    stream = device.stream()
    graph = captured(device, stream, device.staging(4), device.staging(4))
    for each in (device.buffer(8), device.staging(8), device.event(), graph, stream):
        each.free()
        each.free()


def test_use_after_free_is_refused_in_a_sentence(device: Device) -> None:
    buffer, staging, stream, event = (
        device.buffer(8), device.staging(8), device.stream(), device.event()
    )  # fmt: skip
    other = device.stream()
    graph = captured(device, other, device.staging(4), device.staging(4))
    for each in (buffer, staging, stream, event, graph):
        each.free()
    with pytest.raises(BackendError, match="GPU memory was freed"):
        _ = buffer.address
    for look in ("array", "address", "device_address"):
        with pytest.raises(BackendError, match="page-locked memory was freed"):
            getattr(staging, look)
    for use in (stream.synchronize, lambda: stream.upload(0, 0, 0), lambda: other.wait_for(event)):
        with pytest.raises(BackendError, match=r"This (stream|event) was freed"):
            use()
    with pytest.raises(BackendError, match="stream was freed"), stream.capture():
        pass
    for use in (event.wait, event.is_done, lambda: other.record(event)):
        with pytest.raises(BackendError, match="event was freed"):
            use()
    with pytest.raises(BackendError, match="graph was freed"):
        graph.launch(other)


def test_an_array_of_freed_staging_is_still_memory(device: Device) -> None:
    staging = device.staging(1000)
    array = staging.array
    array[:] = 5
    staging.free()
    assert np.all(array[:] == 5)
    device.close()
    assert np.all(array[:] == 5)
    array[:] = 6


def test_close_with_live_objects(device: Device) -> None:
    stream, buffer, staging = device.stream(), device.buffer(8), device.staging(8)
    event = device.event()
    graph = captured(device, stream, device.staging(4), device.staging(4))
    stream.upload(buffer.address, staging.address, 8)
    device.close()
    device.close()
    for use in (
        stream.synchronize, event.wait, lambda: graph.launch(stream), device.memory_bytes,
        device.stream, lambda: device.buffer(8), lambda: buffer.address, lambda: staging.array,
        lambda: stream.handle,
    ):  # fmt: skip
        with pytest.raises(BackendError, match="closed"):
            use()
    for each in (buffer, staging, event, graph, stream):
        each.free()


def test_a_device_is_opened_again_after_close(machine) -> None:
    values = np.arange(7, dtype=np.uint8)
    for _ in range(3):
        device = machine.open()
        np.testing.assert_array_equal(there_and_back(device, device.stream(), values), values)
        device.close()


def test_two_devices_of_one_gpu_side_by_side(machine) -> None:
    first, second = machine.open(), machine.open()
    first.close()
    values = np.arange(7, dtype=np.uint8)
    np.testing.assert_array_equal(there_and_back(second, second.stream(), values), values)
    event = second.event()
    third = machine.open()
    with pytest.raises(InputError, match="belongs to another device"):
        third.stream().record(event)


def test_only_events_of_this_layer(device: Device) -> None:
    with pytest.raises(InputError, match="A CUDA event is needed, but this is a str"):
        device.stream().wait_for("event")


def test_eight_threads_each_with_its_own_stream(device: Device) -> None:
    def work(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        stream = device.stream()
        return all(
            np.array_equal(there_and_back(device, stream, values), values)
            for values in (rng.integers(0, 256, 5000, np.uint8) for _ in range(20))
        )

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [True] * 8


def test_current_may_be_nested_and_leaves_no_context(machine) -> None:
    device = machine.open()
    assert machine.current_context() == 0
    with device.current():
        context = machine.current_context()
        assert context
        with device.current():
            device.buffer(8).free()
            assert machine.current_context() == context
        assert machine.current_context() == context
    assert machine.current_context() == 0
    with pytest.raises(KeyError), device.current():
        raise KeyError
    assert machine.current_context() == 0


def test_memory_bytes_follows_buffers(device: Device) -> None:
    free, total = device.memory_bytes()
    buffer = device.buffer(64 << 20)
    assert device.memory_bytes() == (pytest.approx(free - (64 << 20), abs=4 << 20), total)
    buffer.free()


def test_out_of_memory(device: Device) -> None:
    with pytest.raises(BackendError) as caught:
        device.buffer(1 << 50)
    assert str(caught.value) == (
        "CUDA: allocating 1125899906842624 bytes on the GPU failed: "
        "CUDA_ERROR_OUT_OF_MEMORY (2), out of memory."
    )
    assert (caught.value.hint or "").startswith("Use a smaller --max-batch")
    device.buffer(8).free()


def test_staging_is_mapped_on_integrated_gpus_only(device: Device) -> None:
    staging = device.staging(8)
    assert (staging.device_address is not None) == device.is_integrated
