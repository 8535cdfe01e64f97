"""Python ends while a device is open: no error, no warning, no context left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

# What the parent's fixtures do, in a new interpreter. Its checks come after everything else that
# runs at exit, since what is registered first runs last.
START = """
import atexit, sys
sys.path[:0] = [{root!r}, {tests!r}]
from fakes.cuda_driver import FakeCuda
from fakes.cuda_python import cuda_python_module
from fakes.libcuda import libcuda
from fakes.pycuda_driver import pycuda_module
cuda = FakeCuda(seed=None)
pycuda = pycuda_module(cuda)

@atexit.register
def check():
    cuda.check()
    assert not any(pycuda.stacks.values())
    print("clean")

from bas_edge.backends import _cuda_driver
from bas_edge.backends._cuda import open_device
driver = _cuda_driver.Driver(libcuda(cuda))
_cuda_driver.driver = lambda: driver
sys.modules["cuda.bindings.driver"] = cuda_python_module(cuda)
sys.modules["pycuda.driver"] = pycuda
"""
USE = """
device = open_device(library={library!r})
stream, event = device.stream(), device.event(timed=True)
buffer, staging = device.buffer(64), device.staging(64)
with stream.capture() as graphs:
    stream.upload(buffer.address, staging.address, 64)
graphs[0].launch(stream)
stream.record(event)
stream.download(staging.address, buffer.address, 64)
"""
REAL = "import sys; sys.path.insert(0, {root!r})\nfrom bas_edge.backends._cuda import open_device\n"
ENDINGS = {
    "nothing more": "",
    "close": "device.close()",
    "close, then free": "device.close(); buffer.free(); stream.free(); staging.free()",
    "a cycle": "cycle = [device, stream, buffer]; cycle.append(cycle); del device, stream, buffer",
    "another thread": "import threading; threading.Thread(target=stream.synchronize).start()",
    "sys.exit": "sys.exit(0)",
}


def run(script: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-X",
        "dev",
        "-c",
        script.format(root=str(TESTS.parent), tests=str(TESTS)),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("library", ["cuda-python", "pycuda"])
def test_a_process_ends_cleanly(library: str, ending: str) -> None:
    done = run(START + USE.replace("{library!r}", repr(library)) + ENDINGS[ending])
    assert (done.stdout, done.stderr, done.returncode) == ("clean\n", "", 0)


@pytest.mark.parametrize("library", ["cuda-python", "pycuda"])
def test_an_array_that_outlives_everything_is_no_error(library: str) -> None:
    use = (
        USE.replace("{library!r}", repr(library))
        + "array = staging.array; atexit.unregister(check)"
    )
    done = run(START + use)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.gpu
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("library", ["cuda-python", "pycuda"])
def test_a_process_with_a_real_device_ends_cleanly(library: str, ending: str) -> None:
    pytest.importorskip(
        "pycuda" if library == "pycuda" else "cuda.bindings", reason="not installed"
    )
    done = run(REAL + USE.replace("{library!r}", repr(library)) + ENDINGS[ending])
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
