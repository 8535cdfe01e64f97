"""The measurements of single ops, on a pretended GPU with the real kernels, emulated."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bas_edge.backends._cuda import open_device
from bas_edge.backends.device import Device
from benchmarks import gpu_clock
from benchmarks.__main__ import main
from benchmarks.cases import cuda_ops
from benchmarks.cases.cuda_ops import Measured, all_ops, measure_op, yardstick_rows, yardsticks
from benchmarks.gpu_clock import GraphClock
from benchmarks.gpu_counts import MapsShape
from benchmarks.gpu_map_ops import AggregateOp, BoxesOp, LocalizeOp
from benchmarks.gpu_op import GpuOp
from benchmarks.gpu_resize_op import ResizeOp
from benchmarks.harness import WorkerError, WrongAnswerError
from benchmarks.rows import GpuOpRow, append_row, missed_targets, read_rows
from benchmarks.tables import page_with_rows, row_line
from benchmarks.timings import Provenance

FLUSH_BYTES = 64


def small(form: str, images: int = 2) -> MapsShape:
    return MapsShape(form, images, classes=4, top_k=2, size=(24, 33))


OPS: dict[str, GpuOp] = {
    "all": LocalizeOp(small("all")),
    "one image": LocalizeOp(small("all", 1)),
    "selected": LocalizeOp(small("selected")),
    "mean": LocalizeOp(small("mean")),
    "aggregate": AggregateOp(small("all")),
    "boxes": BoxesOp(small("all")),
    "RGB": ResizeOp((40, 50), "RGB", (16, 16)),
    "NV12": ResizeOp((41, 51), "NV12", (16, 16)),
}


@pytest.fixture
def device(gpu: Any) -> Iterator[Device]:
    opened = open_device()
    yield opened
    opened.close()


@pytest.fixture
def clock(device: Device, monkeypatch: pytest.MonkeyPatch) -> Iterator[GraphClock]:
    monkeypatch.setattr(gpu_clock, "_PAIRS", 3)  # emulated kernels are slow
    made = GraphClock(device, flush_bytes=FLUSH_BYTES)
    yield made
    made.close()


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_an_op_is_held_against_the_cpu_and_timed(
    clock: GraphClock, provenance: Provenance, op: GpuOp
) -> None:
    known = yardsticks(clock, 0.0)
    measured = Measured(op, written=True)
    cold, written = measure_op(
        "toy", provenance, clock, known, measured, 0.0, rotated_bytes=3 * op.work.input_bytes
    )
    assert (cold.cache, written.cache) == ("cold", "just written")
    assert cold.verified == "bits of the CPU ops on 3 inputs"
    assert cold.rotated_bytes == 3 * cold.input_bytes
    assert cold.replays >= 3
    assert cold.p50_us > 0
    assert cold.chain_us is not None
    assert (cold.launches, cold.moved_bytes) == (op.work.launches, op.work.moved_bytes)


@pytest.mark.parametrize("op", [OPS["all"], OPS["aggregate"], OPS["boxes"], OPS["NV12"]])
def test_a_wrong_bit_is_never_timed(clock: GraphClock, op: GpuOp) -> None:
    op.open(clock, rotated_bytes=1)
    for array in op.inputs.content(1).values():
        array[...] = array[..., ::-1].copy()  # the CPU sees another picture than the GPU
    with pytest.raises(WrongAnswerError, match=f"{op.name} .*differ from the CPU's on input"):
        op.verify()
    op.close()


def test_the_yardsticks_are_rows_too(
    clock: GraphClock, device: Device, provenance: Provenance, tmp_path: Path
) -> None:
    known = yardsticks(clock, 0.0)
    rows = list(yardstick_rows("toy", provenance, device, known))
    assert [row.op for row in rows] == ["copy"] + ["launches"] * 4
    copy = rows[0]
    assert copy.input_bytes == 4 * FLUSH_BYTES
    assert copy.copy_share == pytest.approx(0.5, rel=1e-3)  # its input is half of what it moves
    for row in rows:
        append_row(row, tmp_path)
    assert read_rows(tmp_path) == rows
    assert (tmp_path / "gpu_ops.jsonl").is_file()


def test_launches_wait_for_one_another_in_one_graph(gpu: Any, clock: GraphClock) -> None:
    graphs: list[int] = []
    launch = gpu.cuda.cuGraphLaunch

    def watched(executable: int, stream: int) -> None:
        graphs.append(len(gpu.cuda.queues.executables[executable]))
        launch(executable, stream)

    gpu.cuda.cuGraphLaunch = watched
    clock.launch_times_us(3, seconds=0.0)
    assert set(graphs) == {3}


def test_a_time_that_holds_the_hosts_work_is_thrown_away(clock: GraphClock) -> None:
    clock.stream.synchronize()
    graph = clock.capture(lambda: clock.stream.copy(*(b.address for b in clock._scratch), 1))
    for start, _ in clock._pairs:
        start.is_done = lambda: True
    with pytest.raises(WorkerError, match="cannot queue work as fast"):
        clock.times_us([graph], seconds=0.0)
    graph.free()


@pytest.mark.parametrize("gpu", [{"memory_bytes": 1 << 20}], indirect=True)
def test_the_case_leaves_its_rows(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a user runs it, on a GPU whose memory has room for few inputs."""
    monkeypatch.setattr(gpu_clock, "_PAIRS", 3)
    monkeypatch.setattr(gpu_clock, "GraphClock", partial(GraphClock, flush_bytes=FLUSH_BYTES))
    never_met = Measured(OPS["all"], limit_us=1e-3)
    monkeypatch.setattr(cuda_ops, "all_ops", lambda: [never_met, Measured(OPS["RGB"])])
    assert main(["run", "cuda_ops", "--block-s", "0", "--results", str(tmp_path)]) == 1
    rows = read_rows(tmp_path)
    assert [row.op for row in rows if isinstance(row, GpuOpRow)] == [
        *("copy", "launches", "launches", "launches", "launches", "localize_maps", "resize_frame")
    ]
    assert rows[-1].provenance.conditions["gpu"]["name"] == "Fake GPU"
    assert rows[-1].provenance.command == "python -m benchmarks run cuda_ops --blocks 5 --block-s 0"
    said = capsys.readouterr()
    assert "missed: cuda_ops: localize_maps (all, N=2, C=4, k=2, cold): " in said.err
    shown = page_with_rows("<!-- rows: gpu_ops -->\n<!-- end of rows -->", rows)
    assert "Fake GPU (target sm_87, " in shown


