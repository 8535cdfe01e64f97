"""Torch in the place of TensorRT: on streams and memory of a pretended GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest
import torch

from bas_edge import Localizer, build_engine, ops
from bas_edge.backends._cuda import open_device
from bas_edge.backends.base import DevicePlan
from bas_edge.device_runner import DeviceRunner, SharedPlan
from bas_edge.engine.contract import check_graph
from bas_edge.engine.manifest import Manifest
from bas_edge.errors import BackendError, InputError
from bas_edge.framing import place
from bas_edge.runner import RunOptions, Shot
from bas_edge_training.models import BasModel, ModelConfig, build_model
from benchmarks import gpu_network
from benchmarks.torch_network import TorchNetwork, specs_of
from benchmarks.torch_plan import Network, TorchPlan


class QueuedTorch:
    """Torch on the CPU, whose work waits in a stream of the fake driver."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda

    def tensor(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> torch.Tensor:
        size = int(np.prod(shape)) * dtype.itemsize
        return torch.from_numpy(self._cuda.view(address, size).view(dtype).reshape(shape))

    def run(self, stream: int, work: Callable[[], None]) -> None:
        self._cuda.enqueue(stream, work)


class BrokenTorch(QueuedTorch):
    def run(self, *_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def make_plan(
    gpu: Any, network: Network, manifest: Manifest, cells: tuple[int, int], batch: int = 2
) -> TorchPlan:
    return TorchPlan(
        network,
        open_device(),
        specs_of(manifest, cells),
        batches=(1, 1, batch),
        new_runner=lambda: QueuedTorch(gpu.cuda),
    )


@pytest.fixture
def model() -> BasModel:
    torch.manual_seed(0)
    made = build_model(ModelConfig(width=0.125, num_classes=5, input_size=64)).eval()
    torch.nn.init.normal_(made.generator.conv.weight, std=2.0)
    torch.nn.init.normal_(made.head.classifier.weight, std=1.0)
    made.set_shift(3)
    return made


@pytest.mark.parametrize("maps", ["all", "selected"])
def test_the_runtime_runs_on_it(gpu: Any, graphs: ModuleType, model: BasModel, maps: Any) -> None:
    """Its own resize, kernels and captures around torch; the same answers as step by step."""
    manifest = graphs.tiny_manifest(maps=maps, classes=tuple("abcde"), top_k=2, size=(64, 64))
    network = TorchNetwork(model, manifest, torch.float32)
    plan = make_plan(gpu, network, manifest, (8, 8))
    check_graph(plan.inputs, plan.outputs, manifest)
    options = RunOptions(manifest, manifest.threshold, top_k=2, max_boxes=1, boxes_only=False)
    frames = [np.random.default_rng(i).integers(0, 256, (90, 70, 3), np.uint8) for i in range(3)]
    runner = DeviceRunner(SharedPlan(plan), options)
    for turn in range(6):  # step by step, captured and replayed, on both slots
        frame = frames[turn % 3]
        shot = Shot(frame, False, place(frame.shape[:2], manifest.input))
        (answer, again), _ = runner.submit([shot, shot]).result()

        with torch.inference_mode():
            small = torch.from_numpy(ops.resize_frame(frame, (64, 64))).permute(2, 0, 1)[None]
            logits, every = (tensor.numpy() for tensor in model(small))
        foreground = ops.aggregate_maps(every, logits, 2)
        assert answer.label == again.label == logits.argmax()
        np.testing.assert_allclose(answer.foreground, foreground[0], atol=1e-5)
        boxes = ops.maps_to_boxes(answer.foreground[None], (64, 64), manifest.threshold.value)
        assert answer.boxes == again.boxes == (tuple(boxes.boxes[0, 0].tolist()),)
    assert runner.graphs_refused == ""
    runner.close()


def test_float16_stays_inside(model: BasModel, graphs: ModuleType) -> None:
    manifest = graphs.tiny_manifest(maps="selected", classes=tuple("abcde"), size=(64, 64))
    frames = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        exact = TorchNetwork(model, manifest, torch.float32)(frames)
        half = TorchNetwork(model, manifest)(frames)
    assert {n: t.dtype for n, t in half.items()} == {
        "logits": torch.float32,
        "classes": torch.int32,
        "maps": torch.float32,
    }
    assert next(model.parameters()).dtype == torch.float16
    scale = exact["logits"].abs().max()
    assert 0 < (half["logits"] - exact["logits"]).abs().max() < 0.02 * scale


def test_a_batch_outside_the_profile_and_a_closed_context(gpu: Any, graphs: ModuleType) -> None:
    plan = make_plan(gpu, lambda _: {}, graphs.tiny_manifest(), (8, 8))
    context, stream = plan.context(), plan.device.stream()
    with pytest.raises(InputError, match="batch is 3, but this plan takes 1 to 2"):
        context.enqueue({}, 3, stream)
    context.close()
    with pytest.raises(BackendError, match="closed"):
        context.enqueue({}, 1, stream)
    stream.free()
    plan.close()


def test_what_torch_says_is_an_error_of_the_backend(gpu: Any, graphs: ModuleType) -> None:
    manifest = graphs.tiny_manifest()
    plan = make_plan(gpu, lambda _: {}, manifest, (8, 8))
    plan._new_runner = lambda: BrokenTorch(gpu.cuda)
    specs = (*plan.inputs, *plan.outputs)
    buffers = {spec.name: plan.device.buffer(1 << 16) for spec in specs}
    stream = plan.device.stream()
    with pytest.raises(BackendError, match=r"torch .* failed: CUDA out of memory"):
        plan.context().enqueue({n: b.address for n, b in buffers.items()}, 1, stream)
    stream.free()
    plan.close()


def test_a_localizer_opens_on_it(
    gpu: Any, tmp_path: Path, tiny_onnx: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`open_ours` where no TensorRT serves, with ONNX Runtime as the network."""
    model = tiny_onnx(tmp_path / "m.onnx", top_k=2)
    build_engine(model, tmp_path / "edge.engine")
    choice = gpu_network.GpuNetwork(backend="torch", version="2", said="no TensorRT")
    (tmp_path / "gpu-network.json").write_bytes(msgspec.json.encode(choice))
    session = onnxruntime.InferenceSession(model)

    def network(frames: torch.Tensor) -> Mapping[str, torch.Tensor]:
        names = [node.name for node in session.get_outputs()]
        values = session.run(names, {"frames": frames.numpy()})
        return {name: torch.from_numpy(v) for name, v in zip(names, values, strict=True)}

    def torch_plan(_: Path, manifest: Manifest, batch: int) -> DevicePlan:
        return make_plan(gpu, network, manifest, (8, 8), batch)

    monkeypatch.setattr(gpu_network, "_torch_plan", torch_plan)
    frames = [np.random.default_rng(i).integers(0, 256, (40, 60, 3), np.uint8) for i in range(5)]
    with (
        gpu_network.open_ours(tmp_path, 2) as ours,
        Localizer(tmp_path / "edge.engine") as on_cpu,
    ):
        assert ours.backend_name == "torch"
        for _ in range(3):
            found = ours.run_batch(frames)
            assert [f.box for f in found] == [f.box for f in on_cpu.run_batch(frames)]


def test_without_any_tensorrt_torch_is_chosen_and_each_says_why(tmp_path: Path) -> None:
    """Real processes: one has no library, or a graph that is not there."""
    chosen = gpu_network.choose(tmp_path)
    assert chosen.backend == "torch"
    assert chosen.version == torch.__version__
    for backend in ("tensorrt: ", "tensorrt_rtx: "):
        assert backend in chosen.said
    assert "edge.onnx" in chosen.said or "which is not installed" in chosen.said
    assert gpu_network.choose(tmp_path) == gpu_network.read_choice(tmp_path) == chosen
