"""What the bound says of made-up answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from colour_network import colour_manifest, write_network, write_pictures
from graphs import tiny_manifest
from numpy.typing import NDArray

import bas_edge
from bas_edge.annotations import read_annotations
from bas_edge.engine.manifest import Manifest
from bas_edge.errors import InputError
from bas_edge.images import image_files
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.quantization.box_yardstick import BoxYardstick, MeasuredBoxes
from bas_edge.quantization.comparison import Run
from bas_edge.quantization.frame_store import FrameStore, store_images
from bas_edge.quantization.report import BoundCheck
from bas_edge.quantization.yardstick import Bound

COUNT = 20


def manifest() -> Manifest:
    return tiny_manifest(size=(32, 32), min_score=0.5)


def yardstick(*, boxes: bool, bound: Bound | None = None) -> BoxYardstick:
    sizes = ((32, 32),) * COUNT
    policy = manifest().input
    truth = GroundTruth.of([np.array([[8.0, 8, 24, 24]])] * COUNT, sizes, policy)
    return BoxYardstick(
        manifest=manifest(),
        frames=FrameStoreOf(COUNT),
        frame_sizes=sizes,
        names=[f"{n}.png" for n in range(COUNT)],
        bound=bound or Bound(),
        truth=truth if boxes else None,
        labels=np.zeros(COUNT, np.int64) if boxes else None,
    )


class FrameStoreOf(FrameStore):
    """Of a known length; nobody reads it here."""

    def __init__(self, count: int) -> None:
        self.frame_sizes = [(32, 32)] * count

    def close(self) -> None:
        """There is no file."""


def measured(
    *,
    wrong_boxes: int = 0,
    wrong_classes: int = 0,
    background: NDArray[np.float32] | None = None,
) -> MeasuredBoxes:
    """Answers of which so many, from the first image on, are wrong."""
    maps = np.zeros((COUNT, 8, 8), np.float32)
    maps[:, 2:6, 2:6] = 1
    maps[:wrong_boxes] = 0
    maps[:wrong_boxes, :2, :2] = 1
    scores = np.tile(np.array([[2.0, 0, 0]], np.float32), (COUNT, 1))
    scores[COUNT - wrong_classes :] = [0.0, 2.0, 0.0]
    right = np.arange(COUNT) >= wrong_boxes
    return MeasuredBoxes(
        objects=Run(maps, scores),
        background=np.zeros(0, np.float32) if background is None else background,
        correct=np.repeat(right[:, None], 3, axis=1),
        located=right & (np.arange(COUNT) < COUNT - wrong_classes),
    )


def test_losses_are_points_with_their_standard_error() -> None:
    checks = yardstick(boxes=True).checks(measured(), measured(wrong_boxes=1, wrong_classes=2))
    assert [(c.metric, c.loss, c.held) for c in checks] == [
        ("MaxBoxAccV2", pytest.approx(5.0), False),
        ("Top-1 Loc", pytest.approx(15.0), False),
        ("objects found at min_score", 0.0, True),
    ]
    lost = np.zeros(COUNT)
    lost[0] = 100
    assert checks[0].standard_error == pytest.approx(lost.std(ddof=1) / np.sqrt(COUNT))
    assert (checks[0].reference, checks[0].value) == (100.0, pytest.approx(95.0))


def test_a_loss_equal_to_the_limit_is_held() -> None:
    for least in (0.8, 0.9, 0.92):
        wrong = round((1 - least) * 50)
        check = BoundCheck(
            metric="m", reference=None, value=0, loss=100 - 100 * (50 - wrong) / 50,
            limit=100 * (1 - least),
        )  # fmt: skip
        assert check.held, least


def test_objects_that_int8_no_longer_finds_count() -> None:
    doubtful = measured()
    doubtful.objects.scores[:2] = [0.1, 0.0, 0.05]  # still class 0, at a third
    for boxes, limit in ((True, 2.0), (False, 3.0)):
        checks = yardstick(boxes=boxes).checks(measured(), doubtful)
        found = next(check for check in checks if check.metric == "objects found at min_score")
        assert (found.loss, found.limit, found.held) == (
            pytest.approx(10.0),
            pytest.approx(limit),
            False,
        )


def test_without_a_min_score_nothing_is_said_about_it() -> None:
    loud = measured(background=np.ones(3, np.float32))
    without = msgspec.structs.replace(manifest(), min_score=0.0)
    checks = replace(yardstick(boxes=True), manifest=without).checks(loud, loud)
    assert [check.metric for check in checks] == ["MaxBoxAccV2", "Top-1 Loc"]


@pytest.mark.parametrize("boxes", [True, False])
def test_measuring_a_graph_agrees_with_evaluate(tmp_path: Path, boxes: bool) -> None:
    """The same figures by another way: `bas_edge.evaluate` on the same pictures."""
    pictures = write_pictures(tmp_path / "val", 30, seed=8, background=5)
    network = write_network(tmp_path / "net.onnx")
    truth = bas_edge.evaluate(network, pictures / "index.csv", background=pictures / "background")
    data = read_annotations(pictures / "index.csv")
    policy = colour_manifest().input
    stored = store_images([item.path for item in data.items], policy)
    empty = store_images(image_files(pictures / "background"), policy)
    with stored.frames, empty.frames:
        own = BoxYardstick(
            manifest=colour_manifest(),
            frames=stored.frames,
            frame_sizes=tuple(stored.frames.frame_sizes),
            names=[str(item.path) for item in data.items],
            bound=Bound(),
            truth=GroundTruth.of(
                [item.boxes for item in data.items], tuple(stored.frames.frame_sizes), policy
            )
            if boxes
            else None,
            labels=np.array([item.label for item in data.items]) if boxes else None,
            background=empty.frames,
        )
        found = own.measure(network.read_bytes(), literal=False)
    assert truth.localization is not None
    rates = truth.rejection.stored
    assert 100 * (found.background >= 0.6).mean() == pytest.approx(rates.false_positive_rate)
    if boxes:
        expected = truth.localization
        assert 100 * found.correct.mean() == pytest.approx(expected.max_box_acc_v2.mean)
        stored_loc = expected.stored.localization
        assert 100 * found.located.mean() == pytest.approx(stored_loc.top1_loc)
    else:
        assert found.correct.shape == (30, 0)


def test_a_gain_is_held() -> None:
    checks = yardstick(boxes=True).checks(measured(wrong_boxes=3), measured())
    assert all(check.held for check in checks)
    assert checks[0].loss == pytest.approx(-15.0)


def test_more_false_positives_break_the_bound_and_fewer_do_not() -> None:
    quiet = np.full(10, 0.4, np.float32)
    loud = quiet.copy()
    loud[:2] = 0.6
    for boxes in (True, False):
        rose = yardstick(boxes=boxes).checks(measured(background=quiet), measured(background=loud))
        assert (rose[-1].metric, rose[-1].held) == ("false positives on background", False)
        assert (rose[-1].reference, rose[-1].value) == (0.0, pytest.approx(20.0))
        assert rose[-1].loss == pytest.approx(20.0)
        fell = yardstick(boxes=boxes).checks(measured(background=loud), measured(background=quiet))
        assert fell[-1].held


def test_agreement_counts_boxes_and_classes() -> None:
    checks = yardstick(boxes=False, bound=Bound(0.5, 0.9)).checks(
        measured(), measured(wrong_boxes=1, wrong_classes=1)
    )
    assert [(check.metric, check.held) for check in checks] == [
        ("box IoU with float32", True),
        ("same class as float32", True),
        ("objects found at min_score", True),
    ]
    assert checks[0].value == pytest.approx(0.95)
    assert checks[1].value == pytest.approx(95.0)
    worse = yardstick(boxes=False, bound=Bound(0.5, 0.97)).checks(
        measured(), measured(wrong_boxes=1, wrong_classes=1)
    )
    assert [check.held for check in worse] == [False, False, True]


@pytest.mark.parametrize(
    ("values", "message"),
    [((-0.1, 0.9), "max_drop is -0.1"), ((float("nan"), 0.9), "max_drop is nan"), ((1, 97), "97")],
)
def test_bounds_out_of_range_are_refused(values: tuple[float, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Bound(*values)
