"""The build against the recorded API of TensorRT 8.6, 10.3 and 11.4: no name that they lack."""

from __future__ import annotations

import signal
import threading
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bas_edge.backends._driver import Gpu
from bas_edge.backends._tensorrt_build import BuildRequest, build_plan, hardware_level
from bas_edge.backends._tensorrt_common import load_plan
from bas_edge.errors import BackendError, InputError

GENERATIONS = ["8.6", "10", "11"]
REQUEST = BuildRequest("m.onnx", "frames", (8, 8, 3))
PLAN = b"ftrt" + bytes(100)
GPU = Gpu("NVIDIA Test", (8, 7), "540.4.0", "12.6")
DEVICE: Any = SimpleNamespace(name="NVIDIA Test", compute_capability=(8, 7), current=nullcontext)


@pytest.fixture
def script(fakes: ModuleType) -> Any:
    return fakes.Script()


@pytest.fixture(params=GENERATIONS)
def generation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def trt(fakes: ModuleType, generation: str, script: Any) -> ModuleType:
    module: ModuleType = fakes.make(fakes.GENERATIONS[generation], script)
    return module


def test_the_tables_differ_where_nvidia_changed_the_api(fakes: ModuleType) -> None:
    """If this fails, the recorded tables were replaced by something else."""
    old, middle, new = (fakes.APIS[version] for version in fakes.VERSIONS)
    flags = [set(api["enums"]["NetworkDefinitionCreationFlag"]) for api in (old, middle, new)]
    assert ["EXPLICIT_BATCH" in each for each in flags] == [True, True, False]
    assert ["STRONGLY_TYPED" in each for each in flags] == [False, True, True]
    assert ["FP16" in api["enums"]["BuilderFlag"] for api in (old, middle, new)] == [
        True, True, False,
    ]  # fmt: skip
    assert "IProgressMonitor" not in old["module"]
    assert "node_name" not in old["classes"]["ParserError"]
    assert "SAME_COMPUTE_CAPABILITY" not in middle["enums"]["HardwareCompatibilityLevel"]


def test_a_removed_name_fails_as_it_does_there(fakes: ModuleType, script: Any) -> None:
    new = fakes.make("11.4.0.106", script)
    with pytest.raises(AttributeError, match="FP16"):
        _ = new.BuilderFlag.FP16
    with pytest.raises(AttributeError, match="'Builder' object has no attribute"):
        _ = new.Builder(None).platform_has_fast_fp16
    with pytest.raises(AttributeError, match="'IBuilderConfig' object has no attribute"):
        new.Builder(None).create_builder_config().int8_calibrator = None


def test_every_generation_builds(trt: ModuleType, generation: str, script: Any) -> None:
    notes: list[str] = []
    built = build_plan(trt, REQUEST, note=notes.append)
    assert built.plan == PLAN
    assert (built.library_version, built.layers) == (trt.__version__, 3)
    assert built.seconds > 0
    assert script.profiles == [("frames", (1, 8, 8, 3), (1, 8, 8, 3), (8, 8, 8, 3))]
    assert (script.workspaces, script.builder_flags, built.workspace_bytes) == ([], [], None)
    explicit, strongly = 1 << 0, 1 << 1
    assert script.network_flags == {"8.6": explicit, "10": strongly, "11": 0}[generation]
    assert [("no progress" in note) for note in notes] == ([True] if generation == "8.6" else [])


def test_a_static_batch_has_no_profile(trt: ModuleType, script: Any) -> None:
    build_plan(trt, BuildRequest("m.onnx", "frames", (8, 8, 3), min_batch=4, max_batch=4))
    assert script.profiles == []
    assert script.network.get_input(0).shape == (4, 8, 8, 3)


def test_only_8_6_is_told_about_float16(trt: ModuleType, generation: str, script: Any) -> None:
    build_plan(trt, BuildRequest("m.onnx", "frames", (8, 8, 3), precision="fp16"))
    if generation == "8.6":
        assert script.builder_flags == ["FP16", "PREFER_PRECISION_CONSTRAINTS"]
        held = [layer._members.get("precision") for layer in script.layers]
        assert held == [None, None, "float32"]  # not the constant, not the float16 layer
    else:
        assert script.builder_flags == []


