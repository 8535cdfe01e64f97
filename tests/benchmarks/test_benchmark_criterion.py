"""BAS's own objective as a threshold rule."""

from __future__ import annotations

import numpy as np
import torch

from bas_edge_training.models import ModelConfig, build_model
from benchmarks.criterion import criterion_curves

FRAMES = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)


def test_curves_are_those_of_erasing_each_image_at_each_cut() -> None:
    """Image by image and cut by cut, as the definition says."""
    torch.manual_seed(0)
    model = build_model(ModelConfig(width=0.125, num_classes=3, input_size=64)).train()
    torch.nn.init.normal_(model.generator.conv.weight, std=2.0)
    torch.nn.init.normal_(model.head.classifier.weight, std=1.0)
    cuts = np.array([0.1, 0.45, 0.5, 0.9])
    ratio, area = criterion_curves(model, FRAMES, cuts)
    assert model.training
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
