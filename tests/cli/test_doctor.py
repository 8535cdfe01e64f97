"""`bas-edge doctor` on this machine, and on ones where something is missing."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bas_edge import doctor
from bas_edge.backends import _cuda
from bas_edge.backends._cuda import DriverState
from bas_edge.ops.cuda import CudaBuild, cuda_build
from bas_edge.video.sinks.video_sink import available_encoders

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
Invoke = Callable[..., tuple[int, list[Any], str]]
Say = Callable[..., tuple[int, str, str]]


def test_a_healthy_machine(say: Say, invoke: Invoke) -> None:
    code, out, err = say("doctor")
    assert (code, err) == (0, "")
    assert ("CPU only build" in out) == (cuda_build() is None)
    assert "onnxruntime   works" in out
    code, (state,), _ = invoke("doctor")
    assert code == 0
    assert state["problems"] == []
    assert state["video"] == available_encoders()
    assert state["ops"]
    assert {each["name"]: each["available"] for each in state["backends"]}["onnxruntime"]


def test_a_backend_that_does_not_work_says_why() -> None:
    for backend in doctor.diagnose().backends:
        assert backend.available == (not backend.reason)
        assert backend.version or not backend.available


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (DriverState(True, (13, 0), 1, ""), "works (CUDA 13.0, 1 device)"),
        (DriverState(True, (12, 6), 2, ""), "works (CUDA 12.6, 2 devices)"),
        (DriverState(False, None, 0, "No driver.", "Install it."), "no: No driver. Install it."),
    ],
)
def test_the_cuda_driver(
    state: DriverState, line: str, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cuda, "driver_state", lambda: state)
    code, out, err = say("doctor")
    assert (code, err) == (0, "")
    assert f"CUDA driver  {line}\n" in out


@pytest.mark.parametrize("built", [False, True])
def test_a_gpu_without_kernels_gets_a_note(built: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cuda, "driver_state", lambda: DriverState(True, (13, 0), 1, ""))
    build = CudaBuild(("87-real",), "12.6.68") if built else None
    monkeypatch.setattr("bas_edge.ops.cuda.cuda_build", lambda: build)
    state = doctor.diagnose()
    assert state.cuda == ("CUDA 12.6.68 for 87-real" if built else "CPU only build")
    assert any("BAS_EDGE_CUDA=ON" in note for note in state.notes) == (not built)


def test_a_missing_base_library_breaks_the_install(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = doctor.installed_version
    monkeypatch.setattr(
        doctor, "installed_version", lambda name: None if name == "msgspec" else real(name)
    )
    code, out, err = say("doctor")
    assert code == 1
    assert "msgspec" in out  # the report comes first
    assert "The installation is broken: msgspec is not installed." in err


def test_without_the_video_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    state = doctor.diagnose()
    assert state.video == ()
    assert any("pip install 'bas-edge[video]'" in note for note in state.notes)
    assert state.problems == ()


def test_every_library_of_the_extras_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"] | {None: project["dependencies"]}
    listed = {(name, extra) for name, extra in doctor.PACKAGES.items()}
    for extra, requirements in extras.items():
        for name in (re.split(r"[<>=;\[ ]", each)[0] for each in requirements):
            if name == "cuda-python":  # an empty package that brings this one
                name = "cuda-bindings"
            if name not in ("bas-edge", "tomli"):  # tomli is a part of Python since 3.11
                assert (name, extra) in listed


@pytest.mark.parametrize(
    ("information", "said"),
    [
        ("  GUI:   NONE\n\n    GStreamer:   NO\n", "4.9.0, no GStreamer, no windows"),
        ("  GUI:   GTK3\n\n  GStreamer:  YES (1.20.3)\n", "4.9.0, with GStreamer, with windows"),
    ],
)
def test_opencv_says_what_it_can(
    information: str, said: str, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = SimpleNamespace(__version__="4.9.0", getBuildInformation=lambda: information)
    monkeypatch.setitem(sys.modules, "cv2", module)
    code, out, _ = say("doctor")
    assert code == 0
    assert f"OpenCV    {said}\n" in out


def test_without_opencv_or_with_a_broken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    state = doctor.diagnose()
    assert state.opencv == ""
    assert not any("OpenCV" in note for note in state.notes)

    def broken(*_: Any, **__: Any) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor, "require", broken)
    assert any("libGL.so.1" in note for note in doctor.diagnose().notes)


def test_onnxruntime_under_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"onnxruntime-gpu": "1.23.0"}
    monkeypatch.setattr(doctor, "installed_version", versions.get)
    packages = {package.name: package.version for package in doctor.diagnose().packages}
    assert packages["onnxruntime"] == "1.23.0"


def test_a_full_disk_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e8))
    assert any("Only 0.1 GB free" in note for note in doctor.diagnose().notes)


def test_no_native_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bas_edge.ops.active_path", lambda: (_ for _ in ()).throw(ImportError("x")))
    state = doctor.diagnose()
    assert state.ops == ""
    assert state.problems == ("The native operators cannot be loaded: x",)
