"""Small photographs, all different, their input, and a report with pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_report import sample_report

from bas_edge.engine.manifest import InputPolicy
from bas_edge.quantization.report import PrecisionReport


@pytest.fixture(scope="session")
def policy() -> InputPolicy:
    return InputPolicy(height=16, width=24)


@pytest.fixture(scope="session")
def write_photos() -> Callable[..., list[Path]]:
    """`write_photos(folder, count, seed=0)`: PNG files of noise, `000.png` and on."""

    def write(folder: Path, count: int, seed: int = 0) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        paths = [folder / f"{n:03d}.png" for n in range(count)]
        for path in paths:
            Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
        return paths

    return write


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory, write_photos: Callable[..., None]) -> Path:
    """A folder with 100 images, some of them a level deeper; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 60)
    write_photos(folder / "more" / "deep", 40, seed=1)
    return folder


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> PrecisionReport:
    return sample_report(tmp_path_factory.mktemp("photos"))