def test_only_8_6_is_told_about_int8(trt: ModuleType, generation: str, script: Any) -> None:
    """And of no float16: what has no pair of its own is float32 in the graph."""
    build_plan(trt, BuildRequest("m.onnx", "frames", (8, 8, 3), precision="int8"))
    assert script.builder_flags == (["INT8"] if generation == "8.6" else [])
    assert all(layer._members.get("precision") is None for layer in script.layers)


def test_progress_never_goes_back_and_ends_at_one(
    fakes: ModuleType, generation: str, script: Any, trt: ModuleType
) -> None:
    script.phases = [("Building", None, 2), ("Optimizing", "Building", 4)]
    said: list[tuple[str, float]] = []
    build_plan(trt, REQUEST, on_progress=lambda *each: said.append(each))
    if generation == "8.6":
        assert said == []
        return
    shares = [share for _, share in said]
    assert shares == [0.0, 0.0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5, 1.0, 1.0]
    assert {phase for phase, _ in said} == {"Building", "Optimizing"}


# Memory


OUT = [
    "Tactic Device request: 4229MB Available: 2658MB. Device memory is insufficient to use tactic."
]


def test_a_build_without_memory_is_tried_with_half(trt: ModuleType, script: Any) -> None:
    script.outcomes = [OUT, OUT, PLAN]
    notes: list[str] = []
    request = BuildRequest("m.onnx", "frames", (8, 8, 3), workspace_bytes=1 << 30)
    built = build_plan(trt, request, note=notes.append)
    assert script.workspaces == [1 << 30, 1 << 29, 1 << 28]
    assert built.workspace_bytes == 1 << 28
    said = [note for note in notes if "ran out of memory" in note]
    assert [note.rpartition("trying again with ")[2] for note in said] == ["512 MiB.", "256 MiB."]


def test_memory_that_is_never_enough_is_an_error_with_the_last_words(
    trt: ModuleType, script: Any
) -> None:
    script.outcomes = [OUT] * 4
    with pytest.raises(
        BackendError, match="ran out of memory, also with a workspace of 1024 MiB"
    ) as e:
        build_plan(trt, REQUEST)
    assert "Tactic Device request: 4229MB" in str(e.value)
    assert script.workspaces == [4 << 30, 2 << 30, 1 << 30]
    assert "--max-batch" in str(e.value.hint)


@pytest.mark.parametrize(
    "said",
    [
        "Myelin (no tactics to implement the operation within workspace limit.)",
        "Error Code 2: OutOfMemory (Requested size was 9246908 bytes.)",
    ],
)
def test_a_workspace_that_is_too_small_asks_for_a_larger_one(
    trt: ModuleType, script: Any, said: str
) -> None:
    script.outcomes = [[said], PLAN]
    request = BuildRequest("m.onnx", "frames", (8, 8, 3), workspace_bytes=8 << 20)
    with pytest.raises(BackendError, match="built no engine with a workspace of 8 MiB") as caught:
        build_plan(trt, request)
    assert caught.value.hint == "Give a larger --workspace, or leave it out."
    assert script.outcomes == [PLAN]  # a smaller one was not tried


def test_another_failure_is_not_tried_again(trt: ModuleType, script: Any) -> None:
    script.outcomes = [["Error Code 10: Could not find any implementation for node conv1."], PLAN]
    with pytest.raises(BackendError, match="built no engine") as caught:
        build_plan(trt, REQUEST)
    assert "Could not find any implementation for node conv1" in str(caught.value)
    assert script.outcomes == [PLAN]


def test_a_builder_that_cannot_be_made_is_a_backend_error(trt: ModuleType) -> None:
    def refuse(_: Any) -> Any:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    trt.Builder = refuse
    with pytest.raises(BackendError, match="factory function returned nullptr"):
        build_plan(trt, REQUEST)


def test_contexts_share_the_profile_in_every_generation(
    trt: ModuleType, script: Any, generation: str
) -> None:
    build_plan(trt, REQUEST)
    assert script.previews == (["PROFILE_SHARING_0806=True"] if generation != "11" else [])


# Ctrl-C


