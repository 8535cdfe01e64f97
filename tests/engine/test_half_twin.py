"""The float32 graph that rounds where the float16 one does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from colour_network import picture, write_network
from onnx.reference import ReferenceEvaluator

from bas_edge.engine.float16_range import half_that_fits, trial_frames
from bas_edge.engine.half_twin import half_twin
from bas_edge.engine.manifest import InputPolicy
from bas_edge.engine.onnx_graph import with_outputs
from bas_edge.engine.precision import to_half
from bas_edge.framing import frame_to_input, place
from bas_edge.quantization.statistics import opened

POLICY = InputPolicy(height=32, width=32)


def frames() -> np.ndarray:
    rng = np.random.default_rng(4)
    pictures = [picture(rng, label)[0] for label in (0, 1, 2)]
    return np.stack([frame_to_input(one, place(one.shape[:2], POLICY)) for one in pictures])


def test_it_agrees_with_a_float16_graph_computed_node_by_node(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx")
    half = to_half(path)
    expected = ReferenceEvaluator(onnx.load_from_string(half.model)).run(None, {"frames": frames()})
    with opened(half_twin(path, half)) as backend:
        got = backend.run({"frames": frames()})
    plain = ReferenceEvaluator(onnx.load(path)).run(None, {"frames": frames()})
    for exact, rounded, twin in zip(plain, expected, (got["logits"], got["maps"]), strict=True):
        noise = np.abs(rounded - exact).max()
        assert 0 < np.abs(twin - exact).max() < 4 * noise
        np.testing.assert_allclose(twin, rounded, atol=2 * noise)


def test_every_float16_tensor_holds_float16_values(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx")
    half = to_half(path)
    assert half.tensors
    with opened(with_outputs(half_twin(path, half), half.tensors)) as backend:
        got = backend.run({"frames": frames()})
    for name in half.tensors:
        assert (got[name] == got[name].astype(np.float16)).all(), name


def test_layers_that_overflow_on_the_frames_stay_float32(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx", planted="equalizable")  # up to 1200
    assert half_that_fits(path, [trial_frames(POLICY)]).in_float == ()
    model = onnx.load(path)
    for value in model.graph.initializer:
        if value.name in ("depthwise.weight", "dense.weight"):
            factor = 100 if value.name == "depthwise.weight" else 0.01
            array = onnx.numpy_helper.to_array(value) * np.float32(factor)
            value.CopyFrom(onnx.numpy_helper.from_array(array, value.name))
    onnx.save(model, path)
    half = half_that_fits(path, [frames()])
    assert set(half.in_float) >= {"depthwise", "depthwise/relu", "dense"}
    assert "depthwise/active" not in half.tensors
    assert "dense/active" in half.tensors or "stem/active" in half.tensors
    assert all("ends at 65504" in note for note in half.notes)
