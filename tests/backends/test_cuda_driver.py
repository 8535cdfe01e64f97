"""Is there a driver, does it work, which library is taken: every answer is a sentence."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
from fakes.cuda_driver import FakeCuda
from fakes.cuda_errors import FakeCudaError
from fakes.cuda_python import cuda_python_module
from fakes.libcuda import libcuda
from fakes.machine import fake_machine

from bas_edge.backends import _cuda, _cuda_driver, _cuda_python
from bas_edge.backends._cuda import DriverState, driver_state, open_device
from bas_edge.backends._cuda_driver import DriverCallError, backend_error
from bas_edge.errors import BackendError, InputError, MissingExtraError


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`install(**options)` gives this process a fake driver, and no library."""

    def with_options(**options: Any) -> FakeCuda:
        cuda = FakeCuda(**options)
        driver = _cuda_driver.Driver(libcuda(cuda))
        monkeypatch.setattr(_cuda_driver, "driver", lambda: driver)
        for name in ("cuda", "cuda.cuda", "cuda.bindings", "cuda.bindings.driver"):
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, "pycuda.driver", None)
        return cuda

    return with_options


def test_a_driver_that_works(install: Any) -> None:
    install(devices=2, cuda=(12, 6))
    assert driver_state() == DriverState(True, (12, 6), 2, "")


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> Any:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(_cuda_driver, "driver", absent)
    state = driver_state()
    assert (state.available, state.cuda, state.devices) == (False, None, 0)
    assert state.reason.startswith("There is no NVIDIA driver here: libcuda.so.1: cannot open")
    with pytest.raises(BackendError, match="There is no NVIDIA driver here") as caught:
        open_device()
    assert "JetPack" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("code", "reason", "hint"),
    [
        (3, "before this process was forked", "spawn"),
        (34, "the toolkit's stub", "LD_LIBRARY_PATH"),
        (46, "holds it for itself", "nvidia-smi"),
        (100, r"shows no GPU to this process \(CUDA_ERROR_NO_DEVICE, 100\)\.", "--gpus all"),
        (802, "not ready", "nvidia-fabricmanager"),
        (803, "different versions", "Restart"),
        (804, "compatibility package", "cuda-compat"),
        (999, r"does not start \(CUDA_ERROR_UNKNOWN, 999\)\.", "nvidia_uvm"),
        (304, r"does not start: OS call failed .*\(CUDA_ERROR_OPERATING_SYSTEM, 304\)\.", ""),
    ],
)
def test_cuinit_errors_are_sentences(install: Any, code: int, reason: str, hint: str) -> None:
    install(init_error=code)
    state = driver_state()
    assert (state.available, state.cuda, state.devices) == (False, (13, 0), 0)
    with pytest.raises(BackendError, match=reason) as caught:
        open_device()
    assert hint in (caught.value.hint or "")
    assert str(caught.value).endswith(").")


def test_a_driver_without_devices(install: Any) -> None:
    install(devices=0)
    assert "shows no GPU" in driver_state().reason


def test_a_driver_that_is_too_old(install: Any) -> None:
    install(cuda=(11, 2))
    with pytest.raises(BackendError, match=r"The driver runs CUDA 11\.2, but 11\.4 is the oldest"):
        open_device()


