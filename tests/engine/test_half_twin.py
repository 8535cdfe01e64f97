"""The float32 graph that rounds where the float16 one does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from colour_network import picture, write_network
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from bas_edge.engine.float16_range import half_that_fits, trial_frames
from bas_edge.engine.half_twin import half_twin
from bas_edge.engine.manifest import InputPolicy
from bas_edge.engine.onnx_graph import OnnxGraph, with_outputs
from bas_edge.engine.opened import opened
from bas_edge.engine.precision import HalfGraph, to_half
from bas_edge.framing import frame_to_input, place

POLICY = InputPolicy(height=32, width=32)


def frames() -> np.ndarray:
    rng = np.random.default_rng(4)
    pictures = [picture(rng, label)[0] for label in (0, 1, 2)]
    return np.stack([frame_to_input(one, place(one.shape[:2], POLICY)) for one in pictures])


def changed(path: Path, **values: Callable[[np.ndarray], np.ndarray]) -> Path:
    """The network with other constants; `__` in a name stands for a dot."""
    model = onnx.load(path)
    for value in model.graph.initializer:
        change = values.get(value.name.replace(".", "__"))
        if change is not None:
            array = np.float32(change(numpy_helper.to_array(value).copy()))
            value.CopyFrom(numpy_helper.from_array(array, value.name))
    onnx.save(model, path)
    return path


def inexact(path: Path) -> Path:
    """A network whose input float16 cannot hold: (x - 123.675) / 58.395."""
    write_network(path)
    return changed(path, mean=lambda v: 0 * v + 123.675, std=lambda v: 0 * v + 58.395)


def constant_beyond_float16(path: Path) -> Path:
    """The stem stays in float32 for a weight of 1e6 / 9, and computes values beyond 65504 for
    layers that do not: there is no Relu between."""
    write_network(path)
    model = onnx.load(path)
    relu = next(node for node in model.graph.node if node.name == "stem/activation")
    model.graph.node.remove(relu)
    for node in model.graph.node:
        node.input[:] = ["stem:0" if name == "stem/active" else name for name in node.input]
    onnx.save(model, path)

    def times(factor: float) -> Callable[[np.ndarray], np.ndarray]:
        def change(values: np.ndarray) -> np.ndarray:
            values[0] *= factor
            return values

        return change

    return changed(
        path, stem__weight=times(1e6), stem__bias=times(1e6), depthwise__weight=times(1e-6)
    )


def rounded_tensors(half: HalfGraph, given: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor of a float16 graph whose nodes each compute in float32 and round once."""
    model = onnx.load_from_string(half.model)
    found = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
    found["frames"] = given
    for node in model.graph.node:
        inputs = [found[name] for name in node.input]
        is_half = node.op_type != "Cast" and any(each.dtype == np.float16 for each in inputs)
        if is_half:
            inputs = [i.astype(np.float32) if i.dtype == np.float16 else i for i in inputs]
        feeds = dict(zip(node.input, inputs, strict=True))
        with np.errstate(over="ignore", invalid="ignore"):
            (result,) = ReferenceEvaluator(node).run(None, feeds)
            found[node.output[0]] = result.astype(np.float16) if is_half else result
    return found


def test_it_rounds_what_the_float16_graph_rounds_and_nothing_else(tmp_path: Path) -> None:
    """Sums in another order differ by 2^-24 of them; next to a tie, that is one step of float16.
    Where an input or a weight were not rounded, most values of the first layer would differ."""
    path = inexact(tmp_path / "net.onnx")
    half = to_half(path)
    expected = rounded_tensors(half, frames())
    with opened(with_outputs(half_twin(path, half), half.tensors)) as backend:
        got = backend.run({"frames": frames()})
    for name in half.tensors:
        wanted = expected[name].astype(np.float32)
        step = np.spacing(expected[name].astype(np.float16)).astype(np.float32)
        different = got[name] != wanted
        assert different.mean() < 0.01, name
        assert (np.abs(got[name] - wanted) <= 2 * np.abs(step)).all(), name
    for name in ("logits", "maps"):  # a few such steps, of values around 1, times weights below 9
        np.testing.assert_allclose(got[name], expected[name], atol=2**-10)


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
    changed(path, depthwise__weight=lambda v: v * 100, dense__weight=lambda v: v * 0.01)
    half = half_that_fits(path, [frames()])
    assert set(half.in_float) >= {"depthwise", "depthwise/relu", "dense"}
    assert "depthwise/active" not in half.tensors
    assert "dense/active" in half.tensors or "stem/active" in half.tensors
    assert all("ends at 65504" in note for note in half.notes)


def test_the_twin_overflows_where_float32_values_are_cast(tmp_path: Path) -> None:
    path = constant_beyond_float16(tmp_path / "net.onnx")
    half = to_half(path)
    assert "stem:0" in half.readers
    assert "stem:0" not in half.tensors
    assert half.in_float == ()
    expected = rounded_tensors(half, frames())["logits"]
    with opened(half_twin(path, half)) as backend:
        got = backend.run({"frames": frames()})["logits"]
    assert not np.isfinite(expected).all()
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(expected))


def test_what_reads_large_values_of_a_float32_layer_stays_float32(tmp_path: Path) -> None:
    path = constant_beyond_float16(tmp_path / "net.onnx")
    half = half_that_fits(path, [frames()])
    assert half.in_float == ("depthwise",)
    assert len(half.notes) == 2
    assert "'depthwise' stays in float32: 'stem:0' reaches" in half.notes[0]
    assert "Conv 'stem' stays in float32: its 'stem.weight' holds" in half.notes[1]
    assert "dense/active" in half.tensors
    exact = ReferenceEvaluator(onnx.load(path)).run(None, {"frames": frames()})
    with opened(half_twin(path, half)) as backend:
        got = backend.run({"frames": frames()})
    for wanted, name in zip(exact, ("logits", "maps"), strict=True):
        # Values up to 2 were rounded at 2^-11 twice, and six weights below 9 add them up.
        np.testing.assert_allclose(got[name], wanted, atol=2 * 2 * 6 * 9 * 2**-11)


def test_constants_that_the_half_graph_reads_in_float32_are_not_rounded(tmp_path: Path) -> None:
    """The scales of a Resize have no float16 form."""
    path = write_network(tmp_path / "net.onnx")
    model = onnx.load(path)
    scales = np.float32([1, 1, 1.0001, 1.0001])
    model.graph.initializer.append(numpy_helper.from_array(scales, "scales"))
    at = next(i for i, node in enumerate(model.graph.node) if node.name == "dense")
    node = helper.make_node("Resize", ["depthwise/active", "", "scales"], ["larger"], "resize")
    model.graph.node[at].input[0] = "larger"
    model.graph.node.insert(at, node)
    onnx.save(model, path)
    half = to_half(path)
    assert "resize" in half.tensors.values()
    twin = OnnxGraph.read(half_twin(path, half))
    np.testing.assert_array_equal(twin.weights(twin.node("resize"), 2), scales)
