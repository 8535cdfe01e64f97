"""`bas-edge analyse` and `analyse()`, from a checkpoint and images to curves in three files."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import published_sets
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from published_sets import save_mask

from bas_edge.annotations import read_annotations
from bas_edge.cli import main
from bas_edge.errors import InputError
from bas_edge.images import read_image
from bas_edge.ops import resize_frame
from bas_edge_training import analyse
from bas_edge_training.checkpoint import load_checkpoint, save_checkpoint
from bas_edge_training.models import BasModel

SIDE, IMAGES = 32, 10
RATIOS = (0.0, 0.5, 1.0, 99.0)


@pytest.fixture
def model(make_model: Callable[..., BasModel]) -> BasModel:
    return make_model("edge", classes=3, side=SIDE)


@pytest.fixture
def run(model: BasModel, make_checkpoint: Callable[..., Path]) -> Path:
    return make_checkpoint(model)


@pytest.fixture
def boxed(model: BasModel, tmp_path: Path) -> Path:
    """val.csv: images of noise, labelled with classes that have a positive score, in turn."""
    generator = np.random.default_rng(3)
    rows = ["path,label,class_name,x0,y0,x1,y1"]
    for number in range(IMAGES):
        coarse = generator.integers(0, 256, (5, 6, 3)).astype(np.uint8)
        file = tmp_path / f"{number}.png"
        Image.fromarray(coarse.repeat(8, 0).repeat(8, 1)).save(file)  # 48 wide, 40 high
        positive = np.flatnonzero(scores(model, file) > 0)
        label = positive[number % len(positive)]
        rows.append(f"{file.name},{label},class {label},8,10,32,{20 + number}")
    (tmp_path / "val.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "val.csv"


def scores(model: BasModel, file: Path) -> NDArray[np.float32]:
    """Logits [C] of one image as the runtime would show it."""
    frame = resize_frame(read_image(file), (SIDE, SIDE))
    with torch.inference_mode():
        logits, _ = model(torch.from_numpy(frame.transpose(2, 0, 1).copy())[None])
    return logits[0].numpy()


def labels_of(boxed: Path) -> list[int]:
    return [int(line.split(",")[1]) for line in boxed.read_text().splitlines()[1:]]


def relabel(boxed: Path, number: int, label: int) -> None:
    lines = boxed.read_text().splitlines()
    path, _, _, *box = lines[number + 1].split(",")
    lines[number + 1] = ",".join([path, str(label), f"class {label}", *box])
    boxed.write_text("\n".join(lines) + "\n")


def test_the_ends_of_the_curves_are_no_image_and_the_whole_image(
    run: Path, boxed: Path, model: BasModel
) -> None:
    found = analyse(run, boxed, ratios=RATIOS)
    curve = found.curve
    assert (curve.images, found.left_out) == (IMAGES, ())
    assert (found.truth, found.split) == ("boxes", "")
    logits = torch.tensor(
        np.stack([scores(model, boxed.parent / f"{n}.png") for n in range(IMAGES)])
    )
    labels = torch.tensor(labels_of(boxed))
    whole = float(F.cross_entropy(logits, labels))
    assert curve.top1 == float((logits.argmax(1) == labels).float().mean())
    nothing, _, own, everything = curve.points
    assert curve.whole_cross_entropy == pytest.approx(whole, rel=1e-4)
    assert everything.cross_entropy.mean == pytest.approx(whole, rel=1e-4)
    assert everything.foreground.mean == pytest.approx(1, abs=1e-4)
    assert nothing.background.mean == pytest.approx(1, abs=1e-4)
    assert nothing.cross_entropy.mean == pytest.approx(curve.empty_cross_entropy, rel=1e-4)
    assert everything.background.mean == pytest.approx(min(nothing.foreground.mean, 1), abs=1e-4)
    assert (nothing.area, everything.area, everything.whole_frame) == (0, 1, IMAGES)
    assert own.area == pytest.approx(24 * 14.5 / (48 * 40), abs=0.02)
    assert own.whole_frame == 0


@pytest.fixture
def masked(model: BasModel, run: Path, tmp_path: Path) -> Path:
    """CUB's layout, with masks, and the checkpoint of its classes."""
    root = published_sets.cub(tmp_path / "CUB")
    info = load_checkpoint(run).info
    named = msgspec.structs.replace(info, classes=read_annotations(root).classes)
    with torch.no_grad():  # so that every label has a positive score
        model.head.classifier.bias += 20
    save_checkpoint(run / "checkpoint.safetensors", model.state_dict(), named)
    return root


