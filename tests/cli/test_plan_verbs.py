"""build-engine and inspect with plans, around a TensorRT that is pretended."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bas_edge.backends import tensorrt_backend
from bas_edge.backends._driver import Gpu
from bas_edge.cli import output

Invoke = Callable[..., tuple[int, list[Any], str]]
Say = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.usefixtures("workplace")
PLAN = b"ftrt" + bytes(100)


@pytest.fixture
def script(fakes: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """TensorRT 10.3 on an Orin."""
    script = fakes.Script(outcomes=[PLAN, PLAN])
    monkeypatch.setitem(sys.modules, "tensorrt", fakes.make("10.3.0", script))
    orin = Gpu("NVIDIA Orin", (8, 7), "540.4.0", "12.6")
    monkeypatch.setattr(tensorrt_backend, "require_gpu", lambda *_, **__: orin)
    return script


def test_build_and_inspect_tell_the_plan(script: Any, say: Say) -> None:
    options = "--backend tensorrt --min-batch 2 --max-batch 4 --workspace 256MiB --precision fp16"
    code, out, err = say("build-engine", "tiny.onnx", *options.split())
    note = "note: Without --calib, fp16 is held to no bound, and there is no report.\n"
    assert (code, err) == (0, note)
    assert out.startswith("Wrote tiny.engine (fp16, ")
    assert "  plans/tensorrt-10.3.0-sm_87.plan: 0.0 MB, 3 layers, 0.0 s" in out
    _, out, _ = say("inspect", "tiny.engine")
    for line in (
        "plan             tensorrt 10.3.0: plans/tensorrt-10.3.0-sm_87.plan",
        "  runs on        sm_87",
        "  batch          2 to 4, fastest at 2",
        "  workspace      256 MiB",
        "  built on       NVIDIA Orin, driver 540.4.0, CUDA 12.6",
    ):
        assert line in out


def test_json_has_the_plan_and_the_notes(script: Any, invoke: Invoke) -> None:
    script.outcomes = [["out of memory"], PLAN]
    code, (built,), err = invoke("build-engine", "tiny.onnx", "--backend", "tensorrt")
    assert code == 0
    assert built["manifest"]["plans"][0]["max_batch"] == 8
    (note,) = built["notes"]
    assert note == (
        "TensorRT ran out of memory with a workspace of 8192 MiB; trying again with 4096 MiB."
    )
    assert err == f"note: {note}\n"


def test_rebuild_in_place(script: Any, say: Say) -> None:
    assert say("build-engine", "tiny.onnx", "--backend", "tensorrt", "--max-batch", "2")[0] == 0
    code, out, _ = say("build-engine", "tiny.engine", "--rebuild")
    assert code == 0
    assert out.startswith("Wrote tiny.engine")
    assert "1 to 2, fastest at 1" in say("inspect", "tiny.engine")[1]


def test_a_folder_without_rebuild_says_how(say: Say) -> None:
    say("build-engine", "tiny.onnx", "-o", "my birds.engine")
    code, _, err = say("build-engine", "my birds.engine")
    assert code == 2
    assert "my birds.engine is a folder, not an ONNX file." in err
    command = err.partition("To build its plan again: ")[2].strip()
    assert shlex.split(command) == ["bas-edge", "build-engine", "my birds.engine", "--rebuild"]
    Path("my run").mkdir()
    Path("my run/checkpoint.safetensors").touch()
    code, _, err = say("build-engine", "my run")
    assert (code, "hint: Export the run first: bas-edge export 'my run'\n" in err) == (2, True)


@pytest.mark.parametrize("options", [("-o", "x.engine"), ("--overwrite",), ("--precision", "fp16")])
def test_rebuild_refuses_what_it_cannot_change(say: Say, options: tuple[str, ...]) -> None:
    say("build-engine", "tiny.onnx")
    code, _, err = say("build-engine", "tiny.engine", "--rebuild", *options)
    assert code == 2
    assert "in place, so it takes no" in err


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_ctrl_c_is_130_and_leaves_nothing(
    script: Any, say: Say, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """So do the end of a terminal and a container that is stopped."""
    handlers = {each: signal.getsignal(getattr(signal, each)) for each in ("SIGTERM", "SIGHUP")}
    script.phases = [("Building", None, 100_000)]
    before = sorted(Path().iterdir())
    shown: list[float] = []

    def show(_bar: Any, _task: Any, *, completed: float, **_: Any) -> None:
        shown.append(completed)
        if len(shown) == 2:
            signal.raise_signal(getattr(signal, name))

    monkeypatch.setattr("rich.progress.Progress.update", show)
    code, _, err = say("build-engine", "tiny.onnx", "--backend", "tensorrt")
    assert (code, err) == (130, "bas-edge: Interrupted.\n")
    assert sorted(Path().iterdir()) == before
    for each, handler in handlers.items():
        assert signal.getsignal(getattr(signal, each)) == handler


def test_no_gpu_is_an_error_of_the_backend(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bas_edge.backends._driver.find_gpu", lambda: "There is no driver.")
    code, _, err = say("build-engine", "tiny.onnx", "--backend", "tensorrt")
    assert code == 5
    assert "Building with TensorRT needs an NVIDIA GPU. There is no driver." in err


@pytest.mark.rtx
def test_a_real_plan(say: Say, invoke: Invoke) -> None:
    options = ("--backend", "tensorrt_rtx", "--target", "sm_86,sm_120", "--timing-cache", "times")
    code, (built,), err = invoke("build-engine", "tiny.onnx", *options)
    assert code == 0
    assert "has no effect on TensorRT-RTX" in err
    assert not Path("times").exists()
    assert built["manifest"]["plans"][0]["targets"] == ["sm_86", "sm_120"]
    assert "  runs on        sm_86, sm_120" in say("inspect", "tiny.engine")[1]
    assert say("run", "tiny.engine", "photos/a.jpg")[0] == 0  # on ONNX Runtime


def test_the_bar_shows_phase_and_share(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def __init__(self) -> None:
            self.text = ""

        def write(self, text: str) -> int:
            self.text += text
            return len(text)

        def flush(self) -> None: ...

        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with output.build_bar() as show:
        show("Optimizing graph", 0.5)
    assert "Optimizing graph" in terminal.text
    assert "50%" in terminal.text


@pytest.mark.parametrize(("count", "text"), [(512 << 20, "512 MiB"), (3 << 29, "1.5 GiB")])
def test_sizes_for_people(count: int, text: str) -> None:
    assert output.size_text(count) == text


@pytest.mark.rtx
def test_targets_may_be_given_one_by_one(
    tmp_path: Path, tiny_onnx: Callable[..., Path], invoke: Any
) -> None:
    model = tiny_onnx(tmp_path / "m.onnx")
    words = ["--backend", "tensorrt_rtx", "--target", "sm_86", "--target", "sm_89"]
    code, (answer,), _ = invoke("build-engine", str(model), *words)
    assert code == 0
    assert answer["manifest"]["plans"][0]["targets"] == ["sm_86", "sm_89"]
    code, _, err = invoke("build-engine", str(model), "--overwrite", *words[:2], "--target", "")
    assert code == 2
    assert "--target is empty" in err
