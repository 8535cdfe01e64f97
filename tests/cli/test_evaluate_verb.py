"""`bas-edge evaluate`: table, JSON, picture, and skipped images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image
from published_sets import SETS

import bas_edge
import bas_edge.evaluation
from bas_edge.images import read_image

Invoke = Callable[..., tuple[int, list[Any], str]]
Tiny = Callable[..., Path]
Say = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.usefixtures("workplace")

COLOURS = {"a": (255, 0, 0), "b": (0, 255, 0), "c": (0, 0, 255)}


@pytest.fixture
def split(graphs: ModuleType) -> Path:
    """val.csv: two images a class, each with its box."""
    rows = ["path,label,class_name,x0,y0,x1,y1"]
    for label, (name, colour) in enumerate(COLOURS.items()):
        for shift in (0, 16):
            box = (8 + shift, 8, 32 + shift, 40)
            file = Path(f"{name}{shift}.png")
            Image.fromarray(graphs.coloured_frame((64, 64), box, colour)).save(file)
            rows.append(",".join(map(str, (file, label, name, *box))))
    Path("val.csv").write_text("\n".join(rows) + "\n")
    return Path("val.csv")


def test_a_picture_that_cannot_be_drawn_costs_no_results(split: Path, say: Say) -> None:
    """Without boxes no image is the worst; that shows when the pass is over."""
    rows = [line.split(",")[:3] for line in split.read_text().splitlines()]
    labels = split.with_name("labels.csv")
    labels.write_text("\n".join(",".join(row) for row in rows))
    code, _, err = say("evaluate", "tiny.onnx", labels, "--worst", "worst.png", "--threads", 1)
    assert code == 2
    assert "There are no worst images to draw" in err
    assert json.loads(Path("evaluation.json").read_text())["images"] == len(rows) - 1


def test_a_table_json_and_the_worst_images(split: Path, say: Say) -> None:
    code, out, err = say("evaluate", "tiny.onnx", split, "--worst", "worst.png", "--threads", 1)
    assert (code, err) == (0, "")
    assert "GT-known" in out
    assert out.endswith("Written to evaluation.json, worst.png\n")
    assert json.loads(Path("evaluation.json").read_text())["images"] == 6
    assert read_image("worst.png").shape[2] == 3


def test_json_alone_writes_no_file(split: Path, invoke: Invoke) -> None:
    code, (report,), _ = invoke("evaluate", "tiny.onnx", split)
    assert code == 0
    assert (report["images"], report["protocol"], report["updated"]) == (6, "bas", False)
    assert report["classification"]["top1"] == 100.0
    assert not Path("evaluation.json").exists()


def by_torchrun(monkeypatch: pytest.MonkeyPatch, rank: int, size: int, here: int) -> None:
    for name, value in (("RANK", rank), ("WORLD_SIZE", size), ("LOCAL_WORLD_SIZE", here)):
        monkeypatch.setenv(name, str(value))


def test_torchrun_has_one_report_from_all_its_processes(
    split: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def evaluate(*words: Any, processes: int, **options: Any) -> Any:
        asked.append(processes)
        return bas_edge.evaluation.evaluate(*words, **options)

    monkeypatch.setattr(bas_edge, "evaluate", evaluate)
    by_torchrun(monkeypatch, 1, 3, 3)
    assert invoke("evaluate", "tiny.onnx", split) == (0, [], "")
    assert asked == []
    by_torchrun(monkeypatch, 0, 3, 3)
    code, (report,), _ = invoke("evaluate", "tiny.onnx", split)
    assert (code, report["images"], asked) == (0, 6, [3])
    invoke("evaluate", "tiny.onnx", split, "--processes", 2)
    assert asked == [3, 2]


def test_torchrun_on_several_machines_is_refused(
    split: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_torchrun(monkeypatch, 0, 4, 2)
    code, (told,), _ = invoke("evaluate", "tiny.onnx", split)
    assert code == 2
    assert told["error"] == (
        "torchrun has started 4 processes, 2 of them on this machine, but an evaluation runs on "
        "one."
    )


def test_update_stores_what_was_chosen(split: Path, say: Say) -> None:
    say("build-engine", "tiny.onnx")
    before = json.loads(Path("tiny.engine/manifest.json").read_text())
    code, out, _ = say("evaluate", "tiny.engine", split, "--update")
    assert code == 0
    assert "Stored in tiny.engine: the chosen threshold and min_score" in out
    assert json.loads(Path("tiny.engine/manifest.json").read_text()) != before


def test_a_corrupt_image_is_skipped_and_counted(split: Path, say: Say) -> None:
    Path("b0.png").write_bytes(Path("b0.png").read_bytes()[:60])
    code, out, err = say("evaluate", "tiny.onnx", split)
    assert code == 7
    assert "1 image was skipped; the first: b0.png" in err
    assert "GT-known" in out


def test_a_published_set_and_ten_crops(say: Say, invoke: Invoke, tiny_onnx: Tiny) -> None:
    known = SETS["open_images"]
    root = known.make(Path("OpenImages"))
    tiny_onnx(Path("colours.onnx"), classes=known.classes)
    code, out, err = say("evaluate", "colours.onnx", root, "--split", "val", "--ten-crop")
    assert (code, err) == (0, "")
    assert "PxAP" in out
    assert "Top-1 classification, ten crops" in out
    code, (report,), _ = invoke("evaluate", "colours.onnx", root)
    assert code == 0
    assert (report["split"], report["images"], report["localization"]) == ("test", 6, None)
    assert 50 < report["pixels"]["px_ap"] <= 100
    code, _, err = say("evaluate", "colours.onnx", root, "--split", "trainval")
    assert code == 2
    assert "OpenImages30k has no split 'trainval'" in err


def test_what_a_set_leaves_out_is_a_note(say: Say, tiny_onnx: Tiny) -> None:
    known = SETS["ilsvrc"]
    root = known.make(Path("ILSVRC"))
    tiny_onnx(Path("colours.onnx"), classes=known.classes)
    _, out, _ = say("evaluate", "colours.onnx", root, "--split", "train")
    assert "note: 2 training images have no boxes and are left out.\n" in out


def test_an_unknown_column(say: Say) -> None:
    Path("bad.csv").write_text("path,lable,class_name\na.png,0,a\n")
    code, _, err = say("evaluate", "tiny.onnx", "bad.csv")
    assert code == 2
    assert "lable" in err
    assert "label" in err.partition("hint:")[2]


def test_a_label_out_of_range(split: Path, say: Say) -> None:
    split.write_text(split.read_text().replace(",2,c,", ",7,c,"))
    code, _, err = say("evaluate", "tiny.onnx", split)
    assert code == 2
    assert "7" in err


def test_a_missing_csv(say: Say) -> None:
    code, _, err = say("evaluate", "tiny.onnx", "nothing.csv")
    assert code == 2
    assert "nothing.csv" in err