def test_what_is_measured_is_what_was_asked_for() -> None:
    measured = list(all_ops())
    limits = {m.op.title: m.limit_us for m in measured if m.limit_us}
    shares = {m.op.title: m.asked_copy_share for m in measured if m.asked_copy_share}
    assert limits == {"all, N=1, C=200, k=80": 20.0}
    assert shares == {"all, N=64, C=200, k=80": 0.6}
    assert {m.op.name for m in measured} == {
        "aggregate_maps",
        "localize_maps",
        "maps_to_boxes",
        "resize_frame",
    }


@pytest.fixture
def op_row(provenance: Provenance) -> GpuOpRow:
    return GpuOpRow(
        case="cuda_ops",
        provenance=provenance,
        device="Toy GPU",
        op="localize_maps",
        shape="all, N=64",
        cache="cold",
        verified="bits of the CPU ops on 4 inputs",
        replays=100,
        p50_us=25.0,
        p90_us=26.0,
        p99_us=30.0,
        chain_us=20.0,
        launches=4,
        input_bytes=25_000_000,
        moved_bytes=30_000_000,
        rotated_bytes=100_000_000,
        copy_gb_per_s=2000.0,
        launch_floor_us=8.0,
        limit_us=20.0,
        asked_copy_share=0.6,
    )


def test_rows_say_how_far_they_are_from_the_floors(op_row: GpuOpRow) -> None:
    assert (op_row.gb_per_s, op_row.copy_share, op_row.bytes_floor_us) == (1000.0, 0.5, 15.0)
    assert missed_targets(op_row) == [
        "cuda_ops: localize_maps (all, N=64, cold): 25 µs, at most 20 µs asked",
        "cuda_ops: localize_maps (all, N=64, cold): 50 % of a copy's bandwidth, 60 % asked",
    ]
    assert row_line(op_row) == "localize_maps (all, N=64, cold): 25 µs, 50 % of a copy"


def test_the_table_of_ops(op_row: GpuOpRow) -> None:
    page = "<!-- rows: gpu_ops -->\n<!-- end of rows -->"
    shown = page_with_rows(page, [op_row])
    line = (
        "| `localize_maps` | all, N=64 | cold | 25 (p90 26, p99 30) | 20 | 15 | 4: 8 | 1,000 "
        "| 50 % | ≤ 20 µs |"
    )
    assert line in shown
    assert "bits of the CPU ops on 4 inputs; 100 MB of input in turn." in shown
    empty = page_with_rows(page, [])
    assert "\nNot measured yet: no GPU was at hand.\n" in empty
