"""Each method against its paper's formula, written out with loops or autograd."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from bas_edge.errors import InputError
from bas_edge.ops import aggregate_maps
from bas_edge_training.methods import BAS, METHOD_NAMES, Activations, Method, find_method
from bas_edge_training.methods.eigen_cam import STEPS, first_component
from bas_edge_training.methods.gradients import grad_cam_at, layer_cam_at
from bas_edge_training.models import BasModel

Make = Callable[..., BasModel]
HEADS = ["edge", "paper"]
CLASSES = torch.tensor([3, 0])  # one an image, neither the best of both


@pytest.fixture
def frames() -> Tensor:
    pixels = np.random.default_rng(4).integers(0, 256, (2, 3, 64, 64), np.uint8)
    return torch.from_numpy(pixels)


def by_autograd(
    model: BasModel, frames: Tensor, classes: Tensor, layer: str
) -> tuple[Tensor, Tensor]:
    """A layer's features and dS_c / d of them, image by image, through the model's own parts."""
    features, gradients = [], []
    for frame, label in zip(frames, classes.tolist(), strict=True):
        deep = model.features(frame[None]).deep
        deep.retain_grad()
        last = model.head.features(model.tail(deep))
        last.retain_grad()
        model.head.classifier(last).mean((2, 3))[0, label].backward()
        chosen = last if layer == "last" else deep
        assert chosen.grad is not None
        features.append(chosen.detach()[0])
        gradients.append(chosen.grad[0])
    model.zero_grad()
    return torch.stack(features), torch.stack(gradients)


def close(got: Tensor | np.ndarray, expected: Tensor) -> None:
    """Equal to float32 rounding, of maps that are not all flat, as a ReLU may leave one."""
    wanted = expected.detach().numpy()
    scale = float(np.abs(wanted).max())
    assert np.ptp(wanted, axis=(1, 2)).max() > 0.1 * scale > 0
    np.testing.assert_allclose(np.asarray(got) / scale, wanted / scale, atol=2e-5)


def seen_by(method: Method, model: BasModel, frames: Tensor) -> np.ndarray:
    with torch.inference_mode():
        return method.foreground(Activations(model, frames), top_k=1, classes=CLASSES)


@pytest.mark.parametrize("head", HEADS)
def test_cam_is_the_weighted_sum_of_what_the_classifier_reads(
    make_model: Make, frames: Tensor, head: str
) -> None:
    model = make_model(head)
    features, _ = by_autograd(model, frames, CLASSES, "last")
    weight, bias = model.head.classifier.weight[..., 0, 0], model.head.classifier.bias
    assert bias is not None
    expected = torch.zeros(2, *features.shape[2:])
    for n, c in enumerate(CLASSES.tolist()):
        for k in range(features.shape[1]):
            expected[n] += (weight[c, k] * features[n, k]).detach()
        expected[n] += float(bias[c].detach())
    close(seen_by(find_method("cam"), model, frames), expected)
    with torch.no_grad():
        logits, maps = find_method("cam").outputs(model, frames)
        torch.testing.assert_close(maps.mean((2, 3)), logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(logits, model(frames)[0])


@pytest.mark.parametrize("layer", ["last", "deep"])
@pytest.mark.parametrize("head", HEADS)
def test_grad_cam_is_the_formula_on_autograd_s_gradients(
    make_model: Make, frames: Tensor, head: str, layer: str
) -> None:
    model = make_model(head)
    features, gradient = by_autograd(model, frames, CLASSES, layer)
    expected = torch.zeros(2, *features.shape[2:])
    for n in range(2):
        for k in range(features.shape[1]):
            expected[n] += gradient[n, k].mean() * features[n, k]
    method = find_method("gradcam" if layer == "last" else "gradcam@deep")
    close(seen_by(method, model, frames), expected.clamp(min=0))


@pytest.mark.parametrize("layer", ["last", "deep"])
@pytest.mark.parametrize("head", HEADS)
def test_layer_cam_weighs_each_cell_by_its_own_positive_gradient(
    make_model: Make, frames: Tensor, head: str, layer: str
) -> None:
    model = make_model(head)
    features, gradient = by_autograd(model, frames, CLASSES, layer)
    expected = torch.zeros(2, *features.shape[2:])
    for n in range(2):
        for k in range(features.shape[1]):
            expected[n] += gradient[n, k].clamp(min=0) * features[n, k]
    method = find_method("layercam" if layer == "last" else "layercam@deep")
    close(seen_by(method, model, frames), expected.clamp(min=0))


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("name", ["gradcam", "layercam"])
def test_the_closed_forms_are_those_of_backpropagation_for_every_class(
    make_model: Make, frames: Tensor, name: str, rectified: bool
) -> None:
    """Also where class maps pass a ReLU before their mean, and gradients end where it is 0."""
    model = make_model("paper")
    model.head.rectified = rectified
    at = grad_cam_at if name == "gradcam" else layer_cam_at
    closed = find_method(name)
    with torch.no_grad():
        seen = Activations(model, frames)
        for label in range(model.config.num_classes):
            classes = torch.full((2,), label)
            got = torch.from_numpy(closed.foreground(seen, top_k=1, classes=classes))
            torch.testing.assert_close(got, at("last", seen, classes), rtol=1e-4, atol=1e-6)
        cells = (seen.class_maps > 0).float().mean((0, 2, 3))
        assert ((cells > 0) & (cells < 1)).any()  # a class whose map has both signs


def test_gradients_are_of_the_best_class_and_leave_nothing_behind(
    make_model: Make, frames: Tensor
) -> None:
    model = make_model("edge")
    method = find_method("gradcam@deep")
    with torch.inference_mode():
        seen = Activations(model, frames)
        best = seen.logits.argmax(1)
        assert best.tolist() != CLASSES.tolist()
        got = method.foreground(seen, top_k=1)
        np.testing.assert_array_equal(got, method.foreground(seen, top_k=1, classes=best))
        assert not np.array_equal(got, method.foreground(seen, top_k=1, classes=CLASSES))
    assert all(each.grad is None for each in model.parameters())


@pytest.mark.parametrize("layer", ["last", "deep"])
@pytest.mark.parametrize("head", HEADS)
def test_eigen_cam_is_the_projection_on_the_first_singular_vector(
    make_model: Make, frames: Tensor, head: str, layer: str
) -> None:
    model = make_model(head)
    features, _ = by_autograd(model, frames, CLASSES, layer)
    height, width = features.shape[2:]
    expected = []
    for one in features.double():
        cells = one.flatten(1).T  # O [cells, channels]
        first = torch.linalg.svd(cells, full_matrices=False).Vh[0]
        projected = cells @ first
        projected = projected * torch.sign(projected.sum())  # the stated sign
        expected.append((projected / projected.abs().max()).reshape(height, width))
    name = "eigencam" if layer == "last" else "eigencam@deep"
    got = seen_by(find_method(name), model, frames)
    close(got, torch.stack(expected).float())
    assert got.min() >= 0  # of features behind a ReLU
    assert got.max() == 1


def planted(ratio: float, sign: float = 1.0) -> tuple[Tensor, Tensor]:
    """Features [1, 12, 4, 5] whose singular values are 1, `ratio`, `ratio`; and their u_1."""
    random = torch.Generator().manual_seed(3)
    left, _ = torch.linalg.qr(torch.randn(20, 3, generator=random, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(12, 3, generator=random, dtype=torch.float64))
    cells = left @ torch.diag(torch.tensor([1.0, ratio, ratio]).double()) @ right.T
    features = sign * cells.T.reshape(1, 12, 4, 5)
    first = left[:, 0] * torch.sign(left[:, 0].sum())
    return features, (first / first.abs().max()).reshape(1, 1, 4, 5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_power_iteration_converges_as_fast_as_it_should(sign: float) -> None:
    """By (s2 / s1)^2 a step; features of any sign give a map whose sum is positive."""
    features, expected = planted(0.6, sign)
    start = float((first_component(features, 1) - expected).abs().max())
    assert start > 1e-2
    for steps in (4, 8, STEPS):
        error = float((first_component(features, steps) - expected).abs().max())
        assert error <= 3 * start * 0.6 ** (2 * (steps - 1))
        assert error >= start * 0.6 ** (2 * (steps - 1)) / 30  # and not by another way
    assert first_component(features).sum() > 0


def test_score_cam_weighs_channels_by_what_the_class_keeps_behind_each(
    make_model: Make, frames: Tensor
) -> None:
    """Channel by channel on frames masked by hand, and with the baseline's score taken off."""
    model = make_model("edge")
    mean = torch.tensor(model.config.conventions.mean).view(1, 3, 1, 1)
    expected = []
    with torch.no_grad():
        for frame, label in zip(frames, CLASSES.tolist(), strict=True):
            features = Activations(model, frame[None]).last[0]
            nothing = model(mean.expand(1, 3, 64, 64))[0][0, label]
            kept = []
            for channel in features:
                mask = torch.nn.functional.interpolate(
                    channel[None, None], size=(64, 64), mode="bilinear", align_corners=False
                )
                span = mask.max() - mask.min()
                mask = (mask - mask.min()) / span if span > 0 else torch.zeros_like(mask)
                kept.append(model(mean + mask * (frame[None] - mean))[0][0, label] - nothing)
            weights = torch.stack(kept).softmax(0)
            assert weights.max() > 1.001 * weights.min()
            expected.append((weights[:, None, None] * features).sum(0).clamp(min=0))
    close(seen_by(find_method("scorecam"), model, frames), torch.stack(expected))


