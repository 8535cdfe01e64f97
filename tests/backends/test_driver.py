"""The driver's answers, with a driver that is pretended."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bas_edge.backends import _driver
from bas_edge.backends._driver import Gpu, find_gpu, require_gpu
from bas_edge.errors import BackendError


def pretend(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
    def count(into: Any) -> int:
        into._obj.value = answers.get("count", 1)
        return 0

    def name(into: Any, _size: int, _device: Any) -> int:
        into.value = b"NVIDIA Orin"
        return 0

    def attribute(into: Any, which: int, _device: Any) -> int:
        into._obj.value = {75: 8, 76: 7}[which]
        return int(answers.get("attribute", 0))

    def version(into: Any) -> int:
        into._obj.value = 12060
        return 0

    driver = SimpleNamespace(
        cuInit=lambda _: answers.get("init", 0),
        cuDeviceGetCount=count,
        cuDeviceGet=lambda _into, _at: 0,
        cuDeviceGetName=name,
        cuDeviceGetAttribute=attribute,
        cuDriverGetVersion=version,
    )
    monkeypatch.setattr(ctypes, "CDLL", lambda _: driver)


def test_a_gpu_is_described(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch)
    (tmp_path / "version").write_text("540.4.0\n")
    monkeypatch.setattr(_driver, "_KERNEL_MODULE", tmp_path / "version")
    found = find_gpu()
    assert found == Gpu("NVIDIA Orin", (8, 7), "540.4.0", "12.6")
    assert isinstance(found, Gpu)
    assert found.target == "sm_87"
    monkeypatch.setattr(_driver, "_KERNEL_MODULE", tmp_path / "none")
    assert require_gpu("A test", hint="").driver == ""


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"init": 100}, "does not start: cuInit gave the error 100"),
        ({"count": 0}, "shows no GPU"),
        ({"attribute": 3}, "does not describe its GPU: error 3"),
    ],
)
def test_why_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, int], reason: str
) -> None:
    pretend(monkeypatch, **answers)
    found = find_gpu()
    assert isinstance(found, str)
    assert reason in found


def test_no_driver_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: str) -> None:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    with pytest.raises(
        BackendError, match=r"Building needs an NVIDIA GPU\. This machine has no"
    ) as e:
        require_gpu("Building", hint="Do without.")
    assert e.value.hint == "Do without."
