"""The CUDA ops by themselves: CUDA events around graph replays, beside a copy and bare launches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..gpu_counts import MapsShape
from ..gpu_device import open_gpu, with_gpu
from ..gpu_rows import GpuOpRow
from ..harness import Settings
from ..timings import Provenance, percentile, rounded

if TYPE_CHECKING:
    from bas_edge.backends.device import Device

    from ..gpu_clock import GraphClock
    from ..gpu_op import GpuOp

__all__ = ["CASE", "CudaOpsCase", "Measured", "Yardsticks", "all_ops", "measure_op", "yardsticks"]

LIMIT_US = 20.0  # one image, 200 classes
COPY_SHARE = 0.6  # 64 images, 200 classes
CHAIN = 64
MAX_LAUNCHES = 4


@dataclass(frozen=True, slots=True)
class Measured:
    """One row to be: an op, how its input lies, and what is asked of it."""

    op: GpuOp
    written: bool = False  # "just written" besides "cold"
    limit_us: float | None = None
    asked_copy_share: float | None = None


@dataclass(frozen=True, slots=True)
class Yardsticks:
    """What the device can do, in the same run.

    Attributes:
        launch_us: Of 1, 2, … launches that do nothing, in a row.
    """

    copy_bytes: int
    copy_us: Sequence[float]
    launch_us: Sequence[Sequence[float]]

    @property
    def copy_gb_per_s(self) -> float:
        return 2 * self.copy_bytes / percentile(self.copy_us, 0.5) / 1e3

    def launch_floor_us(self, launches: int) -> float:
        return percentile(self.launch_us[launches - 1], 0.5) if launches else 0.0


@dataclass(frozen=True, slots=True)
class CudaOpsCase:
    """All of them in this process: it holds nothing else, and torch is not imported."""

    name: str = "cuda_ops"
    summary: str = "the CUDA ops by events around graph replays, beside a copy and bare launches"

    def run(self, settings: Settings) -> Iterator[GpuOpRow]:
        """Measure the yardsticks, then verify and measure each op.

        Raises:
            SkippedCaseError: No GPU, or no CUDA kernels.
            WrongAnswerError: An op is not bit-equal to the CPU's; it is not timed.
        """
        from ..gpu_clock import GraphClock

        device = open_gpu()
        try:
            given = with_gpu(settings.provenance)
            seconds = 0.5 if settings.block_s is None else settings.block_s
            clock = GraphClock(device)
            clock.warm_up(min(1.0, seconds))
            known = yardsticks(clock, seconds)
            yield from yardstick_rows(self.name, given, device, known)
            for measured in all_ops():
                yield from measure_op(self.name, given, clock, known, measured, seconds)
            clock.close()
        finally:
            device.close()


def all_ops() -> Iterator[Measured]:
    """What is measured, in the order of the table."""
    from ..gpu_map_ops import AggregateOp, BoxesOp, LocalizeOp
    from ..gpu_resize_op import ResizeOp

    yield Measured(LocalizeOp(MapsShape("all", 1)), written=True, limit_us=LIMIT_US)
    yield Measured(LocalizeOp(MapsShape("all", 64)), written=True, asked_copy_share=COPY_SHARE)
    yield Measured(LocalizeOp(MapsShape("all", 256)))
    yield Measured(LocalizeOp(MapsShape("all", 1, classes=1000)))
    yield Measured(LocalizeOp(MapsShape("all", 64, classes=1000)))
    for form in ("selected", "mean"):
        for images in (1, 64):
            yield Measured(LocalizeOp(MapsShape(form, images)))
    for images in (1, 64):
        yield Measured(AggregateOp(MapsShape("all", images)))
        yield Measured(BoxesOp(MapsShape("all", images)))
    for frame in ((720, 1280), (1080, 1920)):
        yield Measured(ResizeOp(frame, "RGB"))
        yield Measured(ResizeOp(frame, "NV12"))


def yardsticks(clock: GraphClock, seconds: float) -> Yardsticks:
    """A copy within the device, and launches that do nothing."""
    size, copies = clock.copy_times_us(seconds=seconds)
    launches = [
        sorted(clock.launch_times_us(count + 1, seconds=seconds)) for count in range(MAX_LAUNCHES)
    ]
    return Yardsticks(size, sorted(copies), launches)


def yardstick_rows(
    case: str, given: Provenance, device: Device, known: Yardsticks
) -> Iterator[GpuOpRow]:
    """The yardsticks themselves."""
    named = {"copy": (known.copy_us, f"{known.copy_bytes >> 20} MiB", 0, known.copy_bytes)}
    named |= {
        f"launches {count + 1}": (times, f"{count + 1} in a row", count + 1, 0)
        for count, times in enumerate(known.launch_us)
    }
    for name, (times, shape, launches, size) in named.items():
        yield GpuOpRow(
            case=case,
            provenance=given,
            device=device.name,
            op=name.split()[0],
            shape=shape,
            cache="cold",
            verified="",
            **_percentiles(times),
            launches=launches,
            input_bytes=size,
            moved_bytes=2 * size,
            rotated_bytes=size,
            copy_gb_per_s=rounded(known.copy_gb_per_s),
            launch_floor_us=rounded(known.launch_floor_us(launches)),
        )


def measure_op(
    case: str,
    given: Provenance,
    clock: GraphClock,
    known: Yardsticks,
    measured: Measured,
    seconds: float,
    **sizes: int,
) -> Iterator[GpuOpRow]:
    """Verify one op, then time it on cold inputs, in a chain, and on inputs just written.

    Raises:
        WrongAnswerError: Before anything is timed.
    """
    op = measured.op
    op.open(clock, **sizes)
    try:
        verified = op.verify()
        graphs = [clock.capture(lambda at=at: op.enqueue(at)) for at in range(op.inputs.count)]
        chained = min(CHAIN, op.inputs.count)
        chain = clock.capture(lambda: _enqueue_all(op, chained))
        chain_us = percentile(sorted(clock.times_us([chain], seconds=seconds)), 0.5) / chained
        times = {"cold": clock.times_us(graphs, seconds=seconds)}
        if measured.written:
            times["just written"] = clock.times_us(graphs, seconds=seconds, touch=op.inputs.rewrite)
        for graph in (*graphs, chain):
            graph.free()
    finally:
        op.close()
    for cache, taken in times.items():
        yield GpuOpRow(
            case=case,
            provenance=given,
            device=clock.device.name,
            op=op.name,
            shape=op.title,
            cache=cache,
            verified=verified,
            **_percentiles(sorted(taken)),
            chain_us=rounded(chain_us) if cache == "cold" else None,
            launches=op.work.launches,
            input_bytes=op.work.input_bytes,
            moved_bytes=op.work.moved_bytes,
            rotated_bytes=op.inputs.read_bytes,
            copy_gb_per_s=rounded(known.copy_gb_per_s),
            launch_floor_us=rounded(known.launch_floor_us(op.work.launches)),
            limit_us=measured.limit_us,
            asked_copy_share=measured.asked_copy_share if cache == "cold" else None,
        )


def _enqueue_all(op: GpuOp, count: int) -> None:
    for at in range(count):
        op.enqueue(at)


def _percentiles(times: Sequence[float]) -> dict[str, int | float]:
    """Of times in ascending order."""
    return {
        "replays": len(times),
        "p50_us": rounded(percentile(times, 0.50)),
        "p90_us": rounded(percentile(times, 0.90)),
        "p99_us": rounded(percentile(times, 0.99)),
    }


CASE = CudaOpsCase()
