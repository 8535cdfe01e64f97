"""mIoU of an engine on a set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

import bas_edge
from bas_edge import open_runner
from bas_edge.cli import main
from bas_edge.engine.bundle import write_bundle
from bas_edge.engine.onnx_metadata import read_manifest
from bas_edge.errors import InputError
from bas_edge.segmentation import write_mask
from bas_edge.segmentation.evaluate import evaluate_segmentation

Tiny = Callable[..., Path]


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Two 32 × 32 images of halves whose true masks are exact but for one wrong quarter."""
    root = tmp_path / "set"
    root.mkdir()
    for number in range(2):
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[:, 16:, number] = 255
        mask = np.zeros((32, 32), np.uint8)
        mask[:, 16:] = number + 1
        if number:
            mask[:16] = 255
        Image.fromarray(pixels).save(root / f"{number}.png")
        write_mask(root / f"{number}_mask.png", mask)
    (root / "index.csv").write_text(
        "path,labels,mask_path,split\n0.png,a,0_mask.png,val\n1.png,b,1_mask.png,val\n"
    )
    values = {"1": "a", "2": "b", "3": "c"}
    (root / "classes.json").write_text(json.dumps({"mask_values": values}))
    return root


@pytest.fixture
def engine(tiny_segmenter: Tiny, tmp_path: Path) -> Path:
    return tiny_segmenter(tmp_path / "tiny.onnx")


