"""The GPU as the driver describes it, with a driver that is pretended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.cuda_errors import FakeCudaError
from fakes.machine import fake_machine

from bas_edge.backends import _cuda_driver, _driver
from bas_edge.backends._driver import Gpu, find_gpu, require_gpu
from bas_edge.errors import BackendError


def test_a_gpu_is_described(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "version").write_text("540.4.0\n")
    monkeypatch.setattr(_driver, "_KERNEL_MODULE", tmp_path / "version")
    with fake_machine("cuda-python", monkeypatch, name="NVIDIA Orin", cuda=(12, 6)):
        found = find_gpu()
        assert found == Gpu("NVIDIA Orin", (8, 7), "540.4.0", "12.6")
        assert isinstance(found, Gpu)
        assert found.target == "sm_87"
        monkeypatch.setattr(_driver, "_KERNEL_MODULE", tmp_path / "none")
        assert require_gpu("A test", hint="").driver == ""


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"init_error": 100}, "shows no GPU"), ({"devices": 0}, "shows no GPU")],
)
def test_why_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], reason: str
) -> None:
    with fake_machine("cuda-python", monkeypatch, **options):
        found = find_gpu()
    assert isinstance(found, str)
    assert reason in found


def test_a_driver_that_does_not_describe_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(attribute: int, device: int) -> int:
        raise FakeCudaError(999)

    with fake_machine("cuda-python", monkeypatch) as machine:
        monkeypatch.setattr(machine.cuda, "cuDeviceGetAttribute", refuse)
        found = find_gpu()
    assert isinstance(found, str)
    assert found.startswith("CUDA: asking for the GPU failed: CUDA_ERROR_UNKNOWN (999)")


def test_no_driver_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(_cuda_driver, "driver", absent)
    sentence = r"Building needs an NVIDIA GPU\. There is no NVIDIA driver here"
    with pytest.raises(BackendError, match=sentence) as caught:
        require_gpu("Building", hint="Do without.")
    assert caught.value.hint == "Do without."
