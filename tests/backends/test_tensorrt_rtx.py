"""Real builds with TensorRT for RTX, which needs no GPU for them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from bas_edge.backends import plan_builder
from bas_edge.backends._plan_header import read_header
from bas_edge.backends._tensorrt_build import BuildRequest, BuiltPlan
from bas_edge.errors import BackendError, InputError

pytestmark = pytest.mark.rtx


def build(path: Path, *, targets: Sequence[str] = (), **options: Any) -> BuiltPlan:
    builder = plan_builder("tensorrt_rtx", targets=tuple(targets))
    return builder.build(BuildRequest(path, "frames", (32, 32, 3), **options))


@pytest.fixture(scope="module")
def version() -> str:
    import tensorrt_rtx

    return str(tensorrt_rtx.__version__)


@pytest.mark.parametrize("batches", [(1, 1, 8), (1, 4, 4), (4, 4, 4)])
@pytest.mark.parametrize("maps", ["all", "selected", "mean"])
def test_every_form_of_maps_builds_for_any_batch(
    tmp_path: Path,
    tiny_onnx: Callable[..., Path],
    version: str,
    maps: str,
    batches: tuple[int, int, int],
) -> None:
    path = tiny_onnx(tmp_path / "m.onnx", maps=maps, classes=("a", "b", "c", "d"))
    least, best, most = batches
    built = build(path, min_batch=least, opt_batch=best, max_batch=most)
    header = read_header(built.plan)
    assert (header.backend, header.version) == ("tensorrt_rtx", version)
    assert built.plan[:4] == b"vtrt"
    assert tuple(built.plan[24:28]) == tuple(map(int, version.split(".")))
    assert built.library_version == version
    assert built.layers >= len(onnx.load(path).graph.node)
    assert len(built.plan) > 100_000
    assert built.seconds > 0
    assert built.peak_bytes > len(built.plan) or not Path("/proc/self/status").exists()


def test_targets_change_the_plan(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> None:
    path = tiny_onnx(tmp_path / "m.onnx")
    choices = [(), ("sm_75",), ("sm_86",), ("sm_75", "sm_86", "sm_120")]
    plans = [build(path, targets=targets).plan for targets in choices]
    assert len({plan[:HEADER] for plan in plans}) == len(plans)


HEADER = 64


def test_the_order_of_targets_does_not_matter() -> None:
    builder = plan_builder("tensorrt_rtx", targets=("sm_120", "sm_86", "sm_86"))
    assert builder.targets == ("sm_86", "sm_120")
    assert [each.name for each in builder.capabilities] == ["SM86", "SM120"]
    assert plan_builder("tensorrt_rtx").targets == ("sm_80", "sm_86", "sm_89", "sm_120+")


@pytest.mark.parametrize("target", ["sm_90", "sm_87", "sm_1"])
def test_a_target_that_is_not_listed(target: str, version: str) -> None:
    with pytest.raises(InputError) as caught:
        plan_builder("tensorrt_rtx", targets=(target, "sm_86"))
    assert str(caught.value).startswith(
        f"TensorRT-RTX {version} cannot build for {target}; it can for sm_75, sm_80, sm_86, "
    )


def test_what_is_for_tensorrt_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--hardware-compat ampere_plus is for TensorRT"):
        plan_builder("tensorrt_rtx", hardware_compat="ampere_plus")
    notes: list[str] = []
    builder = plan_builder("tensorrt_rtx", timing_cache=tmp_path / "times", note=notes.append)
    assert builder.timing_cache is None
    assert notes == [
        "A timing cache has no effect on TensorRT-RTX, so --timing-cache is left alone."
    ]


def wide(path: Path, element: type[np.floating[Any]]) -> Path:
    """A graph of 4.7 million real weights, in float32 or float16, uint8 in and float32 out."""
    generator = np.random.default_rng(1)
    half = element is np.float16
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(element))
    nodes = [
        helper.make_node("Cast", ["frames"], ["x"], to=kind),
        helper.make_node("Transpose", ["x"], ["y0"], perm=[0, 3, 1, 2]),
    ]
    weights, channels = [], [3, 512, 512, 512]
    for at in range(3):
        values = generator.normal(0, 0.05, (channels[at + 1], channels[at], 3, 3)).astype(element)
        weights.append(numpy_helper.from_array(values, f"w{at}"))
        nodes.append(helper.make_node("Conv", [f"y{at}", f"w{at}"], [f"y{at + 1}"], strides=[2, 2]))
    nodes.append(helper.make_node("GlobalAveragePool", ["y3"], ["p"]))
    nodes.append(
        helper.make_node(
            "Cast" if half else "Identity", ["p"], ["logits"], **{"to": 1} if half else {}
        )
    )
    frames = helper.make_tensor_value_info("frames", onnx.TensorProto.UINT8, ["N", 32, 32, 3])
    logits = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", 512, 1, 1])
    graph = helper.make_graph(nodes, "wide", [frames], [logits], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_float16_halves_the_plan(tmp_path: Path) -> None:
    single = build(wide(tmp_path / "single.onnx", np.float32)).plan
    half = build(wide(tmp_path / "half.onnx", np.float16), precision="fp16").plan
    assert len(single) > 4 * 4.7e6
    assert len(half) < 0.65 * len(single)


# Progress and Ctrl-C


def test_progress_reaches_the_end(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> None:
    said: list[tuple[str, float]] = []
    builder = plan_builder("tensorrt_rtx")
    request = BuildRequest(tiny_onnx(tmp_path / "m.onnx"), "frames", (32, 32, 3))
    builder.build(request, on_progress=lambda *each: said.append(each))
    shares = [share for _, share in said]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert len(set(shares)) > 20
    assert len({phase for phase, _ in said}) > 3


def test_ctrl_c_stops_a_real_build(tmp_path: Path) -> None:
    """In a process of its own, with a real signal to the main thread."""
    path = wide(tmp_path / "m.onnx", np.float32)
    code = f"""