def test_masks_are_scored_and_ignored_pixels_do_not_count(engine: Path, colours: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = evaluate_segmentation(engine, colours, progress=lambda *at: seen.append(at))
    assert seen == [(1, 2), (2, 2)]
    assert found.images == 2
    assert found.accuracy.counts.sum() == 32 * 32 + 16 * 32
    assert found.accuracy.iou[:3].min() > 0.85  # the border lies between two cells
    assert np.isnan(found.accuracy.iou[3])
    assert found.to_dict()["miou"] == found.accuracy.miou


def test_two_processes_count_what_one_does(engine: Path, colours: Path) -> None:
    (colours / "2.png").write_bytes(b"not a picture")
    (colours / "2_mask.png").write_bytes((colours / "1_mask.png").read_bytes())
    with (colours / "index.csv").open("a") as index:
        index.write("2.png,b,2_mask.png,val\n")
    one, two = (
        evaluate_segmentation(engine, colours, threads=1, processes=processes).to_dict()
        for processes in (1, 2)
    )
    assert one == two
    assert (one["images"], list(one["skipped"])) == (2, [str(colours / "2.png")])


def test_an_engine_with_plans_is_measured_without_a_gpu(
    engine: Path,
    colours: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    manifest = msgspec.structs.replace(read_manifest(engine), backend="tensorrt")
    planned = write_bundle(tmp_path / "planned.engine", manifest, engine).path
    none = SimpleNamespace(available=False, reason="there is no driver")
    monkeypatch.setattr(open_runner, "driver_state", lambda: none)
    for processes in (1, 2):
        caplog.clear()
        found = evaluate_segmentation(planned, colours, threads=1, processes=processes)
        assert (found.backend, found.images) == ("onnxruntime", 2)
        assert [record.message.endswith(none.reason) for record in caplog.records] == [True]


def test_no_threads_are_refused_however_many_processes(engine: Path, colours: Path) -> None:
    for processes in (1, 2):
        with pytest.raises(InputError, match="threads is 0, but must be 1 or more"):
            evaluate_segmentation(engine, colours, threads=0, processes=processes)


def test_an_image_of_another_size_than_its_mask_is_skipped(engine: Path, colours: Path) -> None:
    Image.new("RGB", (30, 32)).save(colours / "0.png")
    found = evaluate_segmentation(engine, colours)
    assert found.images == 1
    assert "[32, 30], the true one [32, 32]" in found.skipped[str(colours / "0.png")]
    Image.new("RGB", (30, 32)).save(colours / "1.png")
    with pytest.raises(InputError, match="None of the 2 images can be measured"):
        evaluate_segmentation(engine, colours)


def test_evaluate_of_boxes_looks_at_the_engine_before_the_data(engine: Path, colours: Path) -> None:
    with pytest.raises(InputError, match="is an engine for segmentation, not for localization"):
        bas_edge.evaluate(engine, colours)


def test_other_classes_and_missing_masks_are_refused(engine: Path, colours: Path) -> None:
    values = {"1": "a", "2": "b", "3": "d"}
    (colours / "classes.json").write_text(json.dumps({"mask_values": values}))
    with pytest.raises(InputError, match=r"from 'a' to 'c'; .* from 'a' to 'd'"):
        evaluate_segmentation(engine, colours)
    (colours / "index.csv").write_text("path,labels,split\n0.png,a,val\n")
    with pytest.raises(InputError, match="has no masks"):
        evaluate_segmentation(engine, colours)


def test_evaluate_on_the_command_line(
    engine: Path, colours: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["evaluate", str(engine), str(colours), "--json"]) == 0
    fields: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert fields["iou"]["c"] is None
    assert fields["backend"] == "onnxruntime"
    report = tmp_path / "report.json"
    assert main(["evaluate", str(engine), str(colours), "-o", str(report)]) == 0
    said = capsys.readouterr().out
    assert "mean IoU" in said
    assert "onnxruntime; written to" in said
    assert json.loads(report.read_text())["miou"] == fields["miou"]
    assert main(["evaluate", str(engine), str(colours), "--update"]) == 2
    assert "--update is about boxes" in capsys.readouterr().err


def test_segment_on_the_command_line(
    engine: Path, colours: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (colours / "more").mkdir()
    (colours / "more" / "0.png").write_bytes(b"no image")
    out = tmp_path / "out"
    pictures = [str(colours / "0.png"), str(colours / "more")]
    code = main(["segment", str(engine), *pictures, "-o", str(out), "--overlays", "--json"])
    said = capsys.readouterr()
    assert code == 7
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert lines[0]["objects"][0]["class_name"] == "a"
    assert "1 image was skipped" in lines[1]["error"]
    assert sorted(path.name for path in out.iterdir()) == ["0.jpg", "0.png"]  # not of what failed
    mask = np.asarray(Image.open(out / "0.png"))
    assert (mask.shape, set(np.unique(mask).tolist())) == ((32, 32), {0, 1})
    assert main(["segment", str(engine), pictures[0], "-o", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["segment", str(engine), pictures[0], "--overlays"]) == 2
    assert main(["segment", str(engine), pictures[0]]) == 0
    with bas_edge.Segmenter(engine) as segmenter:
        (found,) = segmenter.run(np.asarray(Image.open(pictures[0]))).objects
    assert f"0.png: {found.text}\n" in capsys.readouterr().out


def test_the_backend_can_be_chosen(
    engine: Path, colours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, few = str(colours / "0.png"), ["--frames", "2"]
    for verb in (["segment", str(engine), image], ["benchmark", str(engine), *few]):
        assert main([*verb, "--backend", "tensorrt"]) != 0
        assert "is a bare ONNX file, but the backend 'tensorrt' runs plans" in (
            capsys.readouterr().err
        )
        assert main([*verb, "--backend", "onnxruntime", "--json"]) == 0
        capsys.readouterr()
    assert main(["evaluate", str(engine), str(colours), "--backend", "tensorrt"]) != 0
    assert "the backend 'tensorrt' runs plans" in capsys.readouterr().err


def test_benchmark_runs_a_segmenter(engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--frames", "4", "--warmup", "1", "--size", "96x64"]
    assert main(["benchmark", str(engine), *options]) == 0
    said = capsys.readouterr().out
    assert ": onnxruntime, default threads, synthetic 96×64\n4 frames after 1" in said
