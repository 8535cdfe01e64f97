"""A planted hard case: one channel a thousand times as large, its inverse in the next layer.

    python -m benchmarks.planted edge.onnx --calib train.csv --eval val.csv

The network says the same in float32; in plain min-max int8 the other channels of that tensor get
next to no codes. Planted twice in a trained light head: in the weights of `generator.dw`, where
equalization can take it back, and by a multiplication behind a Clip of the trunk, where nothing can
and the search must find the layer that reads it. Appends a row for each with what plain min-max
loses, what `build-engine` ends with, and what its report names. Exit code 1 where plain min-max
keeps the bound, or where `build-engine` does not.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bas_edge import build_engine, open_engine
from bas_edge.backends import open_backend
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.onnx_metadata import read_manifest
from bas_edge.quantization.candidates import Candidates
from bas_edge.quantization.cpu_form import cpu_form
from bas_edge.quantization.data import prepared
from bas_edge.quantization.int8 import quantizable
from bas_edge.quantization.job import PrecisionJob
from bas_edge.quantization.layers import find_layers, observed_tensors
from bas_edge.quantization.report import BoundCheck, PrecisionReport
from bas_edge.quantization.report_file import read_report
from bas_edge.quantization.statistics import measure

from .__main__ import provenance
from .precision_rows import PlantedRow
from .rows import RESULTS, append_row, missed_targets
from .tables import row_line

__all__ = ["main", "plain_checks", "plant_behind", "plant_in_weights"]

FACTOR = 1000.0
LAYER, READER = "generator.dw", "mean/conv"
TENSOR = "trunk.blocks.5.dw/clip:0"
CHANNEL = 0


def plant_in_weights(model: onnx.ModelProto, layer: str, reader: str, channel: int) -> None:
    """Scale an output channel of `layer`, and the weights of `reader` for it by the inverse."""
    nodes = {node.name: node for node in model.graph.node}
    weights, *bias = nodes[layer].input[1:]
    _scale(model, weights, (channel,), FACTOR)
    for name in bias:
        _scale(model, name, (channel,), FACTOR)
    _scale(model, nodes[reader].input[1], (slice(None), channel), 1 / FACTOR)


def plant_behind(model: onnx.ModelProto, tensor: str, channel: int) -> None:
    """Multiply a channel behind `tensor`, and the weights of its readers by the inverse."""
    graph = model.graph
    readers = [node for node in graph.node if tensor in node.input]
    (weights,) = [each for each in graph.initializer if each.name == readers[0].input[1]]
    gains = np.ones((1, weights.dims[1], 1, 1), np.float32)
    gains[0, channel] = FACTOR
    graph.initializer.append(numpy_helper.from_array(gains, "planted/gains"))
    for node in readers:
        node.input[0] = "planted:0"
        _scale(model, node.input[1], (slice(None), channel), 1 / FACTOR)
    at = list(graph.node).index(readers[0])
    gain = helper.make_node("Mul", [tensor, "planted/gains"], ["planted:0"], "planted")
    graph.node.insert(at, gain)


def plain_checks(path: Path, job: PrecisionJob) -> tuple[BoundCheck, ...]:
    """What min-max int8 loses, for ONNX Runtime, without equalization and without a search."""
    manifest = read_manifest(path)
    source, _ = quantizable(path, job)
    graph = cpu_form(source)
    layers = find_layers(graph)
    with prepared(job, manifest) as data:
        statistics = measure(
            graph.serialize(), observed_tensors(layers), data.calibration, threads=job.threads
        )
        int8 = Candidates(graph, tuple(layers), statistics, "onnxruntime").build("min-max")
        reference = data.yardstick.measure(path.read_bytes(), literal=False)
        return data.yardstick.checks(reference, data.yardstick.measure(int8, literal=False))


def main(arguments: Sequence[str] | None = None) -> int:
    """Append both rows; exit code 1 where one does not show what it is there for."""
    options = _parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "benchmarks.planted", *(arguments or sys.argv[1:])])
    job = PrecisionJob(
        calibration=options.calib,
        method="min-max",
        limit=options.limit,
        evaluation=options.eval,
        threads=options.threads,
        force=True,
    )
    failed = False
    for where in ("weights", "Mul"):
        with tempfile.TemporaryDirectory(prefix="bas-edge-planted-") as work:
            path = Path(work) / "planted.onnx"
            model = onnx.load(options.model)
            if where == "weights":
                plant_in_weights(model, LAYER, READER, CHANNEL)
            else:
                plant_behind(model, TENSOR, CHANNEL)
            onnx.save(model, path)
            _require_same(options.model, path)
            plain = plain_checks(path, job)
            engine = build_engine(path, Path(work) / "p.engine", precision="int8", job=job)
            report = read_report(open_engine(engine.path))
        row = PlantedRow(
            provenance=provenance(command),
            model=options.name or options.model.stem,
            data=f"{options.eval.parent.name}/{options.eval.name}",
            planted=f"weights of `{LAYER}`" if where == "weights" else f"Mul behind `{TENSOR}`",
            plain=plain,
            verdict=report.verdict,
            checks=report.checks,
            equalized=_equalized(report),
            in_float=tuple(kept.node for kept in report.kept),
        )
        append_row(row, options.results)
        print(row_line(row), flush=True)
        for sentence in missed_targets(row):
            print(f"missed: {sentence}", file=sys.stderr)
            failed = True
    return 1 if failed else 0


def _equalized(report: PrecisionReport) -> tuple[str, ...]:
    return (
        ()
        if report.calibration is None
        else tuple(
            f"{one.producer}, {one.spread_before:.0f} to {one.spread_after:.0f} times its median"
            for one in report.calibration.equalized
        )
    )


def _scale(model: onnx.ModelProto, name: str, at: tuple[int | slice, ...], factor: float) -> None:
    (found,) = [each for each in model.graph.initializer if each.name == name]
    values = numpy_helper.to_array(found).copy()
    values[at] *= factor
    found.CopyFrom(numpy_helper.from_array(values, name))


def _require_same(before: Path, after: Path) -> None:
    """The planted network must say the same in float32."""
    policy = read_manifest(before).input
    frames = np.random.default_rng(0).integers(
        0, 256, (2, policy.height, policy.width, 3), np.uint8
    )
    answers = []
    for path in (before, after):
        backend = open_backend("onnxruntime", path)
        answers.append(backend.run({INPUT_NAME: frames}))
        backend.close()
    for name, values in answers[0].items():
        if not np.allclose(values, answers[1][name], rtol=1e-3, atol=1e-3):
            raise SystemExit(f"The planted network gives another '{name}' in float32.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planted")
    parser.add_argument("model", type=Path, help="an exported light head of map stride 8, fp32")
    parser.add_argument("--calib", type=Path, required=True, help="images that ranges come from")
    parser.add_argument("--eval", type=Path, required=True, help="CSV with boxes")
    parser.add_argument("--name", help="of the model in the table; default: its file's")
    parser.add_argument("--limit", type=int, default=200, help="calibration images")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
