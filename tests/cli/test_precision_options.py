"""`build-engine`'s options about fewer bits: what they become, and what is refused."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from colour_network import write_network, write_pictures

from bas_edge.cli import main
from bas_edge.cli.precision_options import PrecisionOptions, precision_job, seconds
from bas_edge.engine.build import build_engine
from bas_edge.engine.bundle import open_engine
from bas_edge.errors import InputError
from bas_edge.quantization.job import PrecisionJob
from bas_edge.quantization.yardstick import Bound

NOTHING = PrecisionOptions()


def job_of(**given: object) -> object:
    return precision_job(replace(NOTHING, **given), precision="int8", rebuild=False)


def test_without_options_there_is_no_job() -> None:
    assert job_of() is None


def test_options_become_a_job() -> None:
    job = precision_job(
        replace(NOTHING, calib="images", max_drop=0.3, search_budget="10m", reduce_range=False),
        precision="int8",
        rebuild=False,
    )
    assert job is not None
    assert job.must_apply == ("max_drop",)
    assert (job.calibration, job.method, job.limit) == ("images", "auto", 500)
    assert (job.bound.max_drop, job.bound.min_agreement) == (0.3, None)
    assert job.bound.agreement("localization") == 0.97
    assert job.bound.agreement("segmentation") == 0.85
    assert (job.search_budget_s, job.reduce_range, job.force) == (600.0, False, False)


@pytest.mark.parametrize(
    "zero", [{"max_drop": 0.0}, {"min_agreement": 0.0}, {"reduce_range": False}]
)
def test_zeros_count_as_given(zero: dict[str, float]) -> None:
    with pytest.raises(InputError, match="needs calibration images"):
        job_of(**zero)


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("1.5h", 5400), (" 10 m ", 600), ("0", 0)]
)
def test_times(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "ten", "-5s", "5d", "1e9", "nan"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="no time"):
        seconds(text)


def test_rebuild_takes_none_of_them() -> None:
    with pytest.raises(InputError, match="--rebuild builds a plan of the graph that is there"):
        precision_job(replace(NOTHING, calib="images"), precision=None, rebuild=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BAS_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "net.onnx")
    write_network(tmp_path / "hard.onnx", planted="fixed")
    write_pictures(tmp_path / "calib", 110, seed=1)
    write_pictures(tmp_path / "val", 24, seed=2)
    return tmp_path


BUILD = ["build-engine", "--precision", "int8", "--calib", "calib", "--calib-method", "min-max"]


def test_a_build_prints_its_verdict_and_figures(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*BUILD, "net.onnx", "--eval", "val/index.csv"]) == 0
    text = capsys.readouterr().out
    for expected in ("int8: Accepted", "MaxBoxAccV2", "Top-1 Loc", "min-max", "kept"):
        assert expected in text
    assert main(["inspect", "net.engine", "--report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "accepted"


def test_inspect_shows_how_fewer_bits_came_about(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forced = ["--force", "--search-budget", "0", "--full-range"]
    assert main([*BUILD, "hard.onnx", "--eval", "val/index.csv", *forced]) == 0
    assert main([*BUILD, "hard.onnx", "-o", "b.engine", "--eval", "val/index.csv"]) == 0
    capsys.readouterr()
    assert main(["inspect", "hard.engine"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for expected in (
        "quantized for ONNX Runtime",
        "calibration min-max on 110 images",
        "weights 8 bits",
        "bound refused, but written all the same (--force): at most 0.5 points",
    ):
        assert expected in text
    assert main(["inspect", "b.engine"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "in float dense" in text
    assert "bound accepted: at most 0.5 points" in text


def test_a_build_says_whether_the_cache_was_reused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for output, expected in (("a.engine", "Not reused: none yet"), ("b.engine", "Reused: the")):
        assert main([*BUILD, "net.onnx", "-o", output, "--eval", "val/index.csv", "--json"]) == 0
        printed = capsys.readouterr()
        notes = [note for note in json.loads(printed.out)["notes"] if "cache" in note]
        assert [expected in note for note in notes] == [True]
        assert f"note: {notes[0]}" in printed.err


def test_a_refused_build_ends_with_8_and_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*BUILD, "hard.onnx", "--eval", "val/index.csv", "--search-budget", "0"]
    assert main(command) == 8
    error = capsys.readouterr().err
    assert "hard.engine was not written" in error
    assert "hard.refused" in error
    assert "Traceback" not in error
    assert not (folder / "hard.engine").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--calib-method", "best"], "Unknown calibration method 'best'"),
        (["--max-drop", "-1"], "max_drop is -1"),
        (["--min-agreement", "97"], "min_agreement is 97"),
        (["--calib", "nowhere"], "nowhere"),
        (["--calib-limit", "50"], "different images for calibration"),
        (["--eval", "calib/index.csv"], "are also calibration images"),
        (["--calib-method", "qat"], "no trained ranges"),
        (["--calib", ""], "--calib is empty"),
        (["--eval", ""], "--eval is empty"),
        (["--background", " "], "--background is empty"),
        (["--search-budget", ""], "--search-budget is ''"),
        (["--calib-method", ""], "Unknown calibration method ''"),
        (["--min-agreement", "0.9"], "--min-agreement is for images without boxes"),
        (["--eval", "val/*.png", "--max-drop", "0.5"], "--max-drop is for images with boxes"),
        (["--eval", "latin.csv"], "latin.csv is not UTF-8 text"),
        (["--eval", "unlabelled.csv"], "unlabelled.csv has no column 'label'"),
        (["--precision", "fp16"], "--calib-method is about int8"),
        (["--reduce-range", "--backend", "tensorrt_rtx"], "--reduce-range is for x86 CPUs"),
    ],
)
def test_bad_options_are_one_sentence_and_leave_nothing(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    (folder / "latin.csv").write_bytes("path\nvögel.png\n".encode("latin-1"))
    (folder / "unlabelled.csv").write_text("path,x0,y0,x1,y1\nval/000.png,1,1,9,9\n")
    assert main([*BUILD, "net.onnx", "--eval", "val/index.csv", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (folder / "net.engine").exists()


def test_fp32_takes_no_calibration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build-engine", "net.onnx", "--calib", "calib"]) == 2
    assert "fp32 has no calibration" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--calib-method", "mse"], ["--search-budget", "5m"], ["--full-range"]]
)
def test_fp16_takes_no_option_of_int8(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    command = ["build-engine", "net.onnx", "--precision", "fp16", "--calib", "calib", *options]
    assert main(command) == 2
    assert f"{options[0]} is about int8".replace("full", "reduce") in capsys.readouterr().err
    assert not (folder / "net.engine").exists()


def test_a_half_graph_is_not_calibrated_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build-engine", "net.onnx", "--precision", "fp16"]) == 0
    again = ["build-engine", "net.engine/model.onnx", "-o", "b.engine", "--precision", "fp16"]
    capsys.readouterr()
    assert main([*again, "--calib", "calib"]) == 2
    error = capsys.readouterr().err
    assert "is a graph in fp16 already" in error
    assert "Leave --calib out" in error
    assert main(again) == 0


@pytest.mark.parametrize("evaluation", ["val/index.csv", "val/*.png"])
def test_the_recorded_command_runs_as_typed(folder: Path, evaluation: str) -> None:
    job = PrecisionJob(
        calibration="calib",
        method="min-max",
        limit=None,
        evaluation=evaluation,
        bound=Bound(0.25, 0.9),
        search_budget_s=60,
        reduce_range=True,
        force=True,
        threads=1,
    )
    first = build_engine("net.onnx", "my net.engine", precision="int8", job=job)
    words = shlex.split(first.manifest.build_command)
    assert main([*words[1:], "--overwrite"]) == 0
    second = open_engine("my net.engine")
    assert second.model_path.read_bytes() == first.model_path.read_bytes()
    assert second.manifest.quantization == first.manifest.quantization
