"""The runtime: colours in, classes, boxes and pictures out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import bas_edge
from bas_edge.engine.bundle import write_bundle
from bas_edge.engine.manifest import Manifest
from bas_edge.engine.onnx_metadata import read_manifest
from bas_edge.errors import BackendError, EngineError, InputError
from bas_edge.results import Timing
from bas_edge.segmentation.result import Segmentation, SegmentedClass

Tiny = Callable[..., Path]


@pytest.fixture
def street() -> NDArray[np.uint8]:
    """64 × 96: a red rectangle, two green ones of which the right is larger, black elsewhere."""
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[16:48, 12:36, 0] = 255
    frame[8:16, 48:60, 1] = 255
    frame[24:56, 60:84, 1] = 255
    return frame


@pytest.fixture(scope="module")
def tiny(tiny_segmenter: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_segmenter(tmp_path_factory.mktemp("tiny") / "tiny.onnx")


def test_every_pixel_has_its_class_and_every_class_a_box(
    tiny: Path, street: NDArray[np.uint8]
) -> None:
    with bas_edge.Segmenter(tiny) as segmenter:
        found = segmenter.run(street)
        assert segmenter.classes == ("a", "b", "c")
    truth = np.zeros((64, 96), np.uint8)
    truth[street[:, :, 0] > 0] = 1
    truth[street[:, :, 1] > 0] = 2
    assert found.mask.dtype == np.uint8
    assert (found.mask == truth).mean() > 0.94  # cells of 8 × 12 frame pixels, bilinear between
    green, red = found.objects  # by area
    assert (green.class_name, green.label, red.class_name) == ("b", 1, "a")
    np.testing.assert_allclose(red.box, (12, 16, 36, 48), atol=3)
    np.testing.assert_allclose(green.box, (60, 24, 84, 56), atol=3)  # of the larger part
    assert green.area == (found.mask == 2).mean()
    assert found.timing.total_ms > 0


def test_channel_order_images_and_batches_make_no_difference(
    tiny: Path, street: NDArray[np.uint8]
) -> None:
    with bas_edge.Segmenter(tiny, threads=1) as segmenter:
        expected = segmenter.run(street).mask
        swapped = segmenter.run(street[:, :, ::-1], color="bgr").mask
        np.testing.assert_array_equal(swapped, expected)
        pair = segmenter.run_batch([Image.fromarray(street), street[:40]])
    np.testing.assert_array_equal(pair[0].mask, expected)
    assert pair[1].frame_size == (40, 96)


def test_frames_of_one_class_or_none(tiny: Path) -> None:
    with bas_edge.Segmenter(tiny) as segmenter:
        nothing = segmenter.run(np.zeros((10, 20, 3), np.uint8))
        red = segmenter.run(np.full((10, 20, 3), (255, 0, 0), np.uint8))
    assert not nothing.found
    assert nothing.objects == ()
    (one,) = red.objects
    assert (one.box, one.area) == ((0.0, 0.0, 20.0, 10.0), 1.0)


def test_what_a_letterbox_pads_is_no_part_of_the_frame(
    tiny_segmenter: Tiny, tmp_path: Path
) -> None:
    model = tiny_segmenter(tmp_path / "m.onnx", resize="letterbox")
    with bas_edge.Segmenter(model) as segmenter:
        (found,) = segmenter.run(np.full((16, 64, 3), (0, 0, 255), np.uint8)).objects
    assert found.class_name == "c"
    assert found.area == 0.75  # cells at its upper and lower edge also look at the padding
    assert found.box == (0.0, 2.0, 64.0, 14.0)


def test_what_a_centre_crop_does_not_show_is_background(
    tiny_segmenter: Tiny, tmp_path: Path
) -> None:
    model = tiny_segmenter(tmp_path / "m.onnx", resize="centre_crop")
    with bas_edge.Segmenter(model) as segmenter:
        result = segmenter.run(np.full((16, 64, 3), (0, 0, 255), np.uint8))
    assert result.objects[0].box == (24.0, 0.0, 40.0, 16.0)
    assert not result.mask[:, :24].any()
    assert (result.mask[:, 24:40] == 3).all()


def test_classes_are_drawn_in_the_colours_of_voc(tiny: Path, street: NDArray[np.uint8]) -> None:
    with bas_edge.Segmenter(tiny) as segmenter:
        found = segmenter.run(street)
    drawn = found.draw(street, opacity=0.5, legend=False)
    assert drawn[30, 24].tolist() == [191, 0, 0]  # half of (255, 0, 0) and of (128, 0, 0)
    np.testing.assert_array_equal(drawn[found.mask == 0], street[found.mask == 0])
    mirrored = found.draw(street[:, :, ::-1], color="bgr", opacity=0.5, legend=False)
    np.testing.assert_array_equal(mirrored[:, :, ::-1], drawn)
    bare = found.draw(street, opacity=0, legend=False)
    assert bare is not street
    np.testing.assert_array_equal(bare, street)
    with pytest.raises(InputError, match=r"frame of shape \[64, 95, 3\]"):
        found.draw(street[:, :95])
    with pytest.raises(InputError, match="opacity is 2"):
        found.draw(street, opacity=2)


def test_a_legend_names_classes_and_shares_as_far_as_there_is_room() -> None:
    box, timing = (0.0, 0.0, 9.0, 9.0), Timing(1.0, 1.0, 1.0)
    green, red = SegmentedClass(1, "b", box, 0.31), SegmentedClass(0, "a", box, 0.004)
    assert (green.text, red.text) == ("b 31 %", "a < 1 %")
    grey = np.full((64, 96, 3), 90, np.uint8)
    found = Segmentation(np.zeros((64, 96), np.uint8), (green, red), timing)
    drawn = found.draw(grey)
    rows = np.flatnonzero((drawn != grey).any(axis=(1, 2)))
    first, last, middle = rows.min(), rows.max(), (rows.min() + rows.max()) // 2
    assert drawn[first, 2].tolist() == drawn[middle, 2].tolist() == [0, 128, 0], "the first on top"
    assert drawn[middle + 1, 2].tolist() == drawn[last, 2].tolist() == [128, 0, 0]
    assert (drawn[first:middle] > 200).all(axis=2).any(), "white on what is dark"
    low = Segmentation(found.mask[:last], found.objects, timing)  # one row too few for both
    shown = np.flatnonzero((low.draw(grey[:last]) != grey[:last]).any(axis=(1, 2)))
    assert shown.tolist() == list(range(first, middle + 1))
    np.testing.assert_array_equal(found.draw(grey, color="bgr")[:, :, ::-1], drawn)


def test_a_result_fits_a_smaller_copy_of_its_frame(tiny: Path, street: NDArray[np.uint8]) -> None:
    with bas_edge.Segmenter(tiny) as segmenter:
        small = segmenter.run(street).resized((32, 48))
    assert small.frame_size == (32, 48)
    assert small.draw(street[::2, ::2]).shape == (32, 48, 3)
    np.testing.assert_allclose(small.objects[1].box, (6, 8, 18, 24), atol=2)
    assert (small.mask[8:24, 6:18] == 1).mean() > 0.8


def test_a_result_is_plain_json(tiny: Path, street: NDArray[np.uint8]) -> None:
    with bas_edge.Segmenter(tiny) as segmenter:
        fields = segmenter.run(street).to_dict()
    assert fields["found"] is True
    assert [one["class_name"] for one in fields["objects"]] == ["b", "a"]
    assert (fields["width"], fields["height"]) == (96, 64)


def test_engines_of_the_other_task_are_refused(
    tiny: Path, tiny_onnx: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="is an engine for segmentation, not for localiz") as error:
        bas_edge.Localizer(tiny)
    assert "bas_edge.Segmenter" in str(error.value.hint)
    with pytest.raises(InputError, match="is an engine for segmentation, not for localization"):
        bas_edge.evaluate(tiny, tmp_path / "no data")
    boxes = tiny_onnx(tmp_path / "boxes.onnx")
    with pytest.raises(InputError, match="is an engine for localization, not for segm") as error:
        bas_edge.Segmenter(boxes)
    assert "bas_edge.Localizer" in str(error.value.hint)


def test_a_graph_that_breaks_the_contract_is_refused(tiny_segmenter: Tiny, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="outputs are logits; its metadata asks for scores"):
        bas_edge.Segmenter(tiny_segmenter(tmp_path / "m.onnx", output="logits"))


@pytest.mark.parametrize("gain", [float("inf"), 2.0**127])
def test_scores_that_are_not_finite_are_told(
    gain: float, tiny_segmenter: Tiny, tmp_path: Path
) -> None:
    model = tiny_segmenter(tmp_path / "m.onnx", gain=gain)
    with bas_edge.Segmenter(model) as segmenter, pytest.raises(BackendError, match="not finite"):
        segmenter.run(np.full((8, 8, 3), 255, np.uint8))


def test_a_closed_segmenter_says_so(tiny: Path) -> None:
    segmenter = bas_edge.Segmenter(tiny)
    segmenter.close()
    segmenter.close()
    with pytest.raises(BackendError, match="This Segmenter is closed"):
        segmenter.run(np.zeros((8, 8, 3), np.uint8))


def test_bundles_are_built(tiny: Path, tmp_path: Path) -> None:
    engine = bas_edge.build_engine(tiny, tmp_path / "tiny.engine")
    assert engine.manifest.task == "segmentation"
    with bas_edge.Segmenter(tmp_path / "tiny.engine") as segmenter:
        assert segmenter.manifest.name == "tiny"
        assert segmenter.backend_name == "onnxruntime"


def test_a_changed_bundle_is_refused(tiny: Path, tmp_path: Path) -> None:
    manifest: Manifest = read_manifest(tiny)
    write_bundle(tmp_path / "t.engine", manifest, tiny)
    with (tmp_path / "t.engine" / "model.onnx").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(EngineError):
        bas_edge.Segmenter(tmp_path / "t.engine")
