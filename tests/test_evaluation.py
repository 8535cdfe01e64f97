"""An engine that sees colours, on coloured rectangles whose labels and boxes are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

import bas_edge
from bas_edge import evaluation_processes
from bas_edge.engine.build import build_engine
from bas_edge.engine.bundle import open_engine
from bas_edge.errors import InputError
from bas_edge.evaluation import evaluate
from bas_edge.evaluation_pass import BATCH, ImagePass
from bas_edge.evaluation_processes import run_passes
from bas_edge.evaluation_report import Evaluation
from bas_edge.localizer import Localizer
from bas_edge.metrics.iou import box_iou

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
NAMES = ("a", "b", "c")
SIZE = (64, 96)
BOXES = [(8, 8, 40, 40), (20, 16, 80, 56), (40, 24, 88, 64), (0, 0, 48, 32), (12, 4, 60, 60)]


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory, graphs: ModuleType) -> Path:
    """Ten images of three colours; the last one is labelled with the wrong class."""
    folder = tmp_path_factory.mktemp("split")
    rows = []
    for n in range(10):
        box, label = BOXES[n % len(BOXES)], n % 3
        frame = graphs.coloured_frame(SIZE, box, COLOURS[label])
        Image.fromarray(frame).save(folder / f"{n}.png")
        shown = (label + 1) % 3 if n == 9 else label
        rows.append((f"{n}.png", shown, NAMES[shown], *box, SIZE[1], SIZE[0]))
    return write_csv(folder / "val.csv", rows)


@pytest.fixture(scope="module")
def empty_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images with nothing on them, so that every class is equally likely."""
    folder = tmp_path_factory.mktemp("empty")
    for n in range(3):
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / f"{n}.png")
    return folder


