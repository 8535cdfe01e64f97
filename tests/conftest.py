"""Shared fixtures, and the whole GPU policy."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

REPOSITORY = Path(__file__).resolve().parent.parent

# Networks this small only lose time to threads that wait for each other. For torch and NumPy, in
# programs that tests start too; before anything here imports either.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # of tests that ask for more

# No timed assertions: a busy machine is not a bug.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def cuda_device_count() -> int:
    """How many CUDA devices the driver shows; 0 where there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def pytest_configure() -> None:
    """Hear what whoever started the tests told them to ignore: tests of it need it.

    A shell ignores Ctrl-C for what it starts in the background, and nohup a closed terminal.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    _require_rtx(items)
    _require_browser(items)
    _fewer_examples(items)
    if cuda_device_count() > 0:
        return
    if os.environ.get("BAS_EDGE_REQUIRE_GPU") == "1":
        raise pytest.UsageError("BAS_EDGE_REQUIRE_GPU=1, but no CUDA device is visible")
    skip = pytest.mark.skip(reason="no CUDA device (set BAS_EDGE_REQUIRE_GPU=1 to fail instead)")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


def _fewer_examples(items: list[pytest.Item]) -> None:
    """BAS_EDGE_EXAMPLES: the most examples of a Hypothesis test, where each is slow.

    Tests that choose their own number take it from no profile, so it is set on them.
    """
    most = os.environ.get("BAS_EDGE_EXAMPLES")
    if most is None:
        return
    phases = (Phase.explicit, Phase.generate)
    for item in items:
        function = getattr(item, "function", None)
        own = getattr(function, "_hypothesis_internal_use_settings", None)
        if own is not None and own.max_examples > int(most):
            fewer = settings(own, max_examples=int(most), phases=phases)
            function._hypothesis_internal_use_settings = fewer


def _require_rtx(items: list[pytest.Item]) -> None:
    """The same policy for TensorRT for RTX, which builds engines without any GPU."""
    if importlib.util.find_spec("tensorrt_rtx") is not None:
        return
    if os.environ.get("BAS_EDGE_REQUIRE_RTX") == "1":
        raise pytest.UsageError("BAS_EDGE_REQUIRE_RTX=1, but tensorrt_rtx is not installed")
    reason = "tensorrt_rtx is not installed (set BAS_EDGE_REQUIRE_RTX=1 to fail instead)"
    for item in items:
        if item.get_closest_marker("rtx"):
            item.add_marker(pytest.mark.skip(reason=reason))


def _require_browser(items: list[pytest.Item]) -> None:
    """The same policy for a Chromium, which the page of `bas-edge serve` is tested in."""
    if sys.modules["chromium"].executable() is not None:
        return
    if os.environ.get("BAS_EDGE_REQUIRE_BROWSER") == "1":
        raise pytest.UsageError("BAS_EDGE_REQUIRE_BROWSER=1, but there is no Chromium on the path")
    reason = "no Chromium on the path (set BAS_EDGE_REQUIRE_BROWSER=1 to fail instead)"
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def one_thread_of_onnx_runtime() -> Iterator[None]:
    """What leaves the number of threads to ONNX Runtime gets one; see OMP_NUM_THREADS above."""
    import onnxruntime  # after OMP_NUM_THREADS

    session = onnxruntime.InferenceSession
    former: Callable[..., None] = session.__init__

    def init(self: Any, path: Any, sess_options: Any = None, *rest: Any, **more: Any) -> None:
        options = sess_options or onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.intra_op_num_threads or 1
        former(self, path, options, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "__init__", init)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and video; tests that need it are marked `shared_data`."""
    folder = Path(os.environ.get("BAS_EDGE_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "cub50" / "val.csv").is_file():
        pytest.skip(f"no real images at {folder} (set BAS_EDGE_SHARED_DATA)")
    return folder


def _beside(name: str, file: str = "") -> ModuleType:
    """A module of this folder that holds no tests; importlib mode leaves it off the path."""
    path = REPOSITORY / "tests" / (file or f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses, and the modules of a package, look there
    spec.loader.exec_module(module)
    return module


_beside("fakes", "fakes/__init__.py")  # so that any test may import `fakes.cuda_driver`
_beside("map_cases")
_beside("device_copies")
_beside("sample_report")
_beside("graphs")
_beside("colour_network")
_beside("small_nets")
_beside("published_networks")
_beside("numbered_frames")
_beside("scripted_source")
_beside("stub_localizer")
_beside("pipeline_parts")
_beside("pipeline_time")
_beside("served", "serve/served.py")
_beside("chromium", "serve/chromium.py")
_beside("stream_results")
_beside("full_disk")
_beside("published_sets")


@pytest.fixture(scope="session")
def graphs() -> ModuleType:
    """`tests/graphs.py`: tiny ONNX graphs, their manifests and frames to feed them."""
    return _beside("graphs")


@pytest.fixture(scope="session")
def fakes() -> ModuleType:
    """`tests/tensorrt_fakes.py`: modules with exactly the attributes of a TensorRT version."""
    return _beside("tensorrt_fakes")


@pytest.fixture(scope="session")
def pareto_examples() -> ModuleType:
    """`tests/pareto_examples.py`: made-up rows of the Pareto picture."""
    return _beside("pareto_examples")


@pytest.fixture(scope="session")
def clips() -> ModuleType:
    """`tests/clips.py`: small videos, whole, cut short and turned."""
    return _beside("clips")


@pytest.fixture(scope="session")
def rtsp() -> ModuleType:
    """`tests/rtsp_server.py`: a camera on the loopback that tests can break."""
    _beside("h264_rtp")
    _beside("rtsp_client")
    return _beside("rtsp_server")


@pytest.fixture(scope="session")
def mjpeg() -> ModuleType:
    """`tests/mjpeg_server.py`: a camera that speaks HTTP, and servers that break the rules."""
    return _beside("mjpeg_server")


@pytest.fixture(scope="session")
def tiny_onnx(graphs: ModuleType) -> Callable[..., Path]:
    """`tiny_onnx(path, *, maps="all", classes=("a", "b", "c"), …) -> path`, metadata included."""
    function: Callable[..., Path] = graphs.tiny_onnx
    return function


@pytest.fixture(scope="session")
def tiny_segmenter() -> Callable[..., Path]:
    """`tiny_segmenter(path, *, size=(32, 32), resize="stretch", …) -> path`, metadata included."""
    function: Callable[..., Path] = _beside("segmentation_graph").tiny_segmenter
    return function


@pytest.fixture(scope="session")
def segmentation_graph() -> ModuleType:
    """`tests/segmentation_graph.py`: small graphs for segmentation, and pictures with masks."""
    return _beside("segmentation_graph")


@pytest.fixture(scope="session")
def cuda_build() -> ModuleType:
    """`tests/cuda_build.py`: builds the CUDA kernels, emulated or with nvcc."""
    return _beside("cuda_build")


@pytest.fixture(scope="session")
def emulated_cuda(cuda_build: ModuleType) -> ModuleType:
    """The CUDA kernels, compiled to run on the CPU in tests/emulated_cuda."""
    folder = cuda_build.build(
        "emulated", "_emulated_cuda", BAS_EDGE_CUDA="OFF", BAS_EDGE_EMULATED_CUDA="ON"
    )
    module: ModuleType = cuda_build.load(folder, "_emulated_cuda")
    return module


@pytest.fixture(scope="session")
def cuda_arrays() -> ModuleType:
    """`tests/cuda_arrays.py`: the CUDA ops as functions on NumPy arrays."""
    return _beside("cuda_arrays")


@pytest.fixture(scope="session")
def real_gpu() -> ModuleType:
    """`tests/real_gpu.py`: what runs a network on the GPU of this machine."""
    return _beside("real_gpu")


@pytest.fixture
def gpu(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    fakes: ModuleType,
    emulated_cuda: ModuleType,
) -> Iterator[Any]:
    """`tests/gpu_machine.py`: a machine with a pretended GPU and TensorRT, which runs engines.

    Indirect parameters are options of `gpu_machine`.
    """
    options = getattr(request, "param", {})
    with _beside("gpu_machine").gpu_machine(monkeypatch, fakes, emulated_cuda, **options) as made:
        yield made
