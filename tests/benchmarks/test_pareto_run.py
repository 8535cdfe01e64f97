"""From two tiny runs to rows, and again without measuring twice. Nothing here is timed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bas_edge_training import exporting
from bas_edge_training.checkpoint import CheckpointInfo, DataSummary, save_checkpoint
from bas_edge_training.models import ModelConfig, build_model
from bas_edge_training.simplify import Simplification
from benchmarks import harness, worker
from benchmarks.harness import Comparison, Settings
from benchmarks.pareto import main
from benchmarks.rows import ParetoAccuracyRow, ParetoSpeedRow, read_rows

PLAN = """
baseline = "large"
[[model]]
run = "small"
sizes = [32, 48]
precisions = ["fp32", "fp16"]
"""


def write_run(folder: Path, *, classes: int, finished: bool = True) -> None:
    torch.manual_seed(3)
    config = ModelConfig(width=0.125, num_classes=classes, input_size=32)
    model = build_model(config).eval()
    with torch.no_grad():  # maps with contrast
        model.generator.conv.weight.mul_(40)
    info = CheckpointInfo(
        model=config,
        classes=tuple(f"class {label}" for label in range(classes)),
        recipe="none",
        recipe_sha256="",
        recipe_content={},
        data=DataSummary(source="none", images=0, validation=0, background=0),
        epoch=1,
        step=1,
        seconds=0.0,
        finished=finished,
        metrics={},
        min_score=0.99,  # no class is that certain, and boxes are compared all the same
    )
    folder.mkdir(parents=True)
    save_checkpoint(folder / "checkpoint.safetensors", model.state_dict(), info)


WORDS = [
    *("plan.toml", "--runs", "runs", "--work", "work", "--results", "rows"),
    *("--threads", "1", "--blocks", "2"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, pictures, and the engines of the plan; tests work on copies."""
    folder = tmp_path_factory.mktemp("pareto")
    for name in ("small", "large"):
        write_run(folder / "runs" / name, classes=2)
    (folder / "plan.toml").write_text(PLAN, encoding="utf-8")
    lines = ["path,label,class_name,x0,y0,x1,y1"]
    random = np.random.default_rng(0)
    for index in range(4):
        pixels = random.integers(0, 90, (40, 60, 3), np.uint8)
        pixels[10:30, 20:50] = 255 - 40 * index
        Image.fromarray(pixels).save(folder / f"{index}.png")
        lines.append(f"{index}.png,{index % 2},class {index % 2},20,10,50,30")
    (folder / "val.csv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "train.csv").write_text(
        "\n".join(line.rsplit(",", 4)[0] for line in lines), encoding="utf-8"
    )
    with pytest.MonkeyPatch.context() as patch:
        arrange(folder, patch)
        assert main([*WORDS, "--data", str(folder / "val.csv"), "--only", "engines"]) == 0
    return folder


def arrange(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Worker processes answer in this one, and say that a call takes 2 or 8 ms."""

    def in_process(case: Comparison, variant: str, settings: Settings, job: str) -> str:
        if job == "answer":
            worker.answer(case, variant, settings.work)
            return ""
        times = {"times_ms": [2.0 if variant == "ours" else 8.0], "stages_ms": {"infer": 1.0}}
        return json.dumps(times)

    patch.setattr(harness, "run_worker", in_process)
    left_out = Simplification(False, 0, 0, "left out")
    patch.setattr(exporting, "run_onnxsim", lambda model, _frames: (model, left_out))
    patch.chdir(folder)


@pytest.fixture
def words(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What to type."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    arrange(tmp_path, monkeypatch)
    return [*WORDS, "--data", str(tmp_path / "val.csv")]  # tables name its folder


def test_one_command_makes_measures_and_goes_on(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tmp_path / "work" / "small-48-fp16.engine")
    assert main([*words, "--only", "accuracy"]) == 0
    assert main(words) == 0
    rows = read_rows(tmp_path / "rows")
    accuracy = [row for row in rows if isinstance(row, ParetoAccuracyRow)]
    speed = [row for row in rows if isinstance(row, ParetoSpeedRow)]
    keys = [("small", size, precision) for precision in ("fp32", "fp16") for size in (32, 48)]
    assert [row.candidate.key for row in accuracy] == keys
    assert [row.candidate for row in speed] == [row.candidate for row in accuracy]
    assert (accuracy[1].images, accuracy[1].data) == (4, f"{tmp_path.name}/val.csv")
    first = speed[0]
    assert (first.ratio.median, first.classes, len(first.ours.block_p50_ms)) == (4.0, 2, 2)
    assert first.verified.startswith("boxes of 8 frames agree with eager torch (IoU 1.000 on")
    candidate = first.candidate
    assert (candidate.width, candidate.map_stride, candidate.trained_at) == (0.125, 8, 32)

    capsys.readouterr()
    made = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "work").iterdir())
    assert main(words) == 0
    assert read_rows(tmp_path / "rows") == rows
    assert capsys.readouterr().err.count("has its row") == 8
    kept = [path for path, _ in made if path.suffix in (".onnx", ".engine")]
    assert len(kept) == 6
    for path, when in made:
        if path in kept:
            assert path.stat().st_mtime_ns == when
    assert main([*words, "--only", "accuracy", "--again"]) == 0
    assert len(read_rows(tmp_path / "rows")) == len(rows) + 4


def test_a_folder_of_engines_needs_a_baseline_for_its_latency(
    words: list[str], tmp_path: Path
) -> None:
    options = ["work", *words[1:], "--results", "others"]
    with pytest.raises(SystemExit, match="needs --baseline RUN"):
        main([*options, "--only", "latency"])
    assert main([*options, "--baseline", "runs/large"]) == 0
    speed = [row for row in read_rows(tmp_path / "others") if isinstance(row, ParetoSpeedRow)]
    assert {row.verified for row in speed} == {"not compared: its checkpoint was not at hand"}
    assert [row.candidate.input_size for row in speed] == [32, 32, 32, 48, 48, 48]


def test_what_cannot_be_made_or_compared_is_said_and_the_rest_goes_on(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = '[[model]]\nrun = "gone"\nsizes = [32]\n[[model]]\nrun = "running"\nsizes = [32]\n'
    (tmp_path / "plan.toml").write_text(
        PLAN.replace('["fp32", "fp16"]', '["fp32"]') + more, encoding="utf-8"
    )
    shutil.rmtree(tmp_path / "work")  # all is made anew
    write_run(tmp_path / "runs" / "running", classes=2, finished=False)
    write_run(tmp_path / "runs" / "three", classes=3)
    assert main([*words, "--baseline", "runs/three"]) == 1
    said = capsys.readouterr().err
    assert "gone 32 fp32 failed: runs/gone/checkpoint.safetensors does not exist." in said
    assert "running 32 fp32 failed: The run in runs/running is not finished yet." in said
    assert "small 48 fp32 failed: it has 2 classes, and the baseline 3" in said
    assert {type(row) for row in read_rows(tmp_path / "rows")} == {ParetoAccuracyRow}