import signal, sys, threading
from bas_edge.backends import plan_builder
from bas_edge.backends._tensorrt_build import BuildRequest
from bas_edge.backends._tensorrt_progress import BuildProgress
seen, real, after = threading.Event(), BuildProgress.cancel, []
def cancel(self):
    real(self); seen.set()
BuildProgress.cancel = cancel
def progress(phase, share):
    after.append(share)
    if len(after) == 5:
        signal.raise_signal(signal.SIGINT)
        seen.wait(30)
try:
    request = BuildRequest({str(path)!r}, "frames", (32, 32, 3))
    plan_builder("tensorrt_rtx").build(request, on_progress=progress)
except KeyboardInterrupt:
    sys.exit(0 if len(after) == 5 else 3)
sys.exit(4)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_build_in_another_thread_works(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> None:
    path, plans = tiny_onnx(tmp_path / "m.onnx"), list[bytes]()
    thread = threading.Thread(target=lambda: plans.append(build(path).plan))
    thread.start()
    thread.join()
    assert plans[0][:4] == b"vtrt"


# Graphs that the parser refuses


def damaged(graphs: ModuleType, path: Path, damage: Callable[[onnx.ModelProto], None]) -> Path:
    model = graphs.tiny_model(graphs.tiny_manifest())
    damage(model)
    saved: Path = graphs.save(path, model, None)
    return saved


def transpose_first(model: onnx.ModelProto) -> None:
    cast, transpose = model.graph.node[0], model.graph.node[1]
    cast.input[0], cast.output[0], transpose.input[0], transpose.output[0] = (
        "turned", "planes", "frames", "turned",
    )  # fmt: skip
    transpose.name = "turn"
    order = [transpose, cast, *list(model.graph.node)[2:]]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in order]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def integer_bias(model: onnx.ModelProto) -> None:
    for name, value in {"bq": np.full(3, -10, np.int32), "bs": np.float32(1)}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    for node in model.graph.node:
        if node.op_type == "Conv" and len(node.input) == 3:
            node.input[2] = "bdq"
    dequantize = helper.make_node("DequantizeLinear", ["bq", "bs"], ["bdq"], name="the bias")
    model.graph.node.insert(0, dequantize)


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[2].op_type, model.graph.node[2].name = "NoSuchOperator", "scale it"


REFUSED = [
    (transpose_first, r"node 0 'turn' \(Transpose\): .*UInt8", "into a Cast first"),
    (integer_bias, r"'the bias' \(DequantizeLinear\): .*Int32", "whose biases are int32"),
    (unknown_operator, r"node 2 'scale it' \(NoSuchOperator\)", "no such operator"),
]


@pytest.mark.parametrize(
    ("damage", "message", "hint"), REFUSED, ids=lambda v: getattr(v, "__name__", "")
)
def test_a_refused_graph_names_the_node_and_what_to_do(
    tmp_path: Path,
    graphs: ModuleType,
    damage: Callable[[onnx.ModelProto], None],
    message: str,
    hint: str,
) -> None:
    with pytest.raises(BackendError, match=message) as caught:
        build(damaged(graphs, tmp_path / "m.onnx", damage))
    assert hint in str(caught.value.hint)


def test_a_file_that_is_no_graph(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"text")
    with pytest.raises(BackendError, match=r"reads the inputs none in .*m\.onnx|cannot read"):
        build(tmp_path / "m.onnx")
    with pytest.raises(BackendError, match=r"none\.onnx"):
        build(tmp_path / "none.onnx")


# Loading


def test_a_plan_that_cannot_be_loaded_is_an_error_with_the_last_words(
    tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    """Whether or not there is a driver: never an empty engine."""
    plan = bytearray(build(tiny_onnx(tmp_path / "m.onnx")).plan)
    plan[:64] = b"x" * 64
    (tmp_path / "x.plan").write_bytes(plan)
    code = f"""
import sys, tensorrt_rtx
from contextlib import nullcontext
from types import SimpleNamespace
from bas_edge.backends._tensorrt_common import load_plan
from bas_edge.errors import BackendError
plan = open({str(tmp_path / "x.plan")!r}, "rb").read()
device = SimpleNamespace(name="Test", compute_capability=(8, 6), current=nullcontext)
try:
    load_plan(tensorrt_rtx, plan, source="x.plan", rebuild="again", device=device)
except BackendError as error:
    said = "refuses the plan x.plan on this Test (sm_86). It finds: malformed engine."
    assert said + " Its last words:" in str(error), error
    assert error.hint == "Build it again here: again"
    print("refused", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "refused\n", done.stderr
