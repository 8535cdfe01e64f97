"""A CUDA driver in Python: device memory is host memory, and every misuse is written down.

    cuda = FakeCuda(seed=1)
    device = fake_device(cuda)               # satisfies bas_edge.backends.device.Device
    stream = device.stream()
    cuda.enqueue(stream.handle, kernel)      # any callable; a capture records it
    stream.synchronize()                     # runs it, if it did not run before
    device.close()
    cuda.check()                             # no misuse, and nothing left behind

Addresses are real addresses of this process, so an emulated kernel may look at them with ctypes or
NumPy (`view`). Fresh memory is filled with 0xCD and freed memory with 0xDD. Work on a stream runs
when something waits for it, or at an earlier point that the seed chooses (`seed=None`: never).
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from fakes.cuda_errors import FakeCudaError
from fakes.cuda_memory import Heap
from fakes.cuda_queues import Event, Queues, Stream

__all__ = ["FakeCuda", "fake_device"]

DEVICEMAP = 2
LEGACY_STREAM = 1
DISABLE_TIMING = 2


class FakeCuda:
    """The functions of the driver by their names in cuda.h; raises FakeCudaError for a CUresult.

    Attributes:
        faults: Sentences on misuse that a real driver might have punished by a crash.
    """

    def __init__(
        self,
        *,
        devices: int = 1,
        name: str = "Fake GPU",
        capability: tuple[int, int] = (8, 7),
        cuda: tuple[int, int] = (13, 0),
        integrated: bool = False,
        memory_bytes: int = 1 << 30,
        init_error: int = 0,
        seed: int | None = 0,
    ) -> None:
        self.devices = devices
        self.name = name
        self.cuda = cuda
        self.attributes = {75: capability[0], 76: capability[1], 18: int(integrated), 19: 1}
        self.memory_bytes = memory_bytes
        self.init_error = init_error
        self.faults: list[str] = []
        self.elsewhere: dict[int, int] = {}  # address → another device
        self.queues = Queues(seed)
        self._legacy = Stream(LEGACY_STREAM)  # always there, and nobody's to destroy
        self.lock = self.queues.lock
        self.stacks: dict[int, list[int]] = {}  # thread → contexts, the current one last
        self.retained = dict.fromkeys(range(devices), 0)
        self.heap = Heap(self.faults)
        self._handles = itertools.count(0x5000, 0x10)

    # what tests use ---------------------------------------------------------------------------

    def enqueue(self, stream: int, work: Callable[[], None]) -> None:
        """Put a callable on the stream with this handle, as a kernel launch would."""
        with self.lock:
            self._current()
            self.queues.enqueue(self._stream(stream), work)

    def view(self, address: int, size_bytes: int) -> np.ndarray:
        """Device memory as [size_bytes] uint8, for an emulated kernel; checks that it is live."""
        self.heap.check(address, size_bytes, {"device", "mapped"})
        return np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(address))

    def pending(self, stream: int) -> int:
        """How many pieces of work of the stream have not run."""
        return len(self._stream(stream).queue)

    def contexts(self) -> list[int]:
        """This thread's stack of contexts, the current one last."""
        return list(self.stacks.get(threading.get_ident(), []))

    def check(self) -> None:
        """Fail for any misuse so far, and for what should have been given back by now."""
        left = list(self.faults)
        left += [f"contexts left in a thread: {stack}" for stack in self.stacks.values() if stack]
        left += [
            f"primary context {index} is retained {count} times"
            for index, count in self.retained.items()
            if count
        ]
        left += [
            f"{each.size} bytes of {each.kind} memory left" for each in self.heap.live.values()
        ]
        left += [f"{len(self.queues.streams)} streams left"] * bool(self.queues.streams)
        left += [f"{len(self.queues.events)} events left"] * bool(self.queues.events)
        left += [f"{len(self.queues.executables)} graphs left"] * bool(self.queues.executables)
        left += [f"{len(self.queues.graphs)} captures left"] * bool(self.queues.graphs)
        assert not left, "; ".join(left)

    # driver, devices, contexts ----------------------------------------------------------------

    def cuInit(self, flags: int) -> None:
        if self.init_error:
            raise FakeCudaError(self.init_error)

    def cuDriverGetVersion(self) -> int:
        return self.cuda[0] * 1000 + self.cuda[1] * 10

    def cuDeviceGetCount(self) -> int:
        return self.devices

    def cuDeviceGet(self, index: int) -> int:
        if not 0 <= index < self.devices:
            raise FakeCudaError(101)
        return index

    def cuDeviceGetName(self, length: int, device: int) -> bytes:
        return self.name.encode().ljust(length, b"\0")

    def cuDeviceGetAttribute(self, attribute: int, device: int) -> int:
        return self.attributes[attribute]

    def cuDevicePrimaryCtxRetain(self, device: int) -> int:
        with self.lock:
            self.retained[device] += 1
        return self.primary(device)

    def cuDevicePrimaryCtxRelease(self, device: int) -> None:
        with self.lock:
            if not self.retained[device]:
                self._fault("the primary context was released more often than retained", 201)
            self.retained[device] -= 1
            if not self.retained[device] and (self.heap.live or self.queues.streams):
                self.faults.append("the primary context was released while something lived in it")

    @staticmethod
    def primary(device: int = 0) -> int:
        """The handle of a device's primary context."""
        return 0x1000 + device

    def cuCtxPushCurrent(self, context: int) -> None:
        if not context:
            raise FakeCudaError(201)
        self.stacks.setdefault(threading.get_ident(), []).append(context)

    def cuCtxPopCurrent(self) -> int:
        stack = self.stacks.setdefault(threading.get_ident(), [])
        if not stack:
            self._fault("a context was popped from an empty stack", 201)
        return stack.pop()

    def cuCtxGetCurrent(self) -> int:
        return (self.contexts() or [0])[-1]

    def cuCtxSetCurrent(self, context: int) -> None:
        stack = self.stacks.setdefault(threading.get_ident(), [])
        if stack:
            stack.pop()
        if context:
            stack.append(context)

    # memory -----------------------------------------------------------------------------------

    def cuMemGetInfo(self) -> tuple[int, int]:
        with self.lock:
            self._current()
            used = sum(each.size for each in self.heap.live.values() if each.kind == "device")
            return self.memory_bytes - used, self.memory_bytes

    def cuMemAlloc(self, size: int) -> int:
        with self.lock:
            self._current()
            self.queues.refuse_while_capturing(self.queues.capture_of_thread())
            if size > self.cuMemGetInfo()[0]:
                raise FakeCudaError(2)
            return self.heap.allocate(size, "device")

    def cuMemFree(self, address: int) -> None:
        with self.lock:
            self._current()
            self.queues.refuse_while_capturing(self.queues.capture_of_thread())
            self.heap.free(address, {"device"})

    def cuMemHostAlloc(self, size: int, flags: int) -> int:
        with self.lock:
            self._current()
            self.queues.refuse_while_capturing(self.queues.capture_of_thread())
            return self.heap.allocate(size, "mapped" if flags & DEVICEMAP else "host")

    def cuMemFreeHost(self, address: int) -> None:
        with self.lock:
            self._current()
            self.queues.refuse_while_capturing(self.queues.capture_of_thread())
            self.heap.free(address, {"host", "mapped"})

    def cuMemHostGetDevicePointer(self, address: int, flags: int) -> int:
        self._current()
        self.heap.check(address, 1, {"mapped"})
        return address

    def cuMemcpyHtoDAsync(self, device: int, host: int, size: int, stream: int) -> None:
        with self.lock:
            self._current()
            target = self._stream(stream)
            if self.heap.find(host) is None and target.capture is None:
                data = ctypes.string_at(host, size)  # pageable: the driver copies it at once
                self.queues.enqueue(target, lambda: self.heap.write(device, data))
            else:
                self.queues.enqueue(
                    target, lambda: self.heap.write(device, self.heap.read(host, size))
                )

    def cuMemcpyDtoHAsync(self, host: int, device: int, size: int, stream: int) -> None:
        def work() -> None:
            self.heap.check(device, size, {"device", "mapped"})
            if self.heap.find(host) is not None:
                self.heap.check(host, size, {"host", "mapped"})
            ctypes.memmove(host, device, size)

        with self.lock:
            self._current()
            target = self._stream(stream)
            self.queues.enqueue(target, work)
            if self.heap.find(host) is None:
                self.queues.drain(target)  # pageable: the driver waits

    def cuMemcpyDtoDAsync(self, to: int, source: int, size: int, stream: int) -> None:
        with self.lock:
            self._current()
            self.queues.enqueue(self._stream(stream), lambda: self.heap.copy(to, source, size))

    def cuPointerGetAttribute(self, attribute: int, address: int) -> int:
        self._current()
        assert attribute == 9, "only the ordinal is asked for"
        if address in self.elsewhere:
            return self.elsewhere[address]
        if self.heap.find(address) is None:
            raise FakeCudaError(1)
        return 0

    # streams and events -----------------------------------------------------------------------

    def cuStreamCreate(self, flags: int) -> int:
        with self.lock:
            self._current()
            stream = Stream(next(self._handles))
            self.queues.streams[stream.handle] = stream
            return stream.handle

    def cuStreamDestroy(self, handle: int) -> None:
        with self.lock:
            self._current()
            self.queues.drain(self._stream(handle))
            del self.queues.streams[handle]

    def cuStreamSynchronize(self, handle: int) -> None:
        with self.lock:
            self._current()
            stream = self._stream(handle)
            self.queues.refuse_while_capturing(stream.capture)
            self.queues.drain(stream)

    def cuStreamWaitEvent(self, stream: int, event: int, flags: int) -> None:
        with self.lock:
            self._current()
            self.queues.wait(self._stream(stream), self._event(event))

    def cuEventCreate(self, flags: int) -> int:
        with self.lock:
            self._current()
            event = Event(next(self._handles), timed=not flags & DISABLE_TIMING)
            self.queues.events[event.handle] = event
            return event.handle

    def cuEventDestroy(self, handle: int) -> None:
        with self.lock:
            self._current()
            self._event(handle)
            del self.queues.events[handle]

    def cuEventRecord(self, event: int, stream: int) -> None:
        with self.lock:
            self._current()
            self.queues.record(self._event(event), self._stream(stream))

    def cuEventQuery(self, handle: int) -> None:
        with self.lock:
            event = self._event(handle)
            done = event.done >= event.asked
            if not done and event.stream is not None:
                self.queues.step(event.stream)  # time passes, so that polling ends
        if not done:
            raise FakeCudaError(600)

    def cuEventSynchronize(self, handle: int) -> None:
        with self.lock:
            self._current()
            event = self._event(handle)
            self.queues.refuse_while_capturing(event.captured and event.captured[0].origin.capture)
            self.queues.reach(event, event.asked)

    def cuEventElapsedTime(self, start: int, end: int) -> float:
        with self.lock:
            first, last = self._event(start), self._event(end)
            if not (first.timed and last.timed and first.asked and last.asked):
                raise FakeCudaError(400)
            if first.done < first.asked or last.done < last.asked:
                raise FakeCudaError(600)
            return (last.time_us - first.time_us) / 1000

    # graphs -----------------------------------------------------------------------------------

    def cuStreamBeginCapture(self, handle: int, mode: int) -> None:
        with self.lock:
            self._current()
            if mode != 1:
                self.faults.append(f"capture mode {mode} is not the thread-local one")
            self.queues.begin(self._stream(handle))

    def cuStreamEndCapture(self, handle: int) -> int:
        with self.lock:
            work = self.queues.end(self._stream(handle))
            graph = next(self._handles)
            self.queues.graphs[graph] = work
            return graph

    def cuGraphInstantiate(self, graph: int, flags: int) -> int:
        with self.lock:
            executable = next(self._handles)
            self.queues.executables[executable] = list(self.queues.graphs[graph])
            return executable

    def cuGraphLaunch(self, executable: int, stream: int) -> None:
        with self.lock:
            self._current()
            if executable not in self.queues.executables:
                self._fault("a graph was launched that does not exist", 400)
            works = self.queues.executables[executable]
            self.queues.enqueue(self._stream(stream), lambda: [work() for work in works] and None)

    def cuGraphExecDestroy(self, executable: int) -> None:
        with self.lock:
            if self.queues.executables.pop(executable, None) is None:
                self._fault("a graph was destroyed twice", 400)

    def cuGraphDestroy(self, graph: int) -> None:
        with self.lock:
            if self.queues.graphs.pop(graph, None) is None:
                self._fault("a captured graph was destroyed twice", 400)

    # inside -----------------------------------------------------------------------------------

    def _fault(self, sentence: str, code: int) -> None:
        self.faults.append(sentence)
        raise FakeCudaError(code)

    def _current(self) -> None:
        if self.cuCtxGetCurrent() not in {self.primary(each) for each in self.retained}:
            self._fault("a call without the primary context", 201)
        if not self.retained[self.cuCtxGetCurrent() - self.primary()]:
            self._fault("a call in a context that was released", 709)

    def _stream(self, handle: int) -> Stream:
        if handle == LEGACY_STREAM:
            return self._legacy
        if handle not in self.queues.streams:
            self._fault(f"there is no stream {handle:#x}", 400)
        return self.queues.streams[handle]

    def _event(self, handle: int) -> Event:
        if handle not in self.queues.events:
            self._fault(f"there is no event {handle:#x}", 400)
        return self.queues.events[handle]


def fake_device(cuda: FakeCuda | None = None, index: int = 0) -> Any:
    """Our own device over cuda-python, over a fake driver: what `open_device` returns."""
    from bas_edge.backends._cuda_device import CudaDevice
    from bas_edge.backends._cuda_driver import Driver
    from bas_edge.backends._cuda_python import CudaPythonCalls
    from fakes.cuda_python import cuda_python_module
    from fakes.libcuda import libcuda

    cuda = cuda or FakeCuda()
    calls = CudaPythonCalls(index, cuda_python_module(cuda))
    return CudaDevice(index, calls, Driver(libcuda(cuda)), cuda.cuda)