def test_features_of_zeros_give_a_map_of_zeros() -> None:
    assert first_component(torch.zeros(2, 8, 3, 3)).eq(0).all()


def test_bas_averages_whatever_class_is_asked_for(make_model: Make, frames: Tensor) -> None:
    model = make_model("edge")
    with torch.inference_mode():
        logits, maps = (each.numpy() for each in model(frames))
        got = BAS.foreground(Activations(model, frames), top_k=3, classes=CLASSES)
    np.testing.assert_allclose(got, aggregate_maps(maps, logits, 3), atol=1e-6)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_every_method_gives_finite_maps_on_black_and_white(make_model: Make, name: str) -> None:
    frames = torch.stack([torch.zeros(3, 64, 64), torch.full((3, 64, 64), 255.0)]).byte()
    got = seen_by(find_method(name), make_model("paper"), frames)
    assert got.dtype == np.float32
    assert got.shape[0] == 2
    assert np.isfinite(got).all()


def test_an_unknown_method_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="There is no method 'eigen-cam'") as refused:
        find_method("eigen-cam")
    assert refused.value.hint == "Did you mean 'eigencam'?"
    with pytest.raises(InputError) as refused:
        find_method("xyz")
    assert refused.value.hint is not None
    assert "layercam@deep" in refused.value.hint
