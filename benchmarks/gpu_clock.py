"""The time of CUDA graphs on a GPU, between two events of a stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from bas_edge.backends.device import Device, Event, Graph
from bas_edge.ops import cuda

from .harness import WorkerError

__all__ = ["FLUSH_BYTES", "GraphClock"]

FLUSH_BYTES = 256 << 20  # more than the caches of any GPU hold (126 MB on a B200)
_COPY_BYTES = 1 << 30
_PAIRS = 16  # timed before the host waits
_MOST_SPACERS = 64


class GraphClock:
    """Times graphs on one stream.

    Before each timed launch the stream copies `flush_bytes`: the GPU is then busy while the host
    queues the launch and both events, so that no part of the host's work is in the time; and the
    caches hold none of what the launch will read. Where the GPU was done with the copy too early,
    that time is thrown away and later copies are repeated more often.

    Args:
        device: Stays open; everything that was made in it is freed by close().
        flush_bytes: See above; two buffers of it are allocated.
    """

    def __init__(self, device: Device, *, flush_bytes: int = FLUSH_BYTES) -> None:
        self.device = device
        self.stream = device.stream()
        self._flush_bytes = flush_bytes
        self._scratch = (device.buffer(flush_bytes), device.buffer(flush_bytes))
        self._pairs: list[tuple[Event, Event]] = [
            (device.event(timed=True), device.event(timed=True)) for _ in range(_PAIRS)
        ]
        self._spacers = 1

    def capture(self, enqueue: Callable[[], None]) -> Graph:
        """Run once, so that nothing is made on first use inside the capture; then capture."""
        with self.device.current():
            enqueue()
        self.stream.synchronize()
        with self.stream.capture() as graphs:
            enqueue()
        return graphs[0]

    def times_us(
        self,
        graphs: Sequence[Graph],
        *,
        seconds: float,
        touch: Callable[[int], None] | None = None,
    ) -> list[float]:
        """Launch the graphs in turn; the time of each launch, at least one for every graph.

        Args:
            graphs: All for the same work, on different inputs.
            seconds: How long to go on.
            touch: Called with the place of a graph before it is timed, after the caches were
                flushed: enqueues what writes that graph's input.

        Raises:
            WorkerError: The host is too slow to keep this GPU busy.
        """
        times: list[float] = []
        at, end = 0, time.perf_counter() + seconds
        while at < len(graphs) or len(times) < _PAIRS or time.perf_counter() < end:
            late = []
            for start, stop in self._pairs:
                self._keep_busy()
                if touch is not None:
                    touch(at % len(graphs))
                self.stream.record(start)
                graphs[at % len(graphs)].launch(self.stream)
                self.stream.record(stop)
                late.append(start.is_done())
                at += 1
            self.stream.synchronize()
            times += [
                stop.elapsed_ms(start) * 1e3
                for (start, stop), missed in zip(self._pairs, late, strict=True)
                if not missed
            ]
            if any(late):
                self._wait_longer(worked=bool(times))
        return times

    def warm_up(self, seconds: float = 1.0) -> None:
        """Copies, until the clocks are where they stay under load."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for _ in range(_PAIRS):
                self._keep_busy()
            self.stream.synchronize()

    def copy_times_us(self, *, seconds: float) -> tuple[int, list[float]]:
        """How many bytes were copied within the device, and the time of each copy."""
        size = min(_COPY_BYTES, self.device.memory_bytes()[0] // 8, 4 * self._flush_bytes)
        source, target = self.device.buffer(size), self.device.buffer(size)
        graph = self.capture(lambda: self.stream.copy(target.address, source.address, size))
        try:
            return size, self.times_us([graph], seconds=seconds)
        finally:
            graph.free()
            source.free()
            target.free()

    def launch_times_us(self, launches: int, *, seconds: float) -> list[float]:
        """As many kernels in a row that do nothing to speak of, in one graph.

        Each is `upsample_maps` from one cell to one pixel: a kernel of the same library by the
        same launcher, which reads 4 bytes and a table of one entry, and writes 4 bytes. Like the
        kernels of an op, each waits for the one before. A copy of some bytes would not do: it is
        another kind of node.
        """
        with self.device.current():
            op = cuda.MapsToBoxes(max_images=1, map_size=(1, 1), size=(1, 1))
        cell, pixel = self.device.buffer(4), self.device.buffer(4)
        graph = self.capture(
            partial(_launch, op, launches, cell.address, pixel.address, self.stream.handle)
        )
        try:
            return self.times_us([graph], seconds=seconds)
        finally:
            graph.free()
            with self.device.current():
                del op
            cell.free()
            pixel.free()

    def close(self) -> None:
        self.stream.free()
        for pair in self._pairs:
            for event in pair:
                event.free()
        for buffer in self._scratch:
            buffer.free()

    def _keep_busy(self) -> None:
        source, target = self._scratch
        for _ in range(self._spacers):
            self.stream.copy(target.address, source.address, self._flush_bytes)

    def _wait_longer(self, *, worked: bool) -> None:
        if self._spacers < _MOST_SPACERS:
            self._spacers *= 2
        elif not worked:
            raise WorkerError("the host cannot queue work as fast as this GPU does it")


def _launch(op: cuda.MapsToBoxes, launches: int, cell: int, pixel: int, stream: int) -> None:
    for _ in range(launches):
        op.upsample(foreground=cell, images=1, pixels=pixel, stream=stream)