@pytest.mark.parametrize("generation", ["10", "11"], indirect=True)
def test_ctrl_c_stops_at_the_next_step(trt: ModuleType, script: Any) -> None:
    script.phases = [("Building", None, 50)]
    steps: list[float] = []

    def ctrl_c(_: str, share: float) -> None:
        steps.append(share)
        if len(steps) == 3:
            signal.raise_signal(signal.SIGINT)
            main = threading.main_thread()
            assert threading.current_thread() is not main
            assert seen.wait(10)

    seen = threading.Event()
    cancel = "bas_edge.backends._tensorrt_progress.BuildProgress.cancel"
    with pytest.MonkeyPatch.context() as patch:
        from bas_edge.backends._tensorrt_progress import BuildProgress

        real = BuildProgress.cancel
        patch.setattr(cancel, lambda self: (real(self), seen.set()))
        with pytest.raises(KeyboardInterrupt):
            build_plan(trt, REQUEST, on_progress=ctrl_c)
    assert len(steps) == 3


@pytest.mark.parametrize("generation", ["10", "11"], indirect=True)
def test_what_the_callback_raises_reaches_the_caller(trt: ModuleType, script: Any) -> None:
    script.phases = [("Building", None, 50)]

    def fail(_: str, share: float) -> None:
        if share:
            raise KeyError("a bug in the callback")

    with pytest.raises(KeyError, match="a bug in the callback"):
        build_plan(trt, REQUEST, on_progress=fail)


# Parser errors

ERRORS = [
    (
        "ITensor::getDimensions: Error Code 4: API Usage Error (node_of_t: first input has type "
        "UInt8 but must have type Float, Half, Int32, or Bool. In checkType)",
        "into a Cast first",
    ),
    (
        "b_DequantizeLinear: input has type Int32 but must have type FP8, FP4, Int4, or Int8.",
        "whose biases are int32: build again",
    ),
    (
        "TRT only supports symmetric quantization - zeroPt must be all zeros",
        "whose codes have zero points: build again",
    ),
    (
        "Assertion failed: shiftIsAllZeros(zeroPoint): Non-zero zero point is not supported. "
        "Please set kENABLE_UINT8_AND_ASYMMETRIC_QUANTIZATION_DLA to enable asymmetric "
        "quantization if it is on DLA.",
        "whose codes have zero points: build again",
    ),
    (
        "Assertion failed: (scaleAllPositive || allowNegativeScale): Scale coefficients must all "
        "be positive",
        "codes or scales that TensorRT does not take: build again",
    ),
    (
        "IConvolutionLayer `input` and `kernel` must be of same type. `input` type is Half but "
        "`kernel` is of type Float.",
        "float16 and float32 scales: build again",
    ),
    ("This version of TensorRT only supports input K as an initializer.", "--maps all"),
    ("Assertion failed: inputs.at(1).is_weights()", "--maps all"),
    ('creator && "Plugin not found, are the plugin name, version correct?"', "no such operator"),
    ("No importer registered for op: GatherND", "no such operator"),
    ("Unsupported ONNX opset version: 30", "older than the graph"),
    ("something that nobody has seen yet", "--backend onnxruntime"),
]


@pytest.mark.parametrize(("text", "hint"), ERRORS)
def test_a_parser_error_names_the_node_and_what_to_do(
    trt: ModuleType, generation: str, script: Any, text: str, hint: str
) -> None:
    script.parser_errors = [(7, "scale it", "Mul", text)]
    with pytest.raises(BackendError, match=r"refuses m\.onnx") as caught:
        build_plan(trt, REQUEST)
    named = "node 7" if generation == "8.6" else "node 7 'scale it' (Mul)"
    assert f"  {named}: {text}" in str(caught.value)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(("precision", "hint"), [("fp32", "into a Cast"), ("int8", "build again")])
def test_uint8_tensors_of_a_quantized_graph_are_codes(
    trt: ModuleType, script: Any, precision: Any, hint: str
) -> None:
    script.parser_errors = [(0, "planes", "Transpose", ERRORS[0][0])]
    with pytest.raises(BackendError) as caught:
        build_plan(trt, BuildRequest("m.onnx", "frames", (8, 8, 3), precision=precision))
    assert hint in str(caught.value.hint)
    assert ("--backend tensorrt --precision int8" in str(caught.value.hint)) == (
        precision == "int8"
    )


@pytest.mark.parametrize("generation", ["10", "11"], indirect=True)
@pytest.mark.parametrize("operator", ["DynamicQuantizeLinear", "ConvInteger", "QLinearConv"])
def test_operators_that_are_quantized_themselves(
    trt: ModuleType, script: Any, operator: str
) -> None:
    script.parser_errors = [(3, "stem", operator, "false")]
    with pytest.raises(BackendError, match=rf"'stem' \({operator}\): not known to it") as caught:
        build_plan(trt, REQUEST)
    assert "to operators that TensorRT has not: build again" in str(caught.value.hint)


