"""inspect --report: the tables in the terminal, the JSON, and when a browser is started."""

from __future__ import annotations

import json
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from sample_report import sample_report

from bas_edge.cli import inspect_report
from bas_edge.engine.bundle import write_bundle
from bas_edge.engine.stages import IouSummary, Stage
from bas_edge.quantization.refused import write_refused
from bas_edge.quantization.report import KeptNode, PrecisionReport
from bas_edge.quantization.report_file import report_files

Invoke = Callable[..., tuple[int, list[Any], str]]
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def report(workplace: Path, graphs: ModuleType) -> PrecisionReport:
    """An engine `cub.engine` in the working folder, with this report."""
    report = sample_report(workplace / "pictures", images=2)
    write_bundle(
        "cub.engine", graphs.tiny_manifest(), Path("tiny.onnx"), files=report_files(report)
    )
    return report


def test_the_report_in_the_terminal(report: PrecisionReport, say: Say) -> None:
    code, out, err = say("inspect", "cub.engine", "--report")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "cub50, int8: Accepted after 3 of 53 layers were kept in float"
    assert lines[1] == report.reason
    assert f"note: {report.notes[0]}" in lines
    for title in (
        "The bound",
        "From stage to stage",
        "Calibration",
        "Calibration methods",
        "What each layer costs",
        "The search",
        "Kept in float",
    ):
        assert title in lines
    assert any(line.split()[:2] == ["MaxBoxAccV2", "71.34"] for line in lines)
    assert "  plan: no GPU here: not run" in lines
    assert lines[-1].endswith(str(Path("cub.engine", "report.html")))


def test_empty_columns_and_tables_are_left_out(
    workplace: Path, graphs: ModuleType, say: Say
) -> None:
    stage = Stage(name="fp16", against="onnx", images=3, size_bytes=5000)
    report = PrecisionReport(engine="e", precision="fp16", verdict="accepted", stages=(stage,))
    files = {"report.json": report_files(report)["report.json"]}
    write_bundle("e.engine", graphs.tiny_manifest(), Path("tiny.onnx"), files=files)
    _, out, _ = say("inspect", "e.engine", "--report")
    assert out.startswith("e, fp16: Accepted\n")
    assert "The bound" not in out
    assert "Latency" not in out
    assert "report.html" not in out


def test_json_is_report_json(report: PrecisionReport, invoke: Invoke) -> None:
    code, (found,), err = invoke("inspect", "cub.engine", "--report")
    assert (code, err) == (0, "")
    assert found == json.loads(Path("cub.engine/report.json").read_text())
    assert msgspec.convert(found, PrecisionReport) == report


def test_an_engine_without_a_report(report: PrecisionReport, say: Say) -> None:
    say("build-engine", "tiny.onnx")
    code, out, err = say("inspect", "tiny.engine", "--report")
    assert (code, out) == (2, "")
    assert err.startswith("bas-edge: tiny.engine has no report")
    assert "hint: " in err
    assert "bare ONNX file" in say("inspect", "tiny.onnx", "--report")[2]


