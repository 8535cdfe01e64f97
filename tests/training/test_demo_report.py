"""The demo end to end with a tiny recipe: what it leaves, what its page says, what it refuses."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bas_edge
from bas_edge.errors import InputError
from bas_edge_training.demo import DemoResult, run_demo
from bas_edge_training.progress import SilentReporter
from bas_edge_training.synthetic import generate_dataset

pytest.importorskip("av", reason="the demo's video needs PyAV")

TINY = (
    "model.width=0.125",
    "data.resize=64",
    "data.crop=64",
    "data.batch_size=8",
    "schedule.steps=2",
    "schedule.warmup_steps=0",
    "machine.workers=0",
    "machine.threads=1",
)
STAGES = [
    "draw images with known boxes",
    "train from image labels",
    "export to ONNX",
    "build the engine",
    "evaluate on held-out images",
    "draw a video",
    "run the video",
    "measure latency",
]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    folder = tmp_path_factory.mktemp("demo") / "out"
    return run_demo(folder, images_per_class=5, overrides=TINY, reporter=SilentReporter())


@pytest.fixture(scope="module")
def own_images(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    """A demo on a user's folder: labels only, no video."""
    root = tmp_path_factory.mktemp("own")
    drawn = generate_dataset(
        root / "drawn",
        classes=2,
        images_per_class=10,
        val_per_class=1,
        backgrounds=1,
        size=(64, 64),
    )
    shutil.rmtree(drawn.train / "background")
    return run_demo(root / "out", data=drawn.train, overrides=TINY, reporter=SilentReporter())


def page_of(result: DemoResult) -> str:
    return result.report.read_text(encoding="utf-8")


def test_every_stage_is_run_and_timed_in_order(generated: DemoResult) -> None:
    assert list(generated.seconds) == STAGES
    assert all(seconds > 0 for seconds in generated.seconds.values())


def test_the_engine_runs(generated: DemoResult) -> None:
    with bas_edge.Localizer(generated.engine) as localizer:
        result = localizer.run(np.zeros((50, 70, 3), np.uint8), color="rgb")
    assert result.frame_size == (50, 70)
    assert result.class_name in {"checked", "chevron", "rayed", "ringed", "spotted", "striped"}


def test_files_are_where_the_result_says(generated: DemoResult) -> None:
    assert generated.video is not None
    for path in (generated.report, generated.contact_sheet, generated.video):
        assert path.is_file()
        assert path.parent == generated.output
    sheet = Image.open(generated.contact_sheet)
    with sheet:
        assert sheet.width > sheet.height > 100


def test_boxes_are_measured_against_the_centred_box(generated: DemoResult) -> None:
    found = generated.evaluation.localization
    assert found is not None
    page = page_of(generated)
    assert f"{found.stored.localization.gt_known:.1f}" in page
    assert f"{found.centre_box.by_iou['0.5']:.1f}" in page
    assert "centred box" in page


def test_the_page_loads_nothing_from_elsewhere(generated: DemoResult) -> None:
    page = page_of(generated)
    assert re.findall(r'(?:src|href)="(?!data:image/)', page) == []
    assert "<script" not in page
    assert "@import" not in page


def test_the_pictures_in_the_page_are_the_files(generated: DemoResult) -> None:
    embedded = re.findall(r'src="data:image/png;base64,([^"]+)"', page_of(generated))
    pictures = [base64.b64decode(one) for one in embedded]
    assert generated.contact_sheet.read_bytes() in pictures
    assert (generated.output / "run" / "curves.png").read_bytes() in pictures
    assert len(pictures) == 3  # and the strip of the video


def test_the_summary_is_json_for_scripts(generated: DemoResult) -> None:
    figures = json.loads((generated.output / "demo.json").read_text())
    assert figures["train_steps"] == 2
    assert figures["video_frames"] > 100
    assert list(figures["seconds"]) == STAGES


def test_own_images_are_measured_by_label_only_and_the_page_says_so(own_images: DemoResult) -> None:
    assert own_images.evaluation.localization is None
    assert own_images.evaluation.images == 2  # a tenth of each class was set aside
    assert own_images.video is None
    page = page_of(own_images)
    assert "without boxes" in page
    assert "only the classes can be measured" in page
    assert "centred box" not in page


def test_images_set_aside_are_never_trained_on(own_images: DemoResult) -> None:
    rows = (own_images.output / "held_out.csv").read_text().splitlines()[1:]
    assert len(rows) == own_images.evaluation.images
    checkpoint = json.loads((own_images.output / "run" / "checkpoint.json").read_text())
    assert checkpoint["data"]["images"] == 2 * 10 - len(rows)
    assert checkpoint["data"]["validation"] == len(rows)


def test_a_folder_that_no_demo_wrote_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="no demo wrote it") as error:
        run_demo(tmp_path)
    assert "--output" in str(error.value.hint)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("option", ["data", "video"])
def test_a_missing_input_is_named_before_anything_is_made(tmp_path: Path, option: str) -> None:
    with pytest.raises(InputError, match="no_such_place does not exist"):
        run_demo(tmp_path / "out", **{option: tmp_path / "no_such_place"})
    assert not (tmp_path / "out").exists()


def test_a_wrong_recipe_is_refused_before_the_last_demo_is_removed(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text("{}")
    with pytest.raises(InputError, match="no_such_recipe"):
        run_demo(tmp_path, recipe="no_such_recipe")
    assert (tmp_path / "demo.json").is_file()