def test_masks_take_the_place_of_boxes_where_there_are_any(run: Path, masked: Path) -> None:
    for file in masked.glob("segmentations/*/test_*.png"):
        save_mask(file, (0, 0, 24, 32))
    found = analyse(run, masked, ratios=(1.0,))
    assert (found.truth, found.split, found.curve.images) == ("masks", "test", 6)
    assert found.curve.points[0].area == pytest.approx(24 * 32 / (96 * 64))  # no box is so small
    assert found.notes() == []
    other = analyse(run, masked, split="train", ratios=(1.0,))
    assert (other.split, other.curve.images) == ("train", 6)
    assert other.curve.points[0].area > 0.2


def test_a_mask_that_cannot_be_read_and_one_too_small_are_left_out(run: Path, masked: Path) -> None:
    folder = masked / "segmentations/001.a"
    (folder / "test_0.png").write_bytes(b"no mask")
    save_mask(folder / "test_3.png", (1, 1, 2, 2))  # between the pixels that an input of 32 sees
    found = analyse(run, masked, ratios=(1.0,))
    assert found.curve.images == 4
    kinds = {Path(one.path).stem: one.kind for one in found.left_out}
    assert kinds == {"test_0": "unusable", "test_3": "invisible"}
    assert [Path(one.path).stem for one in found.unusable] == ["test_0"]


def test_a_label_that_scores_nothing_is_left_out(run: Path, boxed: Path, model: BasModel) -> None:
    logits = scores(model, boxed.parent / "0.png")
    assert logits.min() < 0
    relabel(boxed, 0, int(logits.argmin()))
    found = analyse(run, boxed, ratios=RATIOS)
    assert found.curve.images == IMAGES - 1
    assert [(Path(one.path).name, one.kind) for one in found.left_out] == [
        ("0.png", "not positive")
    ]
    assert found.notes()[-1] == "Left out, not positive: 1."
    relabelled = "\n".join(boxed.read_text().splitlines()[:2]) + "\n"
    boxed.write_text(relabelled)
    with pytest.raises(InputError, match=r"None of the 1 images can be used: .* not above 0"):
        analyse(run, boxed)


def test_limit_draws_the_same_images_for_the_same_seed(run: Path, boxed: Path) -> None:
    first, again, other, every = (
        analyse(run, boxed, ratios=(0.5,), limit=limit, seed=seed).curve
        for limit, seed in ((4, 0), (4, 0), (4, 1), (IMAGES, 1))
    )
    assert first.images == other.images == 4
    assert first == again != other
    assert every == analyse(run, boxed, ratios=(0.5,)).curve


def test_classes_have_curves_of_their_own(run: Path, boxed: Path) -> None:
    found = analyse(run, boxed, ratios=RATIOS, per_class=True)
    labels = labels_of(boxed)
    shown = {curve.class_name: curve.images for curve in found.classes}
    assert shown == {f"class {label}": labels.count(label) for label in sorted(set(labels))}
    assert len(shown) > 1
    mean = sum(c.images * c.points[1].foreground.mean for c in found.classes) / IMAGES
    assert mean == pytest.approx(found.curve.points[1].foreground.mean)
    assert analyse(run, boxed, ratios=RATIOS).classes == ()


@pytest.mark.parametrize(
    ("ratios", "shown"), [((), "empty"), ((1, 1), "1, 1"), ((-1, 1), "-1"), ((float("nan"),), "n")]
)
def test_ratios_ascend_from_0(
    ratios: tuple[float, ...], shown: str, run: Path, boxed: Path
) -> None:
    with pytest.raises(InputError, match=f"The ratios are {shown}.*, but they must ascend"):
        analyse(run, boxed, ratios=ratios)


