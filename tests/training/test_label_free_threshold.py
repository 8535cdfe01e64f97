"""The cut that a trained model ships with, chosen by the model itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bas_edge_training import threshold
from bas_edge_training.models import BasModel, ModelConfig, build_model
from bas_edge_training.threshold import CUTS, criterion_curves, label_free_threshold

FRAMES = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)


def small(classes: int) -> BasModel:
    torch.manual_seed(0)
    config = ModelConfig(width=0.125, num_classes=classes, input_size=64)
    model = build_model(config).train()
    torch.nn.init.normal_(model.generator.conv.weight, std=2.0)
    torch.nn.init.normal_(model.head.classifier.weight, std=1.0)
    return model


def test_curves_are_those_of_erasing_each_image_at_each_cut() -> None:
    """Image by image and cut by cut, as the definition says."""
    model = small(3)
    cuts = np.array([0.1, 0.45, 0.5, 0.9])
    ratio, area = criterion_curves(model, FRAMES, cuts=cuts)
    model.eval()
    expected = []
    for frame in FRAMES:
        with torch.inference_mode():
            pixels = torch.from_numpy(frame).permute(2, 0, 1)[None]
            logits, maps = model(pixels)
            deep = model.features(pixels).deep
            label = int(logits[0].argmax())
            if logits[0, label] <= 0:
                continue
            mean = maps[0].mean(0)
            mean = (mean - mean.min()) / (mean.max() - mean.min())
            for cut in cuts:
                above = mean > cut
                left = model.head(model.tail(deep * ~above)).mean((2, 3))[0, label]
                share = min(1.0, max(0.0, float(left)) / float(logits[0, label]))
                expected.append((share, float(above.float().mean())))
    wanted = np.array(expected).reshape(-1, len(cuts), 2)
    assert ratio.shape == area.shape == wanted.shape[:2]
    assert len(ratio) > 0
    np.testing.assert_allclose(ratio, wanted[..., 0], atol=1e-4)
    np.testing.assert_allclose(area, wanted[..., 1], atol=1e-6)


def test_it_is_the_cut_with_the_least_score_left_plus_area() -> None:
    model = small(3)
    policy = label_free_threshold(model, FRAMES)
    ratio, area = criterion_curves(model, FRAMES)
    assert policy is not None
    assert policy.rule == "fixed"
    assert policy.value == pytest.approx(CUTS[(ratio + area).mean(0).argmin()], abs=1e-4)
    assert f"{len(ratio)} unboxed images" in policy.chosen_by


def test_more_frames_than_needed_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(3)
    expected = label_free_threshold(model, FRAMES[::2])
    monkeypatch.setattr(threshold, "_CRITERION_IMAGES", 10)
    assert label_free_threshold(model, FRAMES) == expected


def test_top_k_decides_which_maps_are_cut_and_the_model_keeps_its_mode() -> None:
    model = small(5)
    one, _ = criterion_curves(model, FRAMES, top_k=1)
    every, _ = criterion_curves(model, FRAMES, top_k=5)
    assert not np.array_equal(one, every)
    assert model.training


def test_without_contrast_or_score_nothing_is_chosen() -> None:
    flat, silent = small(3), small(3)
    for value in flat.generator.parameters():
        torch.nn.init.zeros_(value)
    for value in silent.head.parameters():
        torch.nn.init.zeros_(value)
    assert label_free_threshold(flat, FRAMES) is None
    assert label_free_threshold(silent, FRAMES) is None
    assert label_free_threshold(small(3), FRAMES[:0]) is None
