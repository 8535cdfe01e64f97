"""When a build measures again, and what it says then."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from colour_network import colour_manifest, picture, write_network, write_pictures

from bas_edge.quantization.cache import CalibrationCache
from bas_edge.quantization.cache_key import CacheKey
from bas_edge.quantization.job import PrecisionJob
from bas_edge.quantization.reduce import reduced_graph
from bas_edge.quantization.yardstick import Bound


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder / "calib", 20, seed=1)
    write_pictures(folder / "val", 6, seed=2)
    return folder


@pytest.fixture
def said(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """`said(planted="", **job)`: of an int8 graph, what became of its statistics; for the equalized
    graph in a second sentence."""
    monkeypatch.setenv("BAS_EDGE_CACHE", str(tmp_path / "cache"))

    def build(planted: str = "", **options: Any) -> list[str]:
        path = write_network(tmp_path / "net.onnx", planted=planted)
        given = {"calibration": pictures / "calib", "evaluation": pictures / "val", **options}
        job = PrecisionJob(method="min-max", bound=Bound(100, 0), force=True, **given)
        with reduced_graph(path, colour_manifest(), "int8", "onnxruntime", job) as made:
            assert made.report.calibration is not None
            return made.report.calibration.cache.split(" Equalized: ")

    return build


def entries(folder: Path) -> list[Path]:
    return sorted((folder / "cache" / "calibration").glob("*.npz"))


def key_of(entry: Path) -> dict[str, Any]:
    with zipfile.ZipFile(entry) as archive:
        return dict(json.loads(archive.read("entry.json"))["key"])


def test_an_equalized_graph_is_compared_with_equalized_ones(
    said: Callable[..., list[str]],
) -> None:
    name = colour_manifest().name or "net"
    assert said("equalizable") == [
        f"Not reused: none yet for {name}.",
        f"Not reused: none yet for {name}, equalized.",
    ]
    fewer = "there were 20 images and are 10, 0 of them new"
    assert said("equalizable", limit=10) == [
        f"Not reused: {fewer}.",
        f"Not reused: the graph's weights changed; {fewer}.",  # they follow from the images
    ]
    assert [one.split(":")[0] for one in said("equalizable")] == ["Reused", "Reused"]


def test_an_entry_that_lacks_a_tensor_is_measured_again(
    said: Callable[..., list[str]], tmp_path: Path
) -> None:
    said()
    (entry,) = entries(tmp_path)
    key = CacheKey(**{**key_of(entry), "images": tuple(key_of(entry)["images"])})
    cache = CalibrationCache()
    arrays = cache.load(key).arrays
    assert arrays is not None
    less = {name: array for name, array in arrays.items() if "depthwise" not in name}
    assert 0 < len(less) < len(arrays)
    cache.store(key, less)
    (sentence,) = said()
    assert sentence == ("Not reused: the entry is damaged (it has nothing of 'depthwise/active').")
    assert said()[0].startswith("Reused")


def test_what_decodes_a_video_decides_its_statistics(
    said: Callable[..., list[str]], clips: ModuleType, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    clip = clips.write_clip(tmp_path / "clip.mp4", [picture(rng, n % 3)[0] for n in range(20)])
    said()
    (first,) = entries(tmp_path)
    said(calibration=clip)
    (second,) = [one for one in entries(tmp_path) if one != first]
    assert "av" not in key_of(first)["versions"]
    assert key_of(second)["versions"]["av"]
