"""onnxsim may crash, hang, or answer nonsense: the export goes on with the graph it had."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from bas_edge_training.graph import contract_graph
from bas_edge_training.models import BasModel
from bas_edge_training.simplify import simplify

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)


@pytest.fixture
def graph(make_model: Callable[..., BasModel]) -> onnx.ModelProto:
    return contract_graph(make_model("edge", norm="batch"))


def child(tmp_path: Path, code: str) -> list[str]:
    """A command that stands in for onnxsim: `code` sees `source` and `target`."""
    script = tmp_path / "child.py"
    script.write_text(f"import sys\nsource, target = sys.argv[1:3]\n{code}\n")
    return [sys.executable, str(script)]


def edited(body: str) -> str:
    return f"import onnx\nmodel = onnx.load(source)\n{body}\nonnx.save(model, target)"


def test_onnxsim_folds_batchnorm_and_keeps_the_function(graph: onnx.ModelProto) -> None:
    simplified, report = simplify(graph, FRAMES)
    assert report.applied, report.reason
    assert report.nodes_after < report.nodes_before
    assert "BatchNormalization" not in {node.op_type for node in simplified.graph.node}
    assert simplified.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


FAILURES = {
    "crash": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by signal 11"),
    "error": ("sys.exit('no such pass')", "failed: no such pass"),
    "nothing": ("pass", "wrote no file"),
    "garbage": ("open(target, 'wb').write(b'not protobuf')", "not an ONNX file"),
    "invalid": (edited("model.graph.node[5].op_type = 'Nope'"), "not usable"),
    "batch": (
        edited("model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1"),
        "changed the inputs or outputs",
    ),
    "values": (
        edited(
            "import numpy as np\n"
            "old = next(i for i in model.graph.initializer if i.name == 'generator.conv.bias')\n"
            "new = onnx.numpy_helper.to_array(old) + np.float32(0.01)\n"
            "old.CopyFrom(onnx.numpy_helper.from_array(new, old.name))"
        ),
        "changed 'maps' by 0.00",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_failure_keeps_the_graph(graph: onnx.ModelProto, tmp_path: Path, case: str) -> None:
    code, reason = FAILURES[case]
    kept, report = simplify(graph, FRAMES, command=child(tmp_path, code))
    assert kept is graph
    assert not report.applied
    assert reason in report.reason
    assert report.nodes_after == report.nodes_before == len(graph.graph.node)
    assert str(report).startswith("kept the graph as it was: ")


def test_hanging_child_is_killed(graph: onnx.ModelProto, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    command = ["sh", "-c", f"echo $$ > '{mark}'; exec sleep 600"]
    kept, report = simplify(graph, FRAMES, command=command, timeout_s=1)
    assert kept is graph
    assert "longer than 1 s" in report.reason
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_missing_program_is_a_reason(graph: onnx.ModelProto, tmp_path: Path) -> None:
    kept, report = simplify(graph, FRAMES, command=[str(tmp_path / "nowhere")])
    assert kept is graph
    assert "could not be started" in report.reason