def test_a_working_driver_is_asked_once_and_again_in_a_forked_process(
    install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = install()
    assert driver_state().available
    cuda.init_error = 3
    assert driver_state().available
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert "forked" in driver_state().reason


def test_a_driver_that_failed_is_asked_again(install: Any) -> None:
    cuda = install(init_error=999)
    assert not driver_state().available
    cuda.init_error = 0
    assert driver_state().available


@pytest.mark.parametrize(("devices", "index"), [(1, 3), (2, -1)])
def test_a_device_that_does_not_exist(install: Any, devices: int, index: int) -> None:
    install(devices=devices)
    sentence = f"^Device {index} does not exist: this machine has {devices}.$"
    with pytest.raises(BackendError, match=sentence) as caught:
        open_device(index)
    assert "CUDA_VISIBLE_DEVICES" in (caught.value.hint or "")


def test_an_unknown_library() -> None:
    with pytest.raises(InputError, match="Unknown CUDA library 'cupy'") as caught:
        open_device(library="cupy")
    assert caught.value.hint == "Known: auto, pycuda, cuda-python"


@pytest.mark.parametrize(
    ("library", "module", "extra"),
    [
        ("auto", "cuda.bindings.driver", "cuda"),
        ("cuda-python", "cuda.bindings.driver", "cuda"),
        ("pycuda", "pycuda.driver", "pycuda"),
    ],
)
def test_no_library(install: Any, library: str, module: str, extra: str) -> None:
    install()
    with pytest.raises(MissingExtraError, match=f"'{module}', which is not installed") as caught:
        open_device(library=library)
    assert caught.value.hint == f"pip install 'bas-edge[{extra}]'"


def test_auto_prefers_pycuda(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_machine("auto", monkeypatch) as machine:
        assert type(machine.open()._calls).__name__ == "PycudaCalls"
        monkeypatch.setitem(sys.modules, "pycuda.driver", None)
        assert type(machine.open()._calls).__name__ == "CudaPythonCalls"


def test_the_module_of_older_cuda_python(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = install(cuda=(12, 2))
    monkeypatch.setitem(sys.modules, "cuda.cuda", cuda_python_module(cuda, made_for=12010))
    device = open_device()
    device.close()
    cuda.check()


def test_cuda_python_newer_than_the_driver(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = install(cuda=(12, 6))
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", cuda_python_module(cuda))
    sentence = r"cuda-python is for CUDA 13, but the driver of this machine runs CUDA 12\.6\."
    with pytest.raises(BackendError, match=sentence) as caught:
        open_device()
    assert caught.value.hint == "pip install 'cuda-python==12.*'"
    assert cuda.retained == {0: 0}


@pytest.mark.parametrize("library", ["auto", "pycuda"])
def test_a_library_that_does_not_load_keeps_its_own_error(
    install: Any, monkeypatch: pytest.MonkeyPatch, library: str, tmp_path: Any
) -> None:
    install()
    package = tmp_path / "pycuda"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "driver.py").write_text("raise ImportError('libcurand.so.10: cannot open')")
    monkeypatch.delitem(sys.modules, "pycuda.driver")
    monkeypatch.delitem(sys.modules, "pycuda", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match="libcurand") as caught:
        open_device(library=library)
    assert not isinstance(caught.value, MissingExtraError)
    sys.modules.pop("pycuda", None)


@pytest.mark.parametrize("library", ["cuda-python", "pycuda"])
def test_a_device_that_refuses_to_open(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_machine(library, monkeypatch) as machine:
        monkeypatch.setattr(machine.cuda, "cuDevicePrimaryCtxRetain", refuse(46))
        sentence = r"^CUDA: opening device 0 failed: CUDA_ERROR_DEVICE_UNAVAILABLE \(46\), CUDA-cap"
        with pytest.raises(BackendError, match=sentence) as caught:
            machine.open()
        assert "compute mode" in (caught.value.hint or "")


def refuse(code: int) -> Any:
    def call(*arguments: Any) -> Any:
        raise FakeCudaError(code)

    return call


@pytest.mark.parametrize(
    ("code", "sentence", "hint"),
    [
        (2, "CUDA: x failed: CUDA_ERROR_OUT_OF_MEMORY (2), out of memory.", "--max-batch"),
        (719, "CUDA: x failed: CUDA_ERROR_LAUNCH_FAILED (719), unspecified", "start the process"),
        (5555, "CUDA: x failed: an unknown error (5555), the driver has no text for it.", ""),
    ],
)
def test_driver_errors_are_sentences(code: int, sentence: str, hint: str) -> None:
    driver = _cuda_driver.Driver(libcuda(FakeCuda()))
    error = backend_error(driver, "x", DriverCallError(code))
    assert str(error).startswith(sentence)
    assert hint in (error.hint or "")


def test_pycuda_errors_without_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_machine("pycuda", monkeypatch) as machine:
        calls = machine.open()._calls
        assert calls._failure("cuMemAlloc failed: out of memory").code == 2
        odd = calls._failure("context::push failed: invalid device context - gone")
        assert (odd.code, odd.text) == (201, "invalid device context - gone")
        none = calls._failure("something else")
        assert str(backend_error(calls._driver, "x", none)) == "CUDA: x failed: something else."


def test_this_machine_answers() -> None:
    state = driver_state()  # whatever it is, here
    assert state.available == (state.devices > 0) == (not state.reason)
    assert _cuda.OLDEST_CUDA == (11, 4)
    assert _cuda_python.load.__doc__