# The command


Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, boxed: Path) -> Say:
    """`say(*words) → (exit code, stdout, stderr)` of `bas-edge analyse`, beside val.csv."""
    monkeypatch.chdir(boxed.parent)

    def command(*words: object) -> tuple[int, str, str]:
        code = main(["analyse", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def test_three_files_that_agree(run: Path, say: Say) -> None:
    draw = ("--limit", 8, "--seed", 3)
    code, out, err = say(run, "val.csv", "--ratios", "0,0.5,1,2", "--per-class", *draw)
    assert (code, err) == (0, "")
    assert out.startswith("8 images, means ± standard errors\n")
    assert "background activation: smallest at " in out
    assert "note: The objects are boxes drawn as masks" in out
    assert out.endswith("Written to analysis: analysis.json, analysis.csv, analysis.png\n")
    report = json.loads(Path("analysis/analysis.json").read_text())
    assert (report["limit"], report["seed"], report["input_size"]) == (8, 3, SIDE)
    assert report["curve"]["images"] == sum(each["images"] for each in report["classes"]) == 8
    with Path("analysis/analysis.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * (1 + len(report["classes"]))
    for row, point in zip(rows, report["curve"]["points"], strict=False):
        assert (row["class_name"], row["images"]) == ("", "8")
        assert float(row["ratio"]) == point["ratio"]
        assert float(row["cross_entropy"]) == pytest.approx(point["cross_entropy"]["mean"])
        error = point["background"]["standard_error"]
        assert float(row["background_se"]) == pytest.approx(error, rel=1e-4)
    height, width, _ = read_image("analysis/analysis.png").shape
    assert min(height, width) > 400


def test_an_analysis_is_only_replaced_when_asked(run: Path, say: Say) -> None:
    words = (run, "val.csv", "--ratios", "1", "-o", "out")
    assert say(*words, "--limit", 1)[0] == 0
    before = Path("out/analysis.json").read_bytes()
    code, _, err = say(*words)
    assert code == 2
    assert "analysis.json already exists." in err
    assert Path("out/analysis.json").read_bytes() == before
    assert say(*words, "--overwrite")[0] == 0
    assert json.loads(Path("out/analysis.json").read_text())["curve"]["images"] == IMAGES
    Path("file").touch()
    assert "file is not a folder." in say(run, "val.csv", "-o", "file")[2]


def test_json_alone_writes_no_file(run: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # which it then does without
    code, out, _ = say(run, "val.csv", "--json", "--ratios", "0,1")
    assert code == 0
    report: dict[str, Any] = json.loads(out)
    assert [point["ratio"] for point in report["curve"]["points"]] == [0, 1]
    assert not Path("analysis").exists()
    code, _, err = say(run, "val.csv")
    assert code == 3
    assert "hint: pip install 'bas-edge[report]'" in err
    assert not Path("analysis").exists()


def test_labels_without_boxes_are_refused(run: Path, say: Say) -> None:
    Path("labels.csv").write_text("path,label,class_name\n0.png,0,class 0\n")
    code, _, err = say(run, "labels.csv", "-o", "out")
    assert code == 2
    assert "labels.csv has neither masks nor boxes, so nobody knows where the objects are." in err
    assert not Path("out").exists()


def test_a_damaged_image_is_named_and_the_others_count(run: Path, say: Say) -> None:
    Path("3.png").write_bytes(Path("3.png").read_bytes()[:60])
    code, out, err = say(run, "val.csv", "--ratios", "0,1")
    assert code == 7
    assert out.startswith(f"{IMAGES - 1} images")
    assert "note: Left out, unusable: 1." in out
    assert "1 image was skipped; the first: 3.png" in err


def test_ratios_that_are_no_numbers(run: Path, say: Say) -> None:
    code, _, err = say(run, "val.csv", "--ratios", "0;1")
    assert code == 2
    assert "--ratios is '0;1', but must be numbers with commas between them." in err
