"""What a refused build leaves: its report, and nothing of anybody else's is touched."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from colour_network import write_network, write_pictures

import bas_edge
import bas_edge._require
from bas_edge.errors import AccuracyError
from bas_edge.quantization import refused
from bas_edge.quantization.advice import advice
from bas_edge.quantization.job import PrecisionJob
from bas_edge.quantization.refused import refused_folder
from bas_edge.quantization.report import LayerError, PrecisionReport, SearchStep
from bas_edge.quantization.report_file import decode_report

REPORT = ["report.html", "report.json"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder / "calib", 100, seed=1)
    write_pictures(folder / "val", 24, seed=2)
    return folder


@pytest.fixture
def build(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`build(name, planted="fixed", **job)`: refused, unless told otherwise."""
    monkeypatch.setenv("BAS_EDGE_CACHE", str(tmp_path / "cache"))

    def make(name: str, planted: str = "fixed", **options: Any) -> Any:
        job = PrecisionJob(
            calibration=pictures / "calib",
            method="min-max",
            evaluation=pictures / "val" / "index.csv",
            search_budget_s=0,
            **options,
        )
        return bas_edge.build_engine(
            write_network(tmp_path / "net.onnx", planted=planted),
            tmp_path / name,
            precision="int8",
            job=job,
        )

    return make


def made(folder: Path) -> list[str]:
    """What lies beside the network and the cache."""
    return sorted(one.name for one in folder.iterdir() if one.name not in {"cache", "net.onnx"})


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("birds.engine", "birds.refused"),
        ("birds", "birds.refused"),
        ("birds.v1", "birds.v1.refused"),
        ("birds.v2", "birds.v2.refused"),
        ("z.refused", "z.refused.refused"),
        ("a.engine.engine", "a.engine.refused"),
    ],
)
def test_the_name_of_the_folder(output: str, expected: str) -> None:
    assert refused_folder(Path("there") / output) == Path("there") / expected


def test_an_older_report_is_replaced_and_goes_when_the_engine_is_accepted(
    build: Callable[..., Any], tmp_path: Path
) -> None:
    for _ in range(2):
        with pytest.raises(AccuracyError, match="MaxBoxAccV2 loses") as e:
            build("q.engine")
        assert str(tmp_path / "q.refused" / "report.html") in str(e.value.hint)
        assert made(tmp_path) == ["q.refused"]
        assert sorted(one.name for one in (tmp_path / "q.refused").iterdir()) == REPORT
    build("q.engine", planted="")
    assert made(tmp_path) == ["q.engine"]


def test_a_report_that_cannot_be_removed_is_a_note(
    build: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AccuracyError):
        build("q.engine")

    def stuck(folder: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "rmdir", stuck)
    notes: list[str] = []
    build("q.engine", planted="", note=notes.append)
    assert notes[-1].endswith("q.refused: Permission denied.")
    assert (tmp_path / "q.engine").is_dir()


@pytest.mark.parametrize("content", ["file", "own report.html", "further file", "link", "empty"])
def test_what_is_somebody_elses_stays(
    build: Callable[..., Any], tmp_path: Path, content: str
) -> None:
    folder = tmp_path / "q.refused"
    if content == "file":
        folder.write_text("mine")
    elif content == "link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to("elsewhere")
    else:
        folder.mkdir()
        if content != "empty":
            (folder / "report.html").write_text("mine")
        if content == "further file":
            (folder / "notes.txt").write_text("mine")
    before = {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}
    with pytest.raises(AccuracyError, match=r"MaxBoxAccV2 loses.*q\.refused is there and") as e:
        build("q.engine")
    assert e.value.exit_code == 8
    assert "Look at" not in str(e.value.hint)
    build("q.engine", planted="")
    assert os.path.lexists(folder)
    assert {one: one.read_bytes() for one in before} == before


def test_a_full_disk_is_still_a_refusal(
    build: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(refused, "write_and_sync", full)
    with pytest.raises(AccuracyError, match="Nor was its report: No space left on device"):
        build("q.engine")
    assert made(tmp_path) == []


def test_ctrl_c_leaves_no_half_report(
    build: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(refused, "sync_folders", stop)
    with pytest.raises(KeyboardInterrupt):
        build("q.engine")
    assert made(tmp_path) == []


def test_without_jinja2_a_note_says_so_and_the_hint_names_what_is_there(
    build: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = bas_edge._require.importlib.import_module

    def without(name: str) -> ModuleType:
        if name == "jinja2":
            raise ModuleNotFoundError("No module named 'jinja2'", name="jinja2")
        return original(name)

    monkeypatch.setattr(bas_edge._require.importlib, "import_module", without)
    notes: list[str] = []
    with pytest.raises(AccuracyError) as e:
        build("q.engine", note=notes.append)
    assert str(tmp_path / "q.refused" / "report.json") in str(e.value.hint)
    assert [note for note in notes if "report.html is left out" in note]
    engine = build("good.engine", planted="", note=notes.append)
    assert not (engine.path / "report.html").exists()
    assert len([note for note in notes if "report.html is left out" in note]) == 2


@pytest.mark.parametrize(
    ("tried", "budget_s", "expected"),
    [
        ((), 0.0, "No layer was tried in float. A --search-budget above 0"),
        ((1, 2), 60.0, "ended with its time, after 2 of 4 layers in float. A longer --search"),
        ((1, 2, 3), 60.0, "tried up to 3 of 4 layers in float: more time is no help. More or"),
    ],
)
def test_the_hint_knows_why_the_search_ended(
    tried: tuple[int, ...], budget_s: float, expected: str
) -> None:
    report = PrecisionReport(
        engine="q",
        precision="int8",
        verdict="refused",
        layers=tuple(LayerError(node=name, operator="Conv", error=0.25) for name in "abcd"),
        search=tuple(
            SearchStep(nodes_in_float=n, checks=(), held=False, seconds=1.0) for n in tried
        ),
    )
    assert expected in advice(report, budget_s)


def test_the_report_says_what_the_message_says(build: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(AccuracyError) as e:
        build("q.engine")
    written = decode_report((tmp_path / "q.refused/report.json").read_bytes(), source="it")
    assert (written.verdict, written.forced) == ("refused", False)
    assert written.reason in str(e.value)
