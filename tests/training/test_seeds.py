"""Seeds, and the random walk."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bas_edge_training.models import BasModel
from bas_edge_training.segmentation.random_walk import WalkOptions, spread
from bas_edge_training.segmentation.seeds import SeedOptions, best_seeds, seed_maps

CPU = torch.device("cpu")
ONE = SeedOptions(size=64, scales=(1.0,), mirrored=False, activations=False)


@pytest.fixture
def frame() -> NDArray[np.uint8]:
    return np.random.default_rng(4).integers(0, 256, (32, 64, 3), np.uint8)


def test_one_scale_is_the_foreground_map_over_its_maximum(
    make_model: Callable[..., BasModel], frame: NDArray[np.uint8]
) -> None:
    model = make_model("edge", classes=4)
    found = seed_maps(model, frame, (3, 1), ONE, CPU)
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None]
    with torch.no_grad():
        maps = torch.sigmoid(model.generator(model.features(pixels)))[:, [3, 1]]
    maps = torch.nn.functional.interpolate(maps, (32, 64), mode="bilinear")[0]
    expected = maps / (maps.amax((1, 2), keepdim=True) + 1e-5)
    torch.testing.assert_close(torch.from_numpy(found), expected)


def test_scales_and_mirror_images_are_added_and_activations_joined(
    make_model: Callable[..., BasModel], frame: NDArray[np.uint8]
) -> None:
    """From runs of one scale each; a maximum of 1 is all that is known of each, so sums of two."""
    model = make_model("edge", classes=4)
    both = SeedOptions(size=64, scales=(1.0,), activations=False)
    found = seed_maps(model, frame, (2,), both, CPU)
    mirrored = seed_maps(model, np.ascontiguousarray(frame[:, ::-1]), (2,), both, CPU)
    np.testing.assert_allclose(found, mirrored[:, :, ::-1], atol=1e-5)
    assert np.abs(found - seed_maps(model, frame, (2,), ONE, CPU)).max() > 1e-3
    two = SeedOptions(size=64, scales=(1.0, 0.5), mirrored=False)
    again = SeedOptions(size=64, scales=(0.5, 1.0), mirrored=False)
    fused = seed_maps(model, frame, (2,), two, CPU)
    np.testing.assert_allclose(fused, seed_maps(model, frame, (2,), again, CPU), atol=1e-5)
    assert fused.max() == pytest.approx(1, abs=1e-4)
    assert fused.min() >= 0


def test_the_strongest_class_wins_and_ties_go_to_the_first() -> None:
    maps = np.array([[[0.2, 0.5, 0.9]], [[0.4, 0.5, 0.1]]], np.float32)
    best, strength = best_seeds(maps, (6, 2))
    assert best.tolist() == [[3, 7, 7]]
    assert strength.tolist() == np.array([[0.4, 0.5, 0.9]], np.float32).tolist()


def two_halves() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A red left half beside a blue right one, and a seed on a few cells of the left."""
    pixels = np.zeros((24, 32, 3), np.uint8)
    pixels[:, :16, 0] = pixels[:, 16:, 2] = 200
    seeds = np.zeros((1, 24, 32), np.float32)
    seeds[0, 8:16, 4:12] = 1
    return pixels, seeds


def test_the_walk_fills_what_looks_alike_and_stops_at_edges() -> None:
    pixels, seeds = two_halves()
    walked = spread(pixels, seeds, WalkOptions(steps=60, stride=4))
    assert walked.max() == pytest.approx(1, abs=1e-4)
    assert walked[0, :, :12].min() > 0.5  # where there was no seed at all
    assert walked[0, :, 20:].max() < 0.01


def test_one_step_is_the_mean_of_the_cells_that_can_be_reached() -> None:
    """All of one colour: each cell becomes the mean over its disc inside of the image."""
    random = np.random.default_rng(0)
    seeds = random.random((2, 5, 6), np.float32)
    seeds[:, 2, 3] = 2  # the maximum after a step is not 1, so compare up to a factor
    options = WalkOptions(steps=1, radius=2, stride=1, power=1)
    walked = spread(np.full((5, 6, 3), 90, np.uint8), seeds, options)
    expected = np.zeros_like(seeds)
    for y, x in np.ndindex(5, 6):
        near = [
            seeds[:, v, u] for v, u in np.ndindex(5, 6) if (v - y) ** 2 + (u - x) ** 2 <= 4
        ]  # fmt: skip
        expected[:, y, x] = np.mean(near, axis=0)
    expected /= expected.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(walked, expected, atol=2e-5)


def test_no_steps_and_no_seeds_leave_maps_as_they_are() -> None:
    pixels, seeds = two_halves()
    assert spread(pixels, seeds, WalkOptions(steps=0)) is seeds
    assert not spread(pixels, np.zeros_like(seeds), WalkOptions()).any()
