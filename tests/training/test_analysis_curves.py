"""The curves of a network that can be computed by hand: its scores are mean colours."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bas_edge_training.analysis.curves import average
from bas_edge_training.analysis.growth import grow
from bas_edge_training.analysis.responses import Responses, masked_responses
from bas_edge_training.models import (
    BasModel,
    ModelConfig,
    backbone_names,
    build_model,
    find_backbone,
)
from bas_edge_training.models.backbone import Features, Tail, Trunk
from bas_edge_training.models.config import Conventions
from bas_edge_training.models.heads import ClassHead
from bas_edge_training.validation import evaluation_mode

SIDE, RED, BLUE = 32, 0, 2
RATIOS = (0.0, 0.25, 0.5, 1.0, 2.0, 8.0)
PLAIN = Conventions(mean=(0, 0, 0), std=(1, 1, 1), activation="relu", padding="symmetric")


class MeanColours(Trunk):
    """Features are the colours of cells of 8 × 8 pixels."""

    def forward(self, pixels: Tensor) -> Features:
        cells = F.avg_pool2d(pixels, 8)
        return Features(cells, None)


class AsItIs(Tail):
    def forward(self, features: Tensor) -> Tensor:
        return features


@pytest.fixture(scope="module")
def model() -> BasModel:
    """Logits are 0.1 × the mean of red, green and blue over the frame."""
    model = build_model(
        ModelConfig(num_classes=3, width=0.125, input_size=SIDE, conventions=PLAIN)
    ).eval()
    model.trunk, model.tail = MeanColours(), AsItIs()
    model.head = ClassHead(3, 3, kind="edge", hidden=8, rectified=False)
    with torch.no_grad():
        model.head.classifier.weight.copy_(0.1 * torch.eye(3)[:, :, None, None])
    return model


def respond(model: BasModel, label: int, blue: int = 40) -> Responses:
    """One frame: a red object of 16 × 8 pixels, an eighth of it, on blue."""
    frame = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8)
    frame[:, BLUE] = blue
    frame[:, :, 8:16, 8:24] = torch.tensor([160, 0, 0], dtype=torch.uint8)[None, :, None, None]
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[8:16, 8:24] = True
    with evaluation_mode(model):
        return masked_responses(model, frame, [label], [grow(mask)], RATIOS)


def test_scores_inside_and_outside_are_shares_of_the_object(model: BasModel) -> None:
    found = respond(model, RED)
    share = np.minimum(RATIOS, 1)  # of the object, that the mask covers
    assert found.whole == pytest.approx([16 / 8])
    assert found.inside[0] == pytest.approx(2 * share, abs=1e-6)
    assert found.outside[0] == pytest.approx(2 * (1 - share), abs=1e-6)
    assert found.areas[0] == pytest.approx(np.minimum(np.array(RATIOS) / 8, 1))
    assert found.empty == pytest.approx([0])
    assert found.correct.tolist() == [False]  # blue: 4 · 7/8 is more


def test_cross_entropy_is_that_of_what_the_mask_shows(model: BasModel) -> None:
    found = respond(model, RED)
    for at, ratio in enumerate(RATIOS):
        red, blue = 2 * min(ratio, 1), 4 * max(min(ratio / 8, 1) - 1 / 8, 0)
        expected = math.log(math.exp(red) + 1 + math.exp(blue)) - red
        assert found.entropy[0, at] == pytest.approx(expected, abs=1e-5)
    assert found.empty_entropy == pytest.approx([math.log(3)])
    assert found.whole_entropy[0] == pytest.approx(found.entropy[0, -1], abs=1e-6)


def test_curves_are_relative_to_the_whole_image(model: BasModel) -> None:
    curve = average(Responses.join([respond(model, RED, blue) for blue in (0, 40)]), RATIOS)
    share = np.minimum(RATIOS, 1)
    assert curve.images == 2
    assert curve.top1 == 0.5
    assert [p.foreground.mean for p in curve.points] == pytest.approx(share, abs=1e-6)
    assert [p.background.mean for p in curve.points] == pytest.approx(1 - share, abs=1e-6)
    assert [p.whole_frame for p in curve.points] == [0, 0, 0, 0, 0, 2]
    assert curve.points[4].area == pytest.approx(0.25)


def test_extremes_lie_where_the_curves_end(model: BasModel) -> None:
    found = average(respond(model, RED), RATIOS).extremes
    # Both activations go straight from ratio 0 to 1, and stay.
    assert (found.foreground.ratio, found.foreground.value) == pytest.approx((1, 1))
    assert (found.background.ratio, found.background.value) == pytest.approx((1, 0), abs=1e-6)
    assert found.foreground.settled == pytest.approx(0.9)
    assert found.background.settled == pytest.approx(0.9)
    # More than the object lets blue in, and the whole image is worse than nothing (ln 3).
    assert found.cross_entropy.ratio == 1
    assert found.cross_entropy.value == pytest.approx(math.log(math.exp(2) + 2) - 2, abs=1e-5)
    assert found.cross_entropy.image_ratio.mean == 1
    assert found.cross_entropy.image_ratio.standard_error is None


@pytest.mark.parametrize("architecture", backbone_names())
@pytest.mark.parametrize("head", ["paper", "edge"])
def test_all_and_nothing_of_every_backbone(architecture: str, head: str) -> None:
    torch.manual_seed(0)
    own = find_backbone(architecture).conventions
    config = ModelConfig(
        architecture=architecture, head=head, width=0.125, input_size=64, conventions=own,
        num_classes=4,
    )  # fmt: skip
    network = build_model(config)
    frames = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    half = np.zeros((64, 64), np.bool_)
    half[:, 32:] = True
    with evaluation_mode(network):
        found = masked_responses(network, frames, [1, 3], [grow(half)] * 2, (0.0, 1.0, 2.0))
        logits = network(frames)[0].double().numpy()[[0, 1], [1, 3]]
    assert found.whole == pytest.approx(logits, rel=1e-4, abs=1e-6)
    nothing, own_area, everything = range(3)
    assert found.inside[:, everything] == pytest.approx(logits, rel=1e-4, abs=1e-6)
    assert found.outside[:, nothing] == pytest.approx(logits, rel=1e-4, abs=1e-6)
    assert found.outside[:, everything] == pytest.approx(found.empty, rel=1e-4, abs=1e-6)
    assert found.inside[:, nothing] == pytest.approx(found.empty, rel=1e-4, abs=1e-6)
    assert (found.inside[:, own_area] != found.outside[:, own_area]).all()
    assert found.areas[0].tolist() == [0, 0.5, 1]


def responses(entropy: list[list[float]], outside: list[list[float]]) -> Responses:
    """Made-up images with S = 2, seen through masks of three sizes."""
    count = len(entropy)
    zeros = np.zeros(count)
    return Responses(
        labels=np.zeros(count, np.int64),
        correct=np.ones(count, np.bool_),
        whole=zeros + 2,
        empty=zeros,
        whole_entropy=zeros,
        empty_entropy=zeros + 4,
        entropy=np.array(entropy, np.float64),
        inside=2 - np.array(outside, np.float64),
        outside=np.array(outside, np.float64),
        areas=np.tile([0.1, 0.2, 0.4], (count, 1)),
    )


def test_means_errors_and_medians() -> None:
    curve = average(responses([[4, 2, 0], [4, 0, 0], [1, 1, 0]], [[2, 1, 0]] * 3), (0.5, 1, 2))
    entropy = curve.points[1].cross_entropy
    assert (entropy.mean, entropy.median) == (1, 1)
    assert entropy.standard_error == pytest.approx(1 / math.sqrt(3))
    assert curve.extremes.cross_entropy.image_ratio.mean == pytest.approx((2 + 1 + 2) / 3)
    # 90 % of the way from 4 to 0 is 0.4: past 1 at ratio 1, 0 at ratio 2.
    assert curve.extremes.cross_entropy.settled == pytest.approx(1.6)


def test_background_is_the_published_loss_between_0_and_1() -> None:
    curve = average(responses([[4, 2, 0]] * 2, [[5, 1, -3]] * 2), (0.5, 1, 2))
    assert [point.background.mean for point in curve.points] == [1, 0.5, 0]
    assert [point.foreground.mean for point in curve.points] == [0, 0.5, 2.5]


def test_a_curve_that_never_gets_there_has_not_settled() -> None:
    found = average(responses([[4, 2, 1]] * 2, [[2, 1, 0.5]] * 2), (0.5, 1, 2)).extremes
    assert found.cross_entropy.settled is None
    assert found.background.settled is None
    assert found.background.value == 0.25


def test_a_curve_that_is_there_from_the_first_mask_on_settles_there() -> None:
    found = average(responses([[0, 0, 0]] * 2, [[0, 0, 0]] * 2), (0.5, 1, 2)).extremes
    assert found.cross_entropy.settled == 0.5
    assert found.background.settled == 0.5
