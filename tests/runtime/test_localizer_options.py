from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import bas_edge
from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.errors import BackendError, EngineCorruptError, EngineError, InputError

CLASSES = ("red", "green", "blue", "grey", "odd")
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture
def model(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> Callable[..., Path]:
    def write(**options: Any) -> Path:
        return tiny_onnx(tmp_path / "m.onnx", **{"classes": CLASSES, **options})

    return write


def noise(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def test_the_engine_decides_unless_told_otherwise(model: Callable[..., Path]) -> None:
    policy = ThresholdPolicy(rule="mean", value=1.5, chosen_by="label-free default")
    path = model(threshold=policy, top_k=2, min_score=0.25)
    with bas_edge.Localizer(path) as localizer:
        assert localizer.threshold == policy
        assert (localizer.top_k, localizer.min_score) == (2, 0.25)
        assert localizer.classes == CLASSES
        assert localizer.backend_name == "onnxruntime"
        assert localizer.manifest.threshold == policy
    other = ThresholdPolicy(rule="mean", value=2.0)
    with bas_edge.Localizer(path, threshold=other, top_k=5, min_score=0) as localizer:
        assert localizer.threshold == other
        assert (localizer.top_k, localizer.min_score) == (5, 0.0)
    with bas_edge.Localizer(path, threshold=0.3) as localizer:
        assert (localizer.threshold.rule, localizer.threshold.value) == ("fixed", 0.3)


def test_the_threshold_decides_the_box(model: Callable[..., Path]) -> None:
    path, frame = model(maps="mean"), noise((32, 32))

    def area(threshold: float | ThresholdPolicy) -> float:
        with bas_edge.Localizer(path, threshold=threshold) as localizer:
            return float(localizer.run(frame).mask().sum())

    assert area(0.2) > area(0.8) > 0
    assert area(ThresholdPolicy(rule="mean", value=0.5)) > area(
        ThresholdPolicy(rule="mean", value=1.5)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k is 0, but this engine computes 5 class maps, so it must be 1 to 5"),
        ({"top_k": 6}, "top_k is 6, but this engine computes 5"),
        ({"threads": 0}, "threads is 0, but must be 1 or more"),
        ({"threshold": -0.1}, "threshold is -0.1"),
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"min_score": 1.1}, "min_score is 1.1"),
        ({"min_score": float("nan")}, "min_score is nan"),
        ({"max_boxes": 0}, "max_boxes is 0, but must be 1 to 65536"),
        ({"max_boxes": 65537}, "max_boxes is 65537, but must be 1 to 65536"),
        ({"threads": 0}, "threads is 0"),
        ({"backend": "onxruntime"}, "Unknown backend 'onxruntime'"),
    ],
)
def test_options_out_of_range(
    model: Callable[..., Path], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        bas_edge.Localizer(model(), **options)


def test_top_k_of_a_selecting_engine_is_bounded_by_its_k(model: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="top_k is 4, but this engine computes 3 class maps"):
        bas_edge.Localizer(model(maps="selected", k=3), top_k=4)


def test_an_engine_with_one_averaged_map_has_no_top_k(model: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"emits one averaged map \(maps: mean\)"):
        bas_edge.Localizer(model(maps="mean"), top_k=1)


# Opening and closing


def test_a_bundle_and_its_onnx_file_give_the_same(
    model: Callable[..., Path], tmp_path: Path
) -> None:
    path, frame = model(), noise((40, 60))
    bas_edge.build_engine(path, tmp_path / "e.engine")
    with bas_edge.Localizer(path) as bare, bas_edge.Localizer(tmp_path / "e.engine") as bundle:
        assert bare.run(frame).box == bundle.run(frame).box
        assert "5 classes, 32×32, onnxruntime>" in repr(bundle)


def test_a_damaged_engine_does_not_open(model: Callable[..., Path], tmp_path: Path) -> None:
    engine = bas_edge.build_engine(model(), tmp_path / "e.engine")
    content = bytearray(engine.model_path.read_bytes())
    content[len(content) // 2] ^= 1
    engine.model_path.write_bytes(content)
    with pytest.raises(EngineCorruptError, match=r"model\.onnx is damaged"):
        bas_edge.Localizer(engine.path)


def test_a_bare_graph_must_keep_the_contract_too(tmp_path: Path, graphs: ModuleType) -> None:
    model = graphs.tiny_model(graphs.tiny_manifest(maps="mean"))
    path = graphs.save(tmp_path / "m.onnx", model, graphs.tiny_manifest(maps="all"))
    with pytest.raises(EngineError, match="asks for logits, maps"):
        bas_edge.Localizer(path)


def test_onnx_without_our_metadata(model: Callable[..., Path]) -> None:
    with pytest.raises(EngineError, match="has no bas-edge metadata"):
        bas_edge.Localizer(model(metadata=False))


def test_a_closed_localizer_says_so(model: Callable[..., Path]) -> None:
    localizer = bas_edge.Localizer(model())
    localizer.close()
    localizer.close()
    with pytest.raises(BackendError, match="This Localizer is closed"):
        localizer.run(noise((8, 8)))
    with pytest.raises(BackendError, match="This Localizer is closed"):
        localizer.clone()
    assert "closed" in repr(localizer)


def test_infinite_logits_are_an_error_and_not_a_box(tmp_path: Path, graphs: ModuleType) -> None:
    manifest = graphs.tiny_manifest(maps="mean")
    model = graphs.tiny_model(manifest)
    node = next(n for n in model.graph.node if "logits" in n.output)
    node.op_type = "Div"  # by the zeros of a black frame
    node.input[1] = "flat"
    path = graphs.save(tmp_path / "m.onnx", model, manifest)
    with (
        bas_edge.Localizer(path) as localizer,
        pytest.raises(BackendError, match="NaN or infinite logits"),
    ):
        localizer.run(np.zeros((8, 8, 3), np.uint8))
