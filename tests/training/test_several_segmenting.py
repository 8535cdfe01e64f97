"""Segmentation by two real processes against one. See segmentation_driver.py for what they run."""

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
from PIL import Image

from bas_edge.segmentation import read_image_set, write_mask
from bas_edge_training.segmentation.bas_training import train_multi_label
from bas_edge_training.segmentation.mask_report import MasksReport
from bas_edge_training.segmentation.pseudo_masks import make_masks
from bas_edge_training.segmentation.segmenter_training import train_segmenter
from bas_edge_training.training_log import read_log

DRIVER = Path(__file__).with_name("segmentation_driver.py")
OPTIONS = (  # 12 images, one of them unreadable: 5 + 5 + 2 a step
    "model.width=0.125",
    "model.norm=none",
    "data.resize=40",
    "data.crop=32",
    "data.batch_size=5",
    "background.per_batch=1",
    "schedule.epochs=2",
    "schedule.warmup_steps=0",
    "optimizer.lr=0.005",
    "validation.fraction=0.2",
    "machine.device=cpu",
    "machine.threads=1",
    "machine.workers=0",
)


class Ran(NamedTuple):
    folder: Path
    outcomes: tuple[Mapping[str, Any], Mapping[str, Any]]  # of process 0 and 1


def write_set(root: Path) -> None:
    """15 images of up to two of three classes, some pixels of which do not count; one has none."""
    root.mkdir()
    random = np.random.default_rng(3)
    names = ("red", "green", "blue")
    lines = ["path,labels,mask_path"]
    for number in range(15):
        present = sorted({number % 3, (number // 2) % 3}) if number != 7 else []
        pixels = random.integers(0, 100, (40, 44, 3)).astype(np.uint8)
        mask = np.zeros((40, 44), np.uint8)
        for slot, label in enumerate(present):
            pixels[8:30, 2 + 20 * slot : 20 + 20 * slot, label] = 250
            mask[8:30, 2 + 20 * slot : 20 + 20 * slot] = label + 1
        mask[: 2 * number] = 255
        Image.fromarray(pixels).save(root / f"{number}.png")
        write_mask(root / f"{number}_mask.png", mask)
        labels = ";".join(names[label] for label in present)
        lines.append(f"{number}.png,{labels},{number}_mask.png")
    (root / "4.png").write_bytes(b"not a picture")
    (root / "index.csv").write_text("\n".join(lines) + "\n")
    values = {str(number): name for number, name in enumerate(names, 1)}
    (root / "classes.json").write_text(json.dumps({"mask_values": values}))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("team")
    write_set(folder / "set")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(DRIVER), str(folder), *OPTIONS]
    done = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads((folder / f"outcomes_{rank}.json").read_text()) for rank in (0, 1)]
    return Ran(folder, (outcomes[0], outcomes[1]))


def figures(folder: Path) -> list[list[float]]:
    return [
        [row.loss, row.ce, row.fg, row.bas, row.area, row.empty, row.top1]
        + [value for value in (row.val_top1, row.val_area) if value is not None]
        for row in read_log(folder / "log.csv")
    ]


def assert_same_losses(one: Path, other: Path) -> None:
    rows = figures(one), figures(other)
    assert len(rows[0]) == 8  # three steps and an epoch, twice
    assert abs(rows[0][0][0] - rows[0][6][0]) > 0.01  # the weights did move
    for mine, theirs in zip(*rows, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)


@pytest.fixture(scope="module")
def bas_alone(ran: Ran, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("bas") / "run"
    train_multi_label(ran.folder / "set", output, overrides=OPTIONS)
    return output


@pytest.fixture(scope="module")
def segmenter_alone(ran: Ran, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("segmenter") / "run"
    train_segmenter(ran.folder / "set", output, overrides=OPTIONS)
    return output


def test_bas_of_several_labels_has_the_losses_of_one_process(ran: Ran, bas_alone: Path) -> None:
    assert_same_losses(ran.folder / "bas", bas_alone)
    assert figures(bas_alone)[0][5] > 0  # the image without a class takes part


def test_a_segmenter_has_the_losses_of_one_process(ran: Ran, segmenter_alone: Path) -> None:
    assert_same_losses(ran.folder / "segmenter", segmenter_alone)


def test_every_process_gets_the_result(ran: Ran) -> None:
    bad = [str(ran.folder / "set" / "4.png")]
    for outcomes in ran.outcomes:
        assert [outcomes[name]["skipped"] for name in ("bas", "masks", "segmenter")] == [bad] * 3


@pytest.mark.parametrize("name", ["bas_failed", "failed", "half"])
def test_a_process_that_fails_ends_the_other(ran: Ran, name: str) -> None:
    first, second = (outcomes[name] for outcomes in ran.outcomes)
    assert second == {"error": "ValueError", "message": "the disk is on fire"}
    message = "Process 1 of 2 (counted from 0) failed: the disk is on fire"
    assert first == {"error": "PeerError", "message": message}


def test_one_process_goes_on_with_what_two_began(
    ran: Ran, bas_alone: Path, segmenter_alone: Path
) -> None:
    data = ran.folder / "set"
    train_multi_label(data, ran.folder / "bas_failed", resume="auto")
    assert_same_losses(ran.folder / "bas_failed", bas_alone)
    train_segmenter(data, ran.folder / "failed", resume="auto")
    assert_same_losses(ran.folder / "failed", segmenter_alone)


def test_masks_are_shared_and_go_on_with_those_that_are_there(ran: Ran, tmp_path: Path) -> None:
    shares = [outcomes["masks"]["made"] for outcomes in ran.outcomes]
    assert sorted(shares[0] + shares[1]) == list(range(15))
    assert abs(len(shares[0]) - len(shares[1])) == 1

    def make(folder: Path, *, resume: bool) -> MasksReport:
        return make_masks(
            ran.folder / "bas", ran.folder / "set", folder, scales=(1.0, 0.5), resume=resume
        )

    half = ran.folder / "half"
    before = {path: path.stat().st_mtime_ns for path in (half / "masks").iterdir()}
    assert 2 <= len(before) < 14
    alone, resumed = make(tmp_path / "alone", resume=False), make(half, resume=True)
    assert {path: path.stat().st_mtime_ns for path in before} == before  # not made again
    assert (resumed.images, resumed.background, resumed.skipped) == (14, 1, alone.skipped)
    assert resumed.refined is not None
    assert alone.refined is not None
    assert resumed.refined.given.miou == pytest.approx(alone.refined.given.miou, abs=1e-3)
    counts = [found.refined.given.counts.sum() for found in (resumed, alone)]
    assert counts[0] == counts[1]
    for folder in (ran.folder / "masks", half):
        pairs = zip(read_image_set(folder).images, read_image_set(alone.folder).images, strict=True)
        for mine, theirs in pairs:
            assert (mine.path.name, mine.labels) == (theirs.path.name, theirs.labels)
            assert mine.mask is not None
            assert theirs.mask is not None
            assert (mine.mask.read() != theirs.mask.read()).mean() < 0.001  # rounding at the cut
        assert not list(folder.glob("unfinished*"))