def test_every_parser_error_is_told(trt: ModuleType, script: Any) -> None:
    script.parser_errors = [(at, f"n{at}", "Op", f"reason {at}") for at in range(6)]
    with pytest.raises(BackendError) as caught:
        build_plan(trt, REQUEST)
    told = [f"reason {at}" in str(caught.value) for at in range(6)]
    assert told == [True] * 4 + [False] * 2
    assert str(caught.value).endswith("… and 2 more")


@pytest.mark.parametrize("inputs", [(), ("images",), ("frames", "mask")])
def test_a_graph_with_other_inputs(trt: ModuleType, script: Any, inputs: tuple[str, ...]) -> None:
    script.inputs = inputs
    with pytest.raises(BackendError, match="there must be exactly 'frames'"):
        build_plan(trt, REQUEST)


# Options


@pytest.mark.parametrize("level", ["none", "ampere_plus", "same_compute_capability"])
def test_hardware_compatibility(trt: ModuleType, generation: str, script: Any, level: str) -> None:
    request = BuildRequest("m.onnx", "frames", (8, 8, 3), hardware_compat=level)
    if level == "same_compute_capability" and generation != "11":
        with pytest.raises(InputError, match=r"is not known to TensorRT .*; it knows none, ampere"):
            hardware_level(trt, level)
        return
    assert hardware_level(trt, level).name == level.upper()
    build_plan(trt, request)
    chosen = script.config._members.get("hardware_compatibility_level")
    assert chosen is None if level == "none" else chosen.name == level.upper()


def test_an_unknown_hardware_compatibility(trt: ModuleType) -> None:
    with pytest.raises(InputError, match="'turing' is not known to TensorRT"):
        hardware_level(trt, "turing")


def test_a_timing_cache_is_read_and_written_back(
    trt: ModuleType, script: Any, tmp_path: Path
) -> None:
    cache = tmp_path / "times.cache"
    request = BuildRequest("m.onnx", "frames", (8, 8, 3), timing_cache=cache)
    build_plan(trt, request)
    assert (script.caches, cache.read_bytes()) == ([b""], b"+")
    script.outcomes = [PLAN]
    build_plan(trt, request)
    assert (script.caches, cache.read_bytes()) == ([b"", b"+"], b"++")
    assert [path.name for path in tmp_path.iterdir()] == ["times.cache"]


def test_a_timing_cache_of_another_gpu_is_replaced(
    trt: ModuleType, script: Any, tmp_path: Path
) -> None:
    cache = tmp_path / "times.cache"
    cache.write_bytes(b"of another GPU")
    script.cache_matches = False
    notes: list[str] = []
    build_plan(
        trt, BuildRequest("m.onnx", "frames", (8, 8, 3), timing_cache=cache), note=notes.append
    )
    assert any("is of another GPU or TensorRT; a new one replaces it" in note for note in notes)
    assert cache.read_bytes() == b"+"


def test_a_timing_cache_without_a_folder(trt: ModuleType, tmp_path: Path) -> None:
    cache = tmp_path / "none" / "times.cache"
    with pytest.raises(InputError, match="does not exist"):
        build_plan(trt, BuildRequest("m.onnx", "frames", (8, 8, 3), timing_cache=cache))


# Loading


def test_a_plan_that_loads(trt: ModuleType, script: Any) -> None:
    script.engine = object()
    loaded = load_plan(trt, PLAN, source="x.plan", rebuild="rebuild it", device=DEVICE)
    assert loaded.engine is script.engine
    assert script.runtime.engine_host_code_allowed is False
    assert script.loaded == [PLAN]


def test_a_null_engine_is_an_error_with_the_last_words(trt: ModuleType, script: Any) -> None:
    with pytest.raises(BackendError, match=r"refuses the plan x\.plan on this NVIDIA Test") as e:
        load_plan(trt, PLAN, source="x.plan", rebuild="rebuild it", device=DEVICE)
    assert "6: The engine plan file is not compatible with this version." in str(e.value)
    assert e.value.hint == "Build it again here: rebuild it"
