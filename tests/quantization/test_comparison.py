"""compare() against a loop over images that uses the runtime's own single-frame mapping."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from bas_edge.engine.manifest import Manifest, ResizePolicy, ThresholdPolicy
from bas_edge.errors import InputError
from bas_edge.framing import place
from bas_edge.images import read_image
from bas_edge.metrics.iou import box_iou
from bas_edge.ops import aggregate_maps, maps_to_boxes
from bas_edge.quantization.comparison import Run, compare, summarize_ious
from bas_edge.quantization.frame_store import FrameStore, InputFrame
from bas_edge.quantization.report_pictures import draw_picture

SIZES = ((40, 64), (64, 40), (33, 17), (64, 64), (7, 90), (50, 50))


def make_runs(images: int = len(SIZES)) -> tuple[Run, Run]:
    random = np.random.default_rng(3)
    maps = random.uniform(0, 1, (images, 8, 8)).astype(np.float32)
    maps[-1] = 0.25  # flat: no foreground, the whole frame
    scores = random.normal(size=(images, 3)).astype(np.float32)
    noise = random.normal(0, 0.1, maps.shape).astype(np.float32)
    moved = scores.copy()
    moved[0] = moved[0][::-1]
    return Run(maps, scores), Run(maps + noise, moved)


def plain_box(cells: NDArray[np.float32], size: tuple[int, int], manifest: Manifest) -> list[float]:
    shape = (manifest.input.height, manifest.input.width)
    cut = manifest.threshold
    found = maps_to_boxes(cells[None], shape, cut.value, rule=cut.rule)
    whole = [0.0, 0.0, float(size[1]), float(size[0])]
    if not found.found[0]:
        return whole
    x0, y0, x1, y1 = found.boxes[0, 0].tolist()
    box = place(size, manifest.input).box_to_frame((x0, y0, x1, y1))
    return whole if box is None else list(box)


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "centre_crop"])
@pytest.mark.parametrize("rule", ["fixed", "mean"])
def test_boxes_are_those_of_the_runtime_in_the_frame(
    graphs: ModuleType, resize: ResizePolicy, rule: str
) -> None:
    cut = ThresholdPolicy(rule=rule, value=0.6 if rule == "fixed" else 1.3)
    manifest = graphs.tiny_manifest(resize=resize, threshold=cut)
    reference, candidate = make_runs()
    found = compare(reference, candidate, SIZES, manifest)
    for n, size in enumerate(SIZES):
        before = plain_box(reference.maps[n], size, manifest)
        after = plain_box(candidate.maps[n], size, manifest)
        np.testing.assert_allclose(found.boxes_reference[n], before, rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.boxes[n], after, rtol=0, atol=1e-9)
        want = box_iou(np.array([before]), np.array([after]))[0, 0]
        assert found.ious[n] == pytest.approx(want, abs=1e-12)


def test_a_stage_says_what_a_loop_says(graphs: ModuleType) -> None:
    manifest = graphs.tiny_manifest()
    reference, candidate = make_runs()
    found = compare(reference, candidate, SIZES, manifest)
    stage = found.stage("int8", "fp32", size_bytes=7, latency_ms=1.5, note="a note")
    differences = [
        abs(float(a) - float(b))
        for a, b in zip(candidate.maps.ravel(), reference.maps.ravel(), strict=True)
    ]
    assert stage.max_abs_error == max(differences)
    assert stage.mean_abs_error == pytest.approx(sum(differences) / len(differences))
    same = [
        int(np.argmax(a)) == int(np.argmax(b))
        for a, b in zip(candidate.scores, reference.scores, strict=True)
    ]
    assert stage.label_agreement == pytest.approx(100 * sum(same) / len(same))
    assert (stage.name, stage.against, stage.images) == ("int8", "fp32", len(SIZES))
    assert (stage.size_bytes, stage.latency_ms, stage.note) == (7, 1.5, "a note")
    assert stage.box_iou == summarize_ious(found.ious)


def test_ious_are_counted_in_twenty_steps() -> None:
    summary = summarize_ious(np.array([0.0, 0.049, 0.05, 0.5, 0.951, 1.0]))
    assert summary is not None
    expected = [0] * 20
    expected[0], expected[1], expected[10], expected[19] = 2, 1, 1, 2
    assert list(summary.histogram) == expected
    assert (summary.smallest, summary.mean) == (0.0, pytest.approx(2.55 / 6))
    assert summary.percentile_5 == pytest.approx(0.049 * 0.25)
    assert summarize_ious(np.zeros(0)) is None


def test_no_images_are_a_stage_that_compared_nothing(graphs: ModuleType) -> None:
    nothing = Run(np.zeros((0, 4, 4), np.float32), np.zeros((0, 3), np.float32))
    stage = compare(nothing, nothing, (), graphs.tiny_manifest()).stage("onnx", "torch")
    assert (stage.images, stage.box_iou, stage.label_agreement) == (0, None, 100.0)


def test_the_worst_images_come_first_and_unmoved_ones_not_at_all(graphs: ModuleType) -> None:
    manifest = graphs.tiny_manifest(resize="letterbox")
    reference, candidate = make_runs()
    candidate.maps[2] = reference.maps[2]
    found = compare(reference, candidate, SIZES, manifest)
    worst = found.worst([f"{n}.jpg" for n in range(len(SIZES))])
    assert [one.iou for one in worst] == sorted(one.iou for one in worst)
    assert "2.jpg" not in [one.path for one in worst]
    assert len(found.worst([f"{n}.jpg" for n in range(len(SIZES))], count=2)) == 2
    first, n = worst[0], int(found.ious.argmin())
    assert (first.path, first.iou) == (f"{n}.jpg", found.ious[n])
    assert first.box == tuple(found.boxes[n])
    assert first.box_reference == tuple(found.boxes_reference[n])
    assert (first.label_reference, first.label) == (
        manifest.classes[reference.scores[n].argmax()],
        manifest.classes[candidate.scores[n].argmax()],
    )
    assert first.heat_size == (8, 8)
    assert len(first.heat) == len(first.heat_reference) == 64


def test_both_heats_have_the_scale_of_the_reference(graphs: ModuleType) -> None:
    cells = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    scores = np.array([[1, 0, 0]], np.float32)
    after = Run(np.ascontiguousarray(cells[:, ::-1]) * np.float32(0.5) - np.float32(0.1), scores)
    found = compare(Run(cells, scores), after, ((32, 32),), graphs.tiny_manifest())
    (image,) = found.worst(["x.png"])
    heat = np.frombuffer(image.heat, np.uint8)
    assert np.frombuffer(image.heat_reference, np.uint8).tolist()[::63] == [0, 255]
    assert heat.min() == 0
    assert heat.max() == round(255 * 0.4)


def test_outputs_of_a_graph_become_a_run(graphs: ModuleType) -> None:
    manifest = graphs.tiny_manifest(top_k=2)
    random = np.random.default_rng(0)
    outputs = {
        "logits": random.normal(size=(4, 3)).astype(np.float32),
        "maps": random.uniform(size=(4, 3, 8, 8)).astype(np.float32),
    }
    run = Run.of_outputs(outputs, manifest)
    np.testing.assert_array_equal(run.maps, aggregate_maps(outputs["maps"], outputs["logits"], 2))
    assert run.scores is outputs["logits"]


def test_runs_of_other_images_are_refused(graphs: ModuleType) -> None:
    reference, _ = make_runs()
    _, candidate = make_runs(5)
    with pytest.raises(InputError, match=r"maps \(5, 8, 8\), scores \(5, 3\) and 6 frame sizes"):
        compare(reference, candidate, SIZES, graphs.tiny_manifest())
    with pytest.raises(InputError, match="3 frame sizes"):
        compare(reference, reference, SIZES[:3], graphs.tiny_manifest())


def test_maps_that_are_not_finite_are_refused(graphs: ModuleType) -> None:
    reference, candidate = make_runs()
    candidate.maps[1, 2, 3] = np.nan
    with pytest.raises(InputError):
        compare(reference, candidate, SIZES, graphs.tiny_manifest())


def test_frames_of_a_video_are_shown_as_the_network_saw_them(graphs: ModuleType) -> None:
    """There is no file to read them from when the page is drawn."""
    manifest = graphs.tiny_manifest(resize="letterbox")
    reference, candidate = make_runs()
    found = compare(reference, candidate, SIZES, manifest)
    names = [f"clip.mp4, frame {n}" for n in range(len(SIZES))]
    with FrameStore(manifest.input) as store:
        for size in SIZES:
            frame = np.full((*size, 3), (200, 30, 30), np.uint8)
            store.append(InputFrame.of(frame, manifest.input))
        first = found.worst(names, frames=store)[0]
    n = int(found.ious.argmin())
    height, width = SIZES[n]
    assert first.seen_size == SIZES[n]
    shown = read_image(first.seen)
    assert shown.shape[0] / shown.shape[1] == pytest.approx(height / width, rel=0.1)
    assert np.abs(shown.mean((0, 1)) - (200, 30, 30)).max() < 12
    picture = draw_picture(first, engine="int8")
    assert (picture.missing, len(picture.panels)) == ("", 3)
