"""`bas-edge compare`: table, JSON, picture, and exit codes. Engines alone need no checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from bas_edge.images import read_image

Invoke = Callable[..., tuple[int, list[Any], str]]
Say = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture
def split(graphs: ModuleType, tiny_onnx: Callable[..., Path]) -> Path:
    """val.csv: three images with a box each; and other.onnx beside tiny.onnx."""
    rows = ["path,label,class_name,x0,y0,x1,y1"]
    for label, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255))):
        box = (8, 8, 32 + 8 * label, 40)
        Image.fromarray(graphs.coloured_frame((64, 64), box, colour)).save(f"{label}.png")
        rows.append(",".join(map(str, (f"{label}.png", label, "abc"[label], *box))))
    Path("val.csv").write_text("\n".join(rows) + "\n")
    tiny_onnx(Path("other.onnx"), maps="mean")
    return Path("val.csv")


def test_a_table_a_report_and_a_sheet(split: Path, say: Say) -> None:
    code, out, err = say("compare", split, "--methods", "tiny.onnx, other.onnx", "--threads", 1)
    assert (code, err) == (0, "")
    assert out.startswith("3 images of val.csv, protocol bas, Top-1 classification 100.0")
    assert "agreement with tiny.onnx" in out
    assert out.endswith("Written to comparison.png, comparison.json\n")
    assert read_image("comparison.png").shape == (34 + 3 * 290, 3 * 256, 3)
    assert "\nMaps for one class are of the image's label; of engines, of the best class.\n" in out
    assert "\nbest: with these boxes, on these images; for MaxBoxAccV2 at each IoU level " in out
    assert "\nshipped, tiny.onnx, other.onnx: " in out
    report = json.loads(Path("comparison.json").read_text())
    figures = report["methods"][0]["localization"]["stored"]["localization"]
    assert figures == {"gt_known": 100.0, "top1_loc": 100.0, "top5_loc": 100.0}


def test_json_alone_writes_no_file(split: Path, invoke: Invoke) -> None:
    code, (report,), _ = invoke("compare", split, "--methods", "tiny.onnx", "--limit", 2)
    assert (code, report["images"], report["checkpoint"]) == (0, 2, "")
    assert not list(Path().glob("comparison.*"))


def test_a_corrupt_image_is_skipped_and_counted(split: Path, say: Say) -> None:
    Path("1.png").write_bytes(b"no image")
    code, out, err = say("compare", split, "--methods", "tiny.onnx,other.onnx")
    assert code == 7
    assert "1 image was skipped; the first: 1.png" in err
    assert "2 images of val.csv" in out


def test_what_cannot_be_compared(split: Path, say: Say) -> None:
    code, _, err = say("compare", split, "--methods", "tiny.onnx,eigen")
    assert (code, "There is no method 'eigen'." in err) == (2, True)
    code, _, err = say("compare", split)
    assert (code, "The method 'bas' needs a checkpoint." in err) == (2, True)
    assert "--checkpoint RUN" in err
    code, _, err = say("compare", split, "--methods", "tiny.onnx", "--sheet", "new/sheet.txt")
    assert (code, "The picture new/sheet.txt has no ending of a picture." in err) == (2, True)


@pytest.mark.parametrize("verb", ["compare", "evaluate", "benchmark"])
def test_a_report_that_cannot_be_written_is_refused_before_any_work(
    split: Path, say: Say, verb: str
) -> None:
    given = (split, "--methods", "gone.onnx") if verb == "compare" else ("gone.onnx",)
    given += (split,) if verb == "evaluate" else ()
    Path("taken").mkdir()
    code, out, err = say(verb, *given, "-o", "taken")
    assert (code, out) == (2, "")
    assert "taken is a folder." in err


def test_engines_of_one_name_are_told_apart(
    split: Path, say: Say, tiny_onnx: Callable[..., Path]
) -> None:
    Path("twin").mkdir()
    tiny_onnx(Path("twin/tiny.onnx"), maps="mean")
    _, out, _ = say("compare", split, "--methods", "tiny.onnx,twin/tiny.onnx,other.onnx")
    assert "agreement with tiny.onnx" in out
    assert "\ntwin/tiny.onnx " in out
