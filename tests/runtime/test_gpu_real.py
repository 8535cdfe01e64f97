"""Localizer on a real plan on a real GPU, held against the CPU; and the same on a pretended one,
so that these tests themselves are known to work where there is no GPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
import torch

from bas_edge import Localization, Localizer
from bas_edge.backends._cuda import open_device
from bas_edge.metrics.iou import aligned_iou
from benchmarks.cases.resize_frame import example_frame
from benchmarks.models import load_model, write_engine
from benchmarks.torch_network import TorchNetwork

REPOSITORY = Path(__file__).resolve().parents[2]
SIZES = [(48, 64), (64, 48), (40, 40), (96, 70)]
TINY_CELLS = (8, 8)


class Place(NamedTuple):
    """Where networks run, and how often.

    Attributes:
        open_tiny: Opens an ONNX file of `tests/graphs.py`.
        open_exported: Opens the engine of `benchmarks.models` in a folder.
        pictures: Frames of a camera's size that it is given.
    """

    open_tiny: Callable[..., Localizer]
    open_exported: Callable[..., Localizer]
    pictures: int
    frames: int
    cycles: int


@pytest.fixture(params=["pretended", pytest.param("real", marks=pytest.mark.gpu)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "real":
        yield _real(request, tmp_path)
        return
    machine = request.getfixturevalue("gpu")

    def open_model(model: Path, **options: Any) -> Localizer:
        engine = model.with_suffix(".pretended")
        if not engine.exists():
            machine.bundle(model, engine)
        return Localizer(engine, **options)

    yield Place(open_model, lambda work, **o: open_model(work / "edge.onnx", **o), 2, 6, 3)


def _real(request: pytest.FixtureRequest, folder: Path) -> Place:
    real_gpu: ModuleType = request.getfixturevalue("real_gpu")
    graphs: ModuleType = request.getfixturevalue("graphs")
    serving = real_gpu.find_serving(graphs.tiny_onnx(folder / "probe.onnx"), folder)
    print(serving)

    def tiny(manifest: Any) -> Any:
        weights = graphs.colour_weights(len(manifest.classes))
        return real_gpu.TinyNetwork(manifest, weights, "cuda")

    def open_tiny(model: Path, **options: Any) -> Localizer:
        opened: Localizer = real_gpu.open_localizer(serving, model, TINY_CELLS, tiny, **options)
        return opened

    def open_exported(work: Path, **options: Any) -> Localizer:
        def network(manifest: Any) -> Any:
            exact = TorchNetwork(load_model(work, "edge").cuda(), manifest, torch.float32)

            def run(frames: torch.Tensor) -> Any:
                with torch.backends.cudnn.flags(allow_tf32=False):
                    return exact(frames)

            return run

        opened: Localizer = real_gpu.open_localizer(
            serving, work / "edge.onnx", (28, 28), network, **options
        )
        return opened

    return Place(open_tiny, open_exported, 6, 1000, 100)


@pytest.fixture
def frames(graphs: ModuleType) -> list[np.ndarray]:
    """A coloured rectangle on black, in different sizes, places and colours."""
    colours = [(250, 20, 20), (20, 250, 20), (20, 20, 250)]
    return [
        graphs.coloured_frame((h, w), (w // 4, h // 4, w // 2 + at, h - 9), colours[at % 3])
        for at, (h, w) in enumerate(SIZES)
    ]


def assert_close(got: list[Localization], expected: list[Localization], iou: float) -> None:
    assert [found.label for found in got] == [found.label for found in expected]
    assert [found.found for found in got] == [found.found for found in expected]
    boxes, others = (np.array([f.box for f in side], np.float64) for side in (got, expected))
    assert aligned_iou(boxes, others).min() >= iou
    for a, b in zip(got, expected, strict=True):
        assert a.score == pytest.approx(b.score, abs=2e-2)  # a float32 plan may use TF32


@pytest.mark.parametrize("maps", ["all", "selected"])
def test_boxes_and_labels_are_those_of_the_cpu(
    place: Place,
    tmp_path: Path,
    tiny_onnx: Callable[..., Path],
    frames: list[np.ndarray],
    maps: str,
) -> None:
    model = tiny_onnx(tmp_path / "m.onnx", maps=maps, classes=tuple("abcde"), top_k=1)
    with place.open_tiny(model) as on_gpu, Localizer(model, backend="onnxruntime") as on_cpu:
        expected = on_cpu.run_batch(frames)
        for _ in range(5):  # step by step, captured, replayed; on both slots
            assert_close([on_gpu.run(frame) for frame in frames], expected, 0.98)
            assert_close(on_gpu.run_batch(frames), expected, 0.98)


def test_an_exported_model_gives_the_boxes_of_the_cpu(place: Place, tmp_path: Path) -> None:
    write_engine(tmp_path, "edge")
    frames = [example_frame(seed) for seed in range(place.pictures)]
    with (
        place.open_exported(tmp_path) as on_gpu,
        Localizer(tmp_path / "edge.engine", backend="onnxruntime") as on_cpu,
    ):
        expected = on_cpu.run_batch(frames)
        for _ in range(3):
            assert_close([on_gpu.run(frame) for frame in frames], expected, 0.97)


def test_eight_clones_in_eight_threads_give_what_one_thread_gives(
    place: Place, tmp_path: Path, tiny_onnx: Callable[..., Path], frames: list[np.ndarray]
) -> None:
    original = place.open_tiny(tiny_onnx(tmp_path / "m.onnx", top_k=2))
    expected = [original.run(frame) for frame in frames]
    twins = [original.clone() for _ in range(8)]
    original.close()

    def work(at: int) -> int:
        same = 0
        with twins[at] as mine:
            for turn in range(place.frames):
                which = (at + turn) % len(frames)
                got, want = mine.run(frames[which]), expected[which]
                same += (got.box, got.label, got.found) == (want.box, want.label, want.found)
        return same

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [place.frames] * 8


def free_bytes() -> int:
    device = open_device()
    try:
        return device.memory_bytes()[0]
    finally:
        device.close()


def test_the_gpus_memory_does_not_grow(
    place: Place, tmp_path: Path, tiny_onnx: Callable[..., Path], frames: list[np.ndarray]
) -> None:
    with place.open_tiny(tiny_onnx(tmp_path / "m.onnx", top_k=2)) as localizer:
        for turn in range(40):
            localizer.run(frames[turn % len(frames)])
        before = free_bytes()
        for turn in range(place.frames // 2):
            localizer.run(frames[turn % len(frames)])
        assert before - free_bytes() <= 4 << 20


def test_opening_and_closing_leaves_nothing_behind(
    place: Place, tmp_path: Path, tiny_onnx: Callable[..., Path], frames: list[np.ndarray]
) -> None:
    model = tiny_onnx(tmp_path / "m.onnx", top_k=2)
    before, boxes = 0, set()
    for cycle in range(place.cycles):
        with place.open_tiny(model) as localizer:
            boxes |= {localizer.run(frames[0]).box for _ in range(3)}
        if cycle == place.cycles // 10:
            before = free_bytes()
    assert before - free_bytes() <= 16 << 20  # less than 200 KiB a cycle
    assert len(boxes) == 1


CHILD = """
import sys
sys.path[:0] = [{root!r}, {root!r} + "/training", {tests!r}]
from pathlib import Path
import numpy as np
import graphs, real_gpu
folder = Path({folder!r})
model = graphs.tiny_onnx(folder / "m.onnx")
serving = real_gpu.find_serving(model, folder)
tiny = lambda m: real_gpu.TinyNetwork(m, graphs.colour_weights(3), "cuda")
localizer = real_gpu.open_localizer(serving, model, (8, 8), tiny)
twin = localizer.clone()
for _ in range(5):
    localizer.run(np.zeros((40, 50, 3), np.uint8))
