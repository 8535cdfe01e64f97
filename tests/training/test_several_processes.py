"""Two real processes that torchrun starts, against one. See team_driver.py for what they run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from bas_edge_training import load_checkpoint, train
from bas_edge_training.recipe import load_recipe
from bas_edge_training.training_log import read_log

DRIVER = Path(__file__).with_name("team_driver.py")
OPTIONS = (  # 15 images, 12 of them to train on: 5 + 5 + 2 a step, 2 without an object beside them
    "model.width=0.125",
    "model.norm=none",
    "data.resize=40",
    "data.crop=32",
    "data.batch_size=5",
    "background.per_batch=2",
    "schedule.epochs=2",
    "schedule.warmup_steps=0",
    "optimizer.lr=0.005",
    "validation.fraction=0.25",
    "machine.device=cpu",
    "machine.threads=1",
    "machine.workers=0",
)
WHOLE = ("training.ema=0.9", "training.accumulate=2")


class Ran(NamedTuple):
    folder: Path
    outcomes: tuple[Mapping[str, Any], Mapping[str, Any]]  # of process 0 and 1, by scenario


def write_images(folder: Path, each: int) -> None:
    generator = np.random.default_rng(5)
    for label, name in enumerate(("ant", "bee", "cat")):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = generator.integers(0, 120, (44, 48, 3)).astype(np.uint8)
            y, x = generator.integers(4, 20, 2)
            pixels[y : y + 16, x : x + 16, label] = 250
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def launch(what: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", *more, str(DRIVER), what, str(folder), *OPTIONS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=240
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("team")
    write_images(folder / "images", 5)
    write_images(folder / "other_images", 4)
    write_images(folder / "nothing", 1)
    (folder / "images" / "bee" / "1.png").write_bytes(b"not a picture")
    return folder


@pytest.fixture(scope="module")
def ran(data: Path) -> Ran:
    done = launch("scenarios", data)
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads((data / f"outcomes_{rank}.json").read_text()) for rank in (0, 1)]
    return Ran(data, (outcomes[0], outcomes[1]))


def figures(folder: Path) -> list[list[float]]:
    return [
        [row.lr, row.loss, row.ce, row.fg, row.bas, row.area, row.empty, row.top1]
        + [value for value in (row.val_top1, row.val_area) if value is not None]
        for row in read_log(folder / "log.csv")
    ]


def alone(ran: Ran, output: Path, *more: str) -> Path:
    recipe = load_recipe("default", [*OPTIONS, *more])
    train(ran.folder / "images", output, recipe, background=ran.folder / "nothing")
    return output


def assert_same_run(one: Path, other: Path) -> None:
    rows = figures(one), figures(other)
    assert len(rows[0]) == 8  # three steps and an epoch, twice
    for mine, theirs in zip(*rows, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)
    mine, theirs = load_checkpoint(one), load_checkpoint(other)
    for (name, value), expected in zip(
        mine.model.state_dict().items(), theirs.model.state_dict().values(), strict=True
    ):
        # L_bas divides by class scores, which are small at first and magnify rounding.
        torch.testing.assert_close(value, expected, atol=5e-4, rtol=1e-3, msg=name)
    assert mine.info.min_score == pytest.approx(theirs.info.min_score, abs=1e-4)
    assert mine.info.threshold is not None
    assert theirs.info.threshold is not None
    assert mine.info.threshold.value == pytest.approx(theirs.info.threshold.value, abs=1e-3)
    assert mine.info.data == theirs.info.data


def test_two_processes_train_as_one_does(ran: Ran, tmp_path: Path) -> None:
    """With an unreadable image, uneven parts, parts of one image, an average and two forwards."""
    one = alone(ran, tmp_path / "one", *WHOLE)
    assert_same_run(ran.folder / "whole", one)
    first, last = read_log(one / "log.csv")[0], read_log(one / "log.csv")[-2]
    assert abs(last.loss - first.loss) > 0.01  # the weights did move, so that equality says much


def test_every_process_gets_the_result(ran: Ran) -> None:
    bad = [str(ran.folder / "images" / "bee" / "1.png")]
    for outcomes in ran.outcomes:
        assert outcomes["whole"] == {"steps": 6, "skipped": bad}
        assert outcomes["normalised"] == {"steps": 6, "skipped": bad}


def test_other_images_in_one_process_are_refused(ran: Ran) -> None:
    first, second = (outcomes["other"] for outcomes in ran.outcomes)
    assert first["error"] == "InputError"
    assert "Process 0 has images and labels whose list has the hash" in first["message"]
    assert (second["error"], second["told"]) == ("PeerError", True)
    assert not (ran.folder / "other").exists()


def test_a_batch_that_is_too_small_for_all(ran: Ran) -> None:
    first, _ = (outcomes["small"] for outcomes in ran.outcomes)
    assert first["message"] == (
        "data.batch_size is 1, but there are 2 processes with 1 parts of a batch each."
    )


def test_divergence_ends_all_and_one_tells(ran: Ran) -> None:
    first, second = (outcomes["diverged"] for outcomes in ran.outcomes)
    assert first["error"] == "DivergenceError"
    assert (second["error"], second["told"]) == ("PeerError", True)
    assert second["message"] == first["message"]


def test_error_of_one_process_is_told_by_the_other_and_nothing_is_lost(
    ran: Ran, tmp_path: Path
) -> None:
    first, second = (outcomes["failed"] for outcomes in ran.outcomes)
    assert (second["error"], second["message"]) == ("ValueError", "the disk is on fire")
    assert (first["error"], first["told"]) == ("PeerError", False)
    assert first["message"] == "Process 1 of 2 (counted from 0) failed: the disk is on fire"
    failed = ran.folder / "failed"
    assert len(figures(failed)) == 2  # it failed in step 3
    resumed = train(ran.folder / "images", failed, background=ran.folder / "nothing", resume=True)
    assert resumed.steps == 6
    assert_same_run(failed, alone(ran, tmp_path / "one"))


def test_sigterm_in_one_process_stops_all_at_one_step_and_one_process_goes_on(
    ran: Ran, tmp_path: Path
) -> None:
    first, second = (outcomes["stopped"] for outcomes in ran.outcomes)
    assert first["error"] == "TrainingInterrupted"
    assert first["message"].startswith("Stopped after step 3 of 6; all of it is saved. Go on with:")
    assert "torchrun --nproc-per-node 2 -m bas_edge.cli train" in first["message"]
    assert (second["error"], second["told"]) == ("PeerError", True)
    stopped = ran.folder / "stopped"
    train(ran.folder / "images", stopped, background=ran.folder / "nothing", resume=True)
    assert_same_run(stopped, alone(ran, tmp_path / "one"))


def test_killed_process_is_named_and_torchrun_starts_again_from_the_last_step(
    data: Path, tmp_path: Path
) -> None:
    done = launch("killed", data, "--max-restarts", "1")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("bas-edge: ")]
    assert said == [
        "bas-edge: Process 1 of 2 (counted from 0) no longer answers: killed, out of memory, or "
        "hanging."
    ]
    assert done.stdout.count("Trained 2 epochs (6 steps)") == 1
    assert "note: 1 image was skipped; the first: " in done.stderr
    steps = [row.step for row in read_log(data / "killed" / "log.csv") if row.row == "step"]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert [path.name for path in data.glob("went_on_with_step_*")] == ["went_on_with_step_6"]
    ran = Ran(data, ({}, {}))
    assert_same_run(data / "killed", alone(ran, tmp_path / "one"))
