from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import onnxruntime
import pytest

from bas_edge.backends import (
    _driver,
    backend_names,
    open_backend,
    plan_builder,
    probe,
    tensorrt_backend,
)
from bas_edge.errors import BackendError, InputError, MissingExtraError


def test_the_names_of_the_design() -> None:
    assert backend_names() == ["onnxruntime", "tensorrt", "tensorrt_rtx"]


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_a_backend_that_runs_plans_takes_no_graph(name: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=f"'{name}' runs plans, not ONNX graphs") as caught:
        open_backend(name, tmp_path / "m.onnx")
    assert f"--backend {name}" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("onnx-runtime", "Did you mean 'onnxruntime'?"),
        ("tensorrt-rtx", "Did you mean 'tensorrt_rtx'?"),
        ("Auto", "Did you mean 'auto'?"),
        ("zzz", "Known: auto, onnxruntime, tensorrt, tensorrt_rtx"),
    ],
)
def test_an_unknown_backend_gets_a_suggestion(name: str, hint: str, tmp_path: Path) -> None:
    for call in (lambda: open_backend(name, tmp_path / "m.onnx"), lambda: probe(name)):
        with pytest.raises(InputError, match=f"Unknown backend '{name}'") as caught:
            call()
        assert caught.value.hint == hint


def test_probe_gives_the_version() -> None:
    assert probe("onnxruntime") == (True, onnxruntime.__version__, "")


LIBRARIES = [("tensorrt", "tensorrt", "10.3.0"), ("tensorrt_rtx", "tensorrt-rtx", "1.7.1.116")]


@pytest.mark.parametrize(("name", "extra", "version"), LIBRARIES)
def test_probe_tells_what_a_plan_backend_can_do_here(
    monkeypatch: pytest.MonkeyPatch, name: str, extra: str, version: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    available, found, reason = probe(name)
    assert (available, found) == (False, "")
    assert f"pip install 'bas-edge[{extra}]'" in reason

    library = SimpleNamespace(__version__=version)
    monkeypatch.setitem(sys.modules, name, library)
    monkeypatch.setattr(_driver, "find_gpu", lambda: "There is no GPU.")
    builds = "It builds engines here all the same" if name == "tensorrt_rtx" else "It builds none"
    assert probe(name) == (False, version, f"There is no GPU. {builds}.")

    monkeypatch.setattr(_driver, "find_gpu", lambda: _driver.Gpu("Orin", (8, 7), "", "12.6"))
    assert probe(name) == (True, version, "")


@pytest.mark.parametrize(("name", "extra", "version"), LIBRARIES)
def test_building_without_the_library_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, extra: str, version: str
) -> None:
    gpu = _driver.Gpu("Orin", (8, 7), "", "12.6")
    monkeypatch.setattr(tensorrt_backend, "require_gpu", lambda *_, **__: gpu)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError) as caught:
        plan_builder(name)
    assert caught.value.hint == f"pip install 'bas-edge[{extra}]'"


def pretend(monkeypatch: pytest.MonkeyPatch, error: ImportError) -> None:
    real = importlib.import_module

    def import_module(name: str) -> ModuleType:
        if name == "onnxruntime":
            raise error
        return real(name)

    monkeypatch.setattr("bas_edge._require.importlib.import_module", import_module)


def test_an_absent_library_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch, ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime"))
    available, version, reason = probe("onnxruntime")
    assert (available, version) == (False, "")
    assert "needs the module 'onnxruntime', which is not installed" in reason
    assert "pip install bas-edge" in reason
    with pytest.raises(MissingExtraError):
        open_backend("auto", tmp_path / "m.onnx")


def test_a_broken_library_keeps_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, ImportError("libwhatever.so.1: cannot open shared object file"))
    assert not probe("onnxruntime").available
    assert "libwhatever.so.1: cannot open" in probe("onnxruntime").reason