ticket = twin.submit(np.zeros((40, 50, 3), np.uint8))
print("ran")
"""


@pytest.mark.gpu
@pytest.mark.parametrize(
    "ending",
    [
        "",
        "localizer.close()",
        "sys.exit(0)",
        "cycle = [twin]; cycle.append(cycle); del twin",
    ],
)
def test_a_process_ends_cleanly_however_it_ends(tmp_path: Path, ending: str) -> None:
    script = CHILD.format(
        root=str(REPOSITORY), tests=str(REPOSITORY / "tests"), folder=str(tmp_path)
    )
    command = [sys.executable, "-c", script + ending]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("ran\n", "", 0)


@pytest.mark.parametrize("maps", ["all", "selected"])
def test_the_tiny_network_of_torch_is_that_of_the_graph(
    tmp_path: Path,
    graphs: ModuleType,
    real_gpu: ModuleType,
    tiny_onnx: Callable[..., Path],
    maps: Any,
) -> None:
    classes = tuple("abcde")
    manifest = graphs.tiny_manifest(maps=maps, classes=classes)
    network = real_gpu.TinyNetwork(manifest, graphs.colour_weights(5), "cpu")
    session = onnxruntime.InferenceSession(tiny_onnx(tmp_path / "m", maps=maps, classes=classes))
    given = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    got = network(torch.from_numpy(given))
    names = [node.name for node in session.get_outputs()]
    assert set(got) == set(names)
    for name, expected in zip(names, session.run(names, {"frames": given}), strict=True):
        np.testing.assert_allclose(got[name].numpy(), expected, rtol=1e-4, atol=1e-4)