@pytest.fixture
def engine(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> Path:
    model = tiny_onnx(tmp_path / "tiny.onnx")
    return build_engine(model, tmp_path / "tiny.engine").path


def write_csv(path: Path, rows: Sequence[Sequence[Any]], *, boxes: bool = True) -> Path:
    header = "path,label,class_name,x0,y0,x1,y1,width,height"
    columns = slice(None) if boxes else slice(3)
    lines = [",".join(header.split(",")[columns])]
    lines += [",".join(str(cell) for cell in row[columns]) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_number_of_a_known_split(engine: Path, split: Path, empty_frames: Path) -> None:
    result = evaluate(engine, split, background=empty_frames)
    assert (result.images, result.skipped, result.backend) == (10, (), "onnxruntime")
    assert (result.classification.top1, result.classification.top5) == (90.0, 100.0)
    report = result.localization
    assert report is not None
    assert report.stored.localization.gt_known == 100.0
    assert report.stored.localization.top1_loc == 90.0
    assert report.stored.localization.top5_loc == 100.0
    assert report.max_box_acc.accuracy == 100.0
    assert report.max_box_acc_v2.mean == 100.0
    assert report.chosen is not None
    assert (report.chosen.images, report.chosen.localization.gt_known) == (5, 100.0)
    assert (report.stored.gap, report.chosen.gap, report.oracle.gap) == (0.0, 0.0, 0.0)
    assert report.centre_box.by_iou["0.5"] < 100.0
    assert result.rejection.background_images == 3
    assert result.rejection.stored.false_positive_rate == 100.0  # min_score is 0
    assert result.rejection.chosen.false_positive_rate == 0.0
    assert result.rejection.chosen.object_rate == 100.0
    assert result.rejection.chosen.value > 1 / 3


def test_boxes_are_those_the_localizer_returns(engine: Path, split: Path) -> None:
    result = evaluate(engine, split)
    with Localizer(engine) as localizer:
        for worst in result.worst:
            found = localizer.run(np.array(Image.open(worst.path)))
            assert worst.box == found.box
            assert worst.predicted == found.class_name
            assert worst.score == pytest.approx(found.score)
            truth = np.array(worst.truth)
            assert worst.iou == box_iou(np.array([found.box]), truth).max()
    assert [one.iou for one in result.worst] == sorted(one.iou for one in result.worst)
    assert len(result.worst) == 10


def test_the_other_protocol_needs_no_other_pass(engine: Path, split: Path) -> None:
    pytest.importorskip("cv2")
    result = evaluate(engine, split, protocol="wsoleval")
    assert result.protocol == "wsoleval"
    assert result.localization is not None
    assert result.localization.max_box_acc.accuracy == 100.0
    assert result.localization.stored.localization.top1_loc == 90.0


@pytest.mark.parametrize("resize", ["letterbox", "centre_crop"])
def test_every_resize_policy_is_mapped_back(
    resize: str, tmp_path: Path, tiny_onnx: Callable[..., Path], split: Path
) -> None:
    model = tiny_onnx(tmp_path / "tiny.onnx", resize=resize)
    result = evaluate(model, split)
    with Localizer(model) as localizer:
        for worst in result.worst:
            assert worst.box == localizer.run(np.array(Image.open(worst.path))).box


def test_a_result_survives_json(engine: Path, split: Path, empty_frames: Path) -> None:
    result = evaluate(engine, split, background=empty_frames)
    assert msgspec.json.decode(msgspec.json.encode(result), type=Evaluation) == result


def test_the_table_shows_the_gap_and_the_background(
    engine: Path, split: Path, empty_frames: Path
) -> None:
    result = evaluate(engine, split, background=empty_frames)
    rows = {row[0].strip(): row[1:] for row in result.rows()}
    assert rows["threshold"][0] == "fixed 0.50"
    assert rows["GT-known"] == ("100.0", "100.0", "100.0")
    assert rows["gap to the oracle"] == ("+0.0", "+0.0", "+0.0")
    assert rows["images"] == ("10", "5", "10")
    lines = result.table()
    assert len(lines) == len(result.rows()) + 1
    assert "stored threshold" in lines[0]


def test_labels_alone_measure_classes_and_min_score(engine: Path, split: Path) -> None:
    rows = [line.split(",") for line in split.read_text().splitlines()[1:]]
    labels = write_csv(split.parent / "labels.csv", rows, boxes=False)
    result = evaluate(engine, labels)
    assert result.localization is None
    assert result.worst == ()
    assert result.classification.top1 == 90.0
    assert ("  background kept", "no background images", "", "") in result.rows()
    with pytest.raises(InputError, match="localization was not measured"):
        result.save_worst(split.parent / "worst.png")


def test_bad_images_are_named_and_the_rest_is_measured(
    engine: Path, split: Path, tmp_path: Path
) -> None:
    good = split.parent
    (tmp_path / "broken.png").write_bytes((good / "0.png").read_bytes()[:60])
    for n in range(4):
        (tmp_path / f"{n}.png").write_bytes((good / f"{n}.png").read_bytes())
    rows = [(f"{n}.png", n % 3, NAMES[n % 3], *BOXES[n], 96, 64) for n in range(3)]
    rows.append(("broken.png", 0, "a", *BOXES[0], 96, 64))
    rows.append(("3.png", 0, "a", *BOXES[3], 50, 50))
    calls: list[tuple[int, int]] = []
    result = evaluate(
        engine,
        write_csv(tmp_path / "val.csv", rows),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert result.images == 3
    assert [Path(one.path).name for one in result.skipped] == ["broken.png", "3.png"]
    assert "broken.png" in result.skipped[0].reason
    assert "is 96 × 64, but its annotation says 50 × 50" in result.skipped[1].reason
    assert calls == [(n, 5) for n in range(1, 6)]


def test_two_processes_find_what_one_does(
    engine: Path, split: Path, empty_frames: Path, tmp_path: Path
) -> None:
    """Two batches of labelled images, one broken, and one without objects."""
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    header, *rows = split.read_text().splitlines()
    rows = [f"{split.parent}/{row}" for row in rows]
    rows.insert(3, f"{tmp_path}/broken.png,0,a,0,0,9,9,96,64")
    data = tmp_path / "val.csv"
    data.write_text("\n".join([header, *rows]) + "\n")
    calls: list[tuple[int, int]] = []
    results = [
        evaluate(
            engine,
            data,
            background=empty_frames,
            ten_crop=True,
            threads=1,
            processes=processes,
            progress=lambda done, total: calls.append((done, total)),
        )
        for processes in (1, 2)
    ]
    assert results[0] == results[1]
    assert (results[0].images, len(results[0].skipped)) == (10, 1)
    assert calls == [(n, 14) for n in range(1, 15)] * 2


def test_what_no_process_can_read_is_told_once(engine: Path, tmp_path: Path) -> None:
    rows = [(f"{n}.png", 0, "a", 0, 0, 9, 9, 96, 64) for n in range(9)]
    for name, *_ in rows:
        (tmp_path / str(name)).write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"^None of the 9 images can be used: .*/0\.png"):
        evaluate(engine, write_csv(tmp_path / "val.csv", rows), processes=2)


def test_fewer_processes_than_one(engine: Path, split: Path) -> None:
    with pytest.raises(InputError, match="processes is 0, but must be 1 or more"):
        evaluate(engine, split, processes=0)


def test_processes_take_the_gpus_in_turn(monkeypatch: pytest.MonkeyPatch, engine: Path) -> None:
    """Each opens its own device, and has no threads, which a plan refuses."""
    opened: list[dict[str, Any]] = []

    def started(work: Callable[[int, int], Iterator[Any]], count: int) -> Iterator[Any]:
        for rank in range(count):
            yield from work(rank, count)

    def open_localizer(_engine: str, **options: Any) -> Localizer:
        opened.append(options)
        return Localizer(engine, threads=1)

    state = SimpleNamespace(devices=2)
    monkeypatch.setattr(evaluation_processes, "chosen_backend", lambda *_: "tensorrt")
    monkeypatch.setattr(evaluation_processes, "driver_state", lambda: state)
    monkeypatch.setattr(evaluation_processes, "in_processes", started)
    monkeypatch.setattr(evaluation_processes, "Localizer", open_localizer)
    images = ImagePass((Path("missing.png"),) * (2 * BATCH + 1))
    options: dict[str, Any] = {"backend": "auto", "threads": None, "processes": 4}
    with pytest.raises(InputError, match="None of the 17 images"):
        run_passes(engine, [images], advance=lambda _: None, **options)
    assert opened == [
        {"backend": "tensorrt", "threads": None, "device": device} for device in (0, 1, 0)
    ]


def test_a_box_beyond_the_decoded_image_is_named(engine: Path, split: Path, tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes((split.parent / "0.png").read_bytes())
    csv = tmp_path / "val.csv"
    csv.write_text("path,label,class_name,x0,y0,x1,y1\n0.png,0,a,0,0,97,64\n")
    with pytest.raises(InputError, match=r"None of the 1 images .* box reaches to \(97.0, 64.0\)"):
        evaluate(engine, csv)


def test_update_stores_what_was_chosen(engine: Path, split: Path, empty_frames: Path) -> None:
    before = open_engine(engine).manifest
    result = evaluate(engine, split, background=empty_frames, update=True)
    assert result.updated
    assert result.localization is not None
    assert result.localization.chosen is not None
    after = open_engine(engine).manifest
    assert after.threshold == result.localization.chosen.threshold
    assert after.threshold.chosen_by == "one half of val.csv (5 images), protocol bas"
    assert after.min_score == result.rejection.chosen.value
    (accuracy,) = after.accuracy
    assert (accuracy.data, accuracy.images, accuracy.protocol) == ("val.csv", 5, "bas")
    assert accuracy.metrics["gt_known"] == 100.0
    assert accuracy.metrics["false_positive_rate"] == 0.0
    assert msgspec.structs.replace(
        after, threshold=before.threshold, min_score=before.min_score, accuracy=()
    ) == before  # fmt: skip
    with Localizer(engine) as localizer:
        assert not localizer.run(np.zeros((*SIZE, 3), np.uint8)).found
    again = evaluate(engine, split, background=empty_frames, update=True)
    assert again.localization is not None
    assert again.localization.stored.threshold == after.threshold
    assert len(open_engine(engine).manifest.accuracy) == 1


def test_without_update_the_engine_is_untouched(engine: Path, split: Path) -> None:
    before = (engine / "manifest.json").read_bytes()
    assert not evaluate(engine, split).updated
    assert (engine / "manifest.json").read_bytes() == before


def test_update_is_refused_before_any_work(engine: Path, split: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a bare ONNX file"):
        evaluate(tmp_path / "tiny.onnx", split, update=True)
    with pytest.raises(InputError, match="'wsoleval' does not suit"):
        evaluate(engine, split, protocol="wsoleval", update=True)


def test_the_front_door_is_the_function() -> None:
    assert bas_edge.evaluate is evaluate  # and no module of that name shadows it


def test_an_unknown_protocol_is_refused(engine: Path, split: Path) -> None:
    with pytest.raises(InputError, match="Unknown protocol 'coco'; there are 'bas' and 'wsoleval'"):
        evaluate(engine, split, protocol="coco")


def test_one_image_has_no_other_half(engine: Path, split: Path, tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes((split.parent / "0.png").read_bytes())
    csv = write_csv(tmp_path / "val.csv", [("0.png", 0, "a", *BOXES[0], 96, 64)])
    result = evaluate(engine, csv)
    assert result.localization is not None
    assert result.localization.chosen is None
    assert ("GT-known", "100.0", "–", "100.0") in result.rows()


def test_the_contact_sheet_shows_every_image(engine: Path, split: Path, tmp_path: Path) -> None:
    result = evaluate(engine, split)
    result.save_worst(tmp_path / "worst.png")
    with Image.open(tmp_path / "worst.png") as sheet:
        assert sheet.size == (4 * 256, 3 * (256 + 34))
        first = np.asarray(sheet.crop((0, 0, 256, 256)))
    assert (first == (60, 220, 90)).all(axis=2).any()  # the annotated box
    assert (first == (255, 70, 60)).all(axis=2).any()  # the predicted one
    with pytest.raises(InputError, match=r"Cannot write .*worst\.nonsense"):
        result.save_worst(tmp_path / "worst.nonsense")
