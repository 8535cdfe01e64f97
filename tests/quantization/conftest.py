"""Small photographs, all different, their input, and a report with pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colour_network import write_network, write_pictures
from PIL import Image
from sample_report import sample_report

import bas_edge
from bas_edge.engine.bundle import Engine
from bas_edge.engine.manifest import InputPolicy
from bas_edge.quantization.job import PrecisionJob
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


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`calib/` with 120 pictures, `val/` with 45 others and 12 without an object."""
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder / "calib", 120, seed=1)
    write_pictures(folder / "val", 45, seed=2, background=12)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BAS_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def build(pictures: Path, tmp_path: Path) -> Callable[..., Engine]:
    """`build(planted="", precision="int8", **job)`, held to boxes unless told otherwise."""

    def make(
        planted: str = "",
        precision: str = "int8",
        name: str = "q",
        backend: str = "onnxruntime",
        **options: Any,
    ) -> Engine:
        network = write_network(tmp_path / "net.onnx", planted=planted)
        defaults = {
            "calibration": pictures / "calib",
            "method": "min-max" if precision == "int8" else "auto",
            "evaluation": pictures / "val" / "index.csv",
            "background": pictures / "val" / "background",
        }
        job = PrecisionJob(**{**defaults, **options})
        return bas_edge.build_engine(
            network,
            tmp_path / f"{name}.engine",
            backend=backend,
            precision=precision,
            job=job,
            overwrite=True,
        )

    return make
