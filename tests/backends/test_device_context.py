"""What can only be seen on a fake driver: contexts of others, late work, what is freed when."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from fakes.cuda_driver import FakeCuda, fake_device

from bas_edge.errors import BackendError

FOREIGN = 0xF00


def lazily(function: Callable[..., None]) -> Callable[..., None]:
    """Run with a driver that does nothing before it must."""
    return pytest.mark.parametrize("options", [{"seed": None}], ids=["lazy"])(function)


def use_everything(device: Any) -> None:
    stream, event, buffer, staging = (
        device.stream(), device.event(), device.buffer(8), device.staging(8)
    )  # fmt: skip
    with stream.capture() as graphs:
        stream.upload(buffer.address, staging.address, 8)
    graphs[0].launch(stream)
    stream.record(event)
    event.wait()
    device.memory_bytes()
    for each in (graphs[0], event, buffer, staging, stream):
        each.free()


def test_what_others_made_current_is_current_again(faked) -> None:
    device = faked.open()
    faked.cuda.cuCtxPushCurrent(FOREIGN)
    use_everything(device)
    assert faked.cuda.contexts() == [FOREIGN]
    with device.current():
        assert faked.current_context() == faked.cuda.primary()
        faked.cuda.cuCtxPushCurrent(FOREIGN + 1)  # another library, inside our block
        use_everything(device)
        assert faked.current_context() == FOREIGN + 1
        faked.cuda.cuCtxPopCurrent()
        assert faked.current_context() == faked.cuda.primary()
    assert faked.cuda.contexts() == [FOREIGN]
    device.close()
    assert faked.cuda.contexts() == [FOREIGN]
    faked.cuda.cuCtxPopCurrent()


def test_the_primary_context_of_torch_stays(faked) -> None:
    faked.cuda.cuDevicePrimaryCtxRetain(0)
    faked.cuda.cuCtxPushCurrent(faked.cuda.primary())
    device = faked.open()
    use_everything(device)
    assert faked.cuda.retained == {0: 2}
    device.close()
    assert faked.cuda.retained == {0: 1}
    assert faked.cuda.contexts() == [faked.cuda.primary()]
    faked.cuda.cuCtxPopCurrent()
    faked.cuda.cuDevicePrimaryCtxRelease(0)


def test_close_in_another_thread_than_open(faked) -> None:
    device = faked.open()
    objects = [device.stream(), device.buffer(8), device.staging(8), device.event()]
    thread = threading.Thread(target=device.close)
    thread.start()
    thread.join()
    assert faked.cuda.retained == {0: 0}
    assert objects


def test_opened_in_a_thread_that_has_ended(faked) -> None:
    with ThreadPoolExecutor(1) as pool:
        device = pool.submit(faked.open).result()
        stream = pool.submit(device.stream).result()
    stream.synchronize()
    device.close()
    assert faked.cuda.retained == {0: 0}


def test_close_inside_current_releases_at_its_end(faked) -> None:
    device = faked.open()
    with device.current():
        device.close()
        assert faked.cuda.retained == {0: 1}
        with pytest.raises(BackendError, match="closed"):
            device.stream()
    assert faked.cuda.retained == {0: 0}


@lazily
def test_close_while_another_thread_waits(faked) -> None:
    device = faked.open()
    stream, started, go_on = device.stream(), threading.Event(), threading.Event()

    def kernel() -> None:
        started.set()
        go_on.wait(10)

    with device.current():
        faked.cuda.enqueue(stream.handle, kernel)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(stream.synchronize)
        started.wait(10)
        closing = pool.submit(device.close)
        time.sleep(0.01)
        go_on.set()
        waiting.result()
        closing.result()
    assert faked.cuda.retained == {0: 0}


def test_a_collected_device_is_closed(faked) -> None:
    device = faked.open()
    stream = device.stream()
    faked.opened.clear()
    del device
    gc.collect()
    assert faked.cuda.retained == {0: 1}  # the stream keeps it
    stream.synchronize()
    del stream
    gc.collect()
    assert faked.cuda.retained == {0: 0}


def test_collected_objects_are_freed_in_any_thread(faked) -> None:
    device = faked.open()
    objects = [device.stream(), device.buffer(8), device.staging(8), device.event()]

    def drop() -> None:
        objects.clear()
        gc.collect()

    thread = threading.Thread(target=drop)
    thread.start()
    thread.join()
    assert not faked.cuda.heap.live
    assert not faked.cuda.queues.streams
    assert not faked.cuda.queues.events


def test_an_array_keeps_page_locked_memory_and_the_context(faked) -> None:
    device = faked.open()
    array = device.staging(8).array
    gc.collect()
    array[:] = 1
    device.close()
    assert faked.cuda.retained == {0: 1}
    array[:] = 2
    del array
    gc.collect()
    assert faked.cuda.retained == {0: 0}


def test_a_failing_constructor_leaves_nothing(faked) -> None:
    device = faked.open()
    with pytest.raises(BackendError, match="OUT_OF_MEMORY"):
        device.buffer(2 << 30)
    assert faked.cuda.memory_bytes == device.memory_bytes()[0]


@lazily
def test_work_runs_when_it_is_waited_for(faked) -> None:
    device = faked.open()
    stream, source, target = device.stream(), device.staging(8), device.staging(8)
    buffer, event = device.buffer(8), device.event()
    target.array[:] = 0
    source.array[:] = 1
    stream.upload(buffer.address, source.address, 8)
    stream.download(target.address, buffer.address, 8)
    stream.record(event)
    assert not target.array.any()
    source.array[:] = 2  # too early: the copy has not run
    stream.synchronize()
    assert np.all(target.array == 2)
    assert event.is_done()


@lazily
def test_enqueued_kernels_are_captured_and_see_device_memory(faked) -> None:
    device = faked.open()
    stream, source, target = device.stream(), device.staging(4), device.staging(4)
    buffer = device.buffer(4)

    def double() -> None:
        faked.cuda.view(buffer.address, 4)[:] *= 2

    with stream.capture() as graphs:
        stream.upload(buffer.address, source.address, 4)
        faked.cuda.enqueue(stream.handle, double)
        stream.download(target.address, buffer.address, 4)
    for value in (1, 5):
        source.array[:] = value
        graphs[0].launch(stream)
        assert faked.cuda.pending(stream.handle) == 1
        stream.synchronize()
        assert np.all(target.array == 2 * value)


@lazily
def test_close_lets_pending_work_finish_before_memory_goes(faked) -> None:
    device = faked.open()
    buffer, source, target = device.buffer(8), device.staging(8), device.staging(8)
    stream = device.stream()
    source.array[:] = 3
    seen = target.array
    stream.upload(buffer.address, source.address, 8)
    stream.download(target.address, buffer.address, 8)
    device.close()
    assert np.all(seen == 3)


@pytest.mark.parametrize("options", [{"integrated": True}])
def test_integrated_memory_is_mapped(faked) -> None:
    device = faked.open()
    assert device.is_integrated
    staging, other = device.staging(8), device.staging(8)
    staging.array[:] = 7
    assert staging.device_address is not None
    stream = device.stream()
    stream.download(other.address, staging.device_address, 8)
    stream.synchronize()
    assert np.all(other.array == 7)


@pytest.mark.parametrize("options", [{"capability": (7, 2), "name": "Xavier", "cuda": (11, 4)}])
def test_what_the_driver_says_of_the_device(faked) -> None:
    device = faked.open()
    assert (device.name, device.compute_capability) == ("Xavier", (7, 2))
    assert device.driver_cuda == (11, 4)


@pytest.mark.parametrize("options", [{"devices": 2}])
def test_the_second_device(faked) -> None:
    first, second = faked.open(0), faked.open(1)
    assert (first.index, second.index) == (0, 1)
    with first.current(), second.current():
        assert faked.current_context() == faked.cuda.primary(1)
    second.close()
    assert faked.cuda.retained == {0: 1, 1: 0}


# The fake itself: a detector of misuse is worth what it detects.


def test_the_fake_finds_misuse() -> None:
    cuda = FakeCuda(seed=None)
    device = fake_device(cuda)
    stream, buffer, staging = device.stream(), device.buffer(8), device.staging(8)
    stream.upload(buffer.address, staging.address, 8)
    buffer.free()  # before the copy has run
    with pytest.raises(BackendError, match="ILLEGAL_ADDRESS"):
        stream.synchronize()
    with device.current():
        stream.upload(staging.address, staging.address, 8)  # host memory is no device memory
    with pytest.raises(BackendError, match="ILLEGAL_ADDRESS"):
        stream.synchronize()
    with pytest.raises(Exception, match="INVALID_CONTEXT"):
        cuda.cuMemAlloc(8)
    cuda.cuCtxPushCurrent(cuda.primary())
    with pytest.raises(AssertionError) as caught:
        cuda.check()
    for words in (
        "after it was freed",
        "without the primary",
        "left in a thread",
        "1 streams left",
    ):
        assert words in str(caught.value)


def test_a_seed_runs_some_work_early() -> None:
    def early(seed: int | None) -> list[int]:
        cuda = FakeCuda(seed=seed)
        device = fake_device(cuda)
        stream, ran = device.stream(), []
        with device.current():
            for i in range(50):
                cuda.enqueue(stream.handle, lambda i=i: ran.append(i))
        before = list(ran)
        device.close()
        assert ran == list(range(50))
        cuda.check()
        return before

    assert early(None) == []
    assert early(1) == early(1) != []