def test_a_damaged_report_is_found(report: PrecisionReport, say: Say) -> None:
    Path("cub.engine/report.json").write_bytes(b"{}")
    code, _, err = say("inspect", "cub.engine", "--report")
    assert code == 4
    assert "report.json has 2 bytes" in err


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pages that a browser was asked for, on a desktop with a terminal."""
    pages: list[str] = []
    for name in ("SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda page: pages.append(page) or True)
    return pages


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


def test_the_page_is_opened_when_asked(
    report: PrecisionReport, say: Say, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_terminal(monkeypatch)
    say("inspect", "cub.engine", "--report")
    assert opened == []
    code, out, err = say("inspect", "cub.engine", "--open")
    assert (code, err) == (0, "")
    assert out.startswith("cub50, int8")
    assert opened == [Path("cub.engine/report.html").resolve().as_uri()]


def test_no_browser_in_a_pipe(report: PrecisionReport, say: Say, opened: list[str]) -> None:
    code, _, err = say("inspect", "cub.engine", "--open")
    assert code == 0
    assert err == ("note: report.html was not opened: the output goes into a pipe or file.\n")
    assert opened == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22"}, "this is a session over ssh"),
        ({"SSH_TTY": "/dev/pts/1"}, "this is a session over ssh"),
        ({"DISPLAY": ""}, "there is no desktop" if sys.platform.startswith("linux") else ""),
        ({}, ""),
    ],
)
def test_where_nobody_sits_before_the_screen(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], reason: str
) -> None:
    on_a_terminal(monkeypatch)
    assert inspect_report._why_not({"DISPLAY": ":0"} | changes) == reason


def test_a_browser_that_does_not_start(
    report: PrecisionReport, say: Say, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_terminal(monkeypatch)
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    assert "no browser could be started" in say("inspect", "cub.engine", "--open")[2]


def test_stages_of_the_export_are_in_the_manifest_s_rows(
    workplace: Path, graphs: ModuleType, say: Say
) -> None:
    same = IouSummary(mean=1.0, smallest=1.0, percentile_5=1.0, histogram=(*[0] * 19, 8))
    stages = (
        Stage(name="torch", size_bytes=4_000_000),
        Stage(name="onnx", against="torch", images=8, max_abs_error=2e-6, box_iou=same, note="why"),
    )
    manifest = msgspec.structs.replace(graphs.tiny_manifest(), stages=stages)
    graphs.save("s.onnx", graphs.tiny_model(manifest), manifest)
    _, out, _ = say("inspect", "s.onnx")
    assert "stage torch  4.0 MB\n" in out
    assert "maps within 2.0e-06 of torch, mean box IoU 1.0000 on 8 images; why\n" in out


@pytest.fixture
def refused(workplace: Path) -> PrecisionReport:
    """Of `cub.engine`, which was not written, in `cub.refused`."""
    sample = sample_report(workplace / "pictures", images=1)
    bad = sample.search[0]
    changes = {"verdict": "refused", "checks": bad.checks, "search": (bad,), "kept": ()}
    report = msgspec.structs.replace(sample, **changes)
    write_refused(Path("cub.engine"), report_files(report))
    return report


def test_the_report_of_a_refused_engine(
    refused: PrecisionReport, say: Say, invoke: Invoke, opened: list[str]
) -> None:
    code, out, err = say("inspect", "cub.refused", "--report")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "cub50, int8: Refused"
    assert lines[2].startswith("hint: The search ended with its time, after 0 of 53 layers")
    assert lines[-1].endswith(str(Path("cub.refused", "report.html")))
    _, (found,), _ = invoke("inspect", "cub.refused", "--report")
    assert msgspec.convert(found, PrecisionReport) == refused


def test_the_page_of_a_refused_engine_is_opened(
    refused: PrecisionReport, say: Say, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_terminal(monkeypatch)
    say("inspect", "cub.refused", "--open")
    assert opened == [Path("cub.refused/report.html").resolve().as_uri()]
    Path("cub.refused/report.html").unlink()
    code, out, err = say("inspect", "cub.refused", "--open")
    assert (code, err) == (0, "note: report.html was not opened: there is none.\n")
    assert "report.html" not in out


def test_a_refused_engine_that_cannot_be_shown(refused: PrecisionReport, say: Say) -> None:
    code, _, err = say("inspect", "cub.refused")
    assert code == 2
    assert "cub.refused is no engine" in err
    assert "hint: bas-edge inspect cub.refused --report" in err
    Path("cub.refused/report.json").write_bytes(b"{")
    code, _, err = say("inspect", "cub.refused", "--report")
    assert code == 4
    assert "The report of cub.refused cannot be read" in err


def test_an_engine_that_lost_its_manifest_is_no_report(report: PrecisionReport, say: Say) -> None:
    Path("cub.engine/manifest.json").unlink()
    for options in ((), ("--report",)):
        code, out, err = say("inspect", "cub.engine", *options)
        assert code != 0
        assert out == ""
        assert "has no manifest.json" in err


def test_layers_that_are_not_shown_are_counted(report: PrecisionReport, say: Say) -> None:
    assert "  45 more layers have 2.2 % together." in say("inspect", "cub.engine", "--report")[1]


@pytest.mark.parametrize(("kept", "shown", "more"), [(5, 5, ""), (24, 5, "… and 19 more: ")])
def test_a_build_ends_with_the_first_layers_in_float(
    report: PrecisionReport,
    capsys: pytest.CaptureFixture[str],
    kept: int,
    shown: int,
    more: str,
) -> None:
    nodes = tuple(KeptNode(node=f"node {n}", reason="the bound") for n in range(kept))
    inspect_report.print_summary(
        msgspec.structs.replace(report, kept=nodes), Path("my birds.engine")
    )
    out = capsys.readouterr().out
    assert sum("the bound" in line for line in out.splitlines()) == shown
    command = "bas-edge inspect 'my birds.engine' --report"
    assert (f"  {more}{command}\n" in out) == bool(more)
    assert ("more:" in out) == bool(more)
