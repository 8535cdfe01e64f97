"""A planted channel leaves float32 as it was, and its row shows what it is there for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from bas_edge.quantization.report import BoundCheck
from benchmarks.planted import FACTOR, plant_behind, plant_in_weights
from benchmarks.precision_rows import PlantedRow
from benchmarks.precision_tables import planted_table
from benchmarks.rows import Provenance, append_row, missed_targets, read_rows


def network() -> onnx.ModelProto:
    """Two convolutions; the second reads the first behind a Relu."""
    random = np.random.default_rng(0)
    constants = {
        "a/w": random.normal(size=(4, 3, 3, 3)),
        "a/b": random.normal(size=4),
        "b/w": random.normal(size=(2, 4, 1, 1)),
    }
    nodes = [
        onnx.helper.make_node("Conv", ["x", "a/w", "a/b"], ["a:0"], "a"),
        onnx.helper.make_node("Relu", ["a:0"], ["r:0"], "r"),
        onnx.helper.make_node("Conv", ["r:0", "b/w"], ["y"], "b"),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [value("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])],
        [value("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in constants.items()],
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )


def outputs(model: onnx.ModelProto, *extra: str) -> list[np.ndarray]:
    for name in extra:
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    frame = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    return session.run(None, {"x": frame})


@pytest.mark.parametrize(
    ("plant", "tensor"),
    [
        (lambda model: plant_in_weights(model, "a", "b", 2), "r:0"),
        (lambda model: plant_behind(model, "r:0", 2), "planted:0"),
    ],
)
def test_the_answer_stays_and_one_channel_grows(
    plant: Callable[[onnx.ModelProto], None], tensor: str
) -> None:
    (expected, before) = outputs(network(), "r:0")
    model = network()
    plant(model)
    (answer, inside) = outputs(model, tensor)
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-4)
    grown = inside / np.where(before == 0, 1, before)
    alive = before != 0
    assert np.allclose(grown[:, 2][alive[:, 2]], FACTOR, rtol=1e-3)
    assert np.allclose(inside[:, [0, 1, 3]], before[:, [0, 1, 3]])


def check(loss: float) -> BoundCheck:
    return BoundCheck(metric="MaxBoxAccV2", reference=80.0, value=80 - loss, loss=loss, limit=0.5)


@pytest.fixture
def row(provenance: Provenance) -> PlantedRow:
    return PlantedRow(
        provenance=provenance,
        model="edge",
        data="d/val.csv",
        planted="here",
        plain=(check(20),),
        verdict="accepted after search",
        checks=(check(0),),
        equalized=(),
        in_float=("trunk.conv",),
    )


def test_its_table_has_both_and_the_layer(row: PlantedRow, tmp_path: Path) -> None:
    append_row(row, tmp_path)
    assert read_rows(tmp_path) == [row]
    text = planted_table([row])
    assert "80.00 → 60.00 (-20.00)" in text
    assert "80.00 → 80.00 (+0.00)" in text
    assert "| accepted after search | in float: trunk.conv |" in text


def test_what_it_does_not_show_is_said(row: PlantedRow) -> None:
    assert missed_targets(row) == []
    other = msgspec.structs.replace(row, plain=(check(0),), verdict="refused", in_float=())
    assert missed_targets(other) == [
        "here: plain min-max keeps the bound, so nothing is shown",
        "here: refused",
        "here: the report names no layer",
    ]
