"""The real cuda-python, and ctypes, on a driver library in C that needs no GPU."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
SCRIPT = """
import ctypes, sys
sys.path.insert(0, {root!r})
import numpy as np
from bas_edge.backends._cuda import driver_state, open_device
from bas_edge.errors import BackendError

state = driver_state()
assert (state.available, state.cuda, state.devices) == (True, (13, 0), 1), state
device = open_device(library="cuda-python")
assert (device.name, device.compute_capability) == ("Stub GPU", (9, 0))
assert not device.is_integrated
assert device.memory_bytes() == (1 << 30, 1 << 31)
stream, other = device.stream(), device.stream()
buffer, source, target = device.buffer(64), device.staging(64), device.staging(64)
source.array[:] = np.arange(64)
stream.upload(buffer.address, source.address, 64)
stream.download(target.address, buffer.address, 64)
stream.synchronize()
assert np.array_equal(target.array, np.arange(64))
start, end, plain = device.event(timed=True), device.event(timed=True), device.event()
stream.record(start)
stream.record(end)
other.wait_for(plain)
end.wait()
assert [end.is_done(), end.is_done()] == [False, True]
assert end.elapsed_ms(start) == 1.5
with stream.capture() as graphs:
    stream.upload(buffer.address, source.address, 64)
graphs[0].launch(other)
try:
    device.buffer(1 << 40)
except BackendError as error:
    print(error)
graphs[0].free()
with device.current():
    buffer.free()
device.close()
print(ctypes.CDLL("libcuda.so.1").stub_retained(), "retained")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stub as libcuda.so.1."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("building the stub needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("libcuda")
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    command += ["-o", str(folder / "libcuda.so.1"), str(TESTS / "fakes" / "libcuda_stub.c")]
    subprocess.run(command, check=True)
    return folder


def test_the_device_layer_runs_on_the_real_cuda_python(folder: Path) -> None:
    if importlib.util.find_spec("cuda") is None:
        pytest.skip("cuda-bindings is not installed: pip install --group dev")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("{root!r}", repr(str(TESTS.parent)))],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "CUDA: allocating 1099511627776 bytes on the GPU failed: CUDA_ERROR_OUT_OF_MEMORY (2), "
        "out of memory.",
        "0 retained",
    ]
    assert done.returncode == 0
