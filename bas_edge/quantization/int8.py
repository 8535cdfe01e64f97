"""An int8 graph from an exported float32 one: calibrated, held to its bound, and reported."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bas_edge.conditions import cpu_features
from bas_edge.engine.manifest import Manifest, Quantization
from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.errors import InputError
from bas_edge.quantization.calibration import calibrated
from bas_edge.quantization.candidates import TRAINED, Candidates
from bas_edge.quantization.codes import Flavour
from bas_edge.quantization.cpu_form import cpu_form
from bas_edge.quantization.data import Data
from bas_edge.quantization.frame_source import spread
from bas_edge.quantization.job import AUTO, PrecisionJob
from bas_edge.quantization.layers import find_layers
from bas_edge.quantization.ranges import METHODS
from bas_edge.quantization.report import (
    BoundCheck,
    CalibrationRecord,
    KeptNode,
    LayerError,
    MethodResult,
    SearchStep,
)
from bas_edge.quantization.saturation import may_saturate
from bas_edge.quantization.sensitivity import layer_errors, search
from bas_edge.quantization.trained_ranges import TrainedRanges, read_trained_ranges

__all__ = ["Int8Result", "merit", "quantizable", "quantize"]

_LUCK = 2.0  # standard errors
_LAYER_FRAMES = 32  # that tell which layers are sensitive


@dataclass(frozen=True, slots=True, eq=False)
class Int8Result:
    """The best int8 graph that was found.

    Attributes:
        model: Serialized.
        measured: What it says about the images of the bound.
        accepted: Whether the bound holds.
        quantization: For the manifest.
        calibration, methods, layers, kept, search: For the report.
    """

    model: bytes
    measured: Any
    accepted: bool
    quantization: Quantization
    calibration: CalibrationRecord
    methods: tuple[MethodResult, ...]
    layers: tuple[LayerError, ...]
    kept: tuple[KeptNode, ...]
    search: tuple[SearchStep, ...]


def quantizable(path: Path, job: PrecisionJob) -> tuple[OnnxGraph, TrainedRanges | None]:
    """The exported float32 graph in `path`, and its trained ranges, if it has any.

    Raises:
        MissingExtraError: The `[build]` extra is not installed.
        EngineError: The file cannot be read.
        InputError: The graph is quantized already, has nothing to quantize, or no trained ranges
            where the method asks for them.
    """
    source = OnnxGraph.read(path, purpose="Precision int8")
    if any(node.op_type in {"QuantizeLinear", "DequantizeLinear"} for node in source.nodes):
        raise InputError(
            f"{path} is quantized already; precision int8 starts from a float32 graph.",
            hint="Give the graph that bas-edge export wrote.",
        )
    source.refuse_subgraphs("precision int8")
    if not find_layers(source):
        raise InputError(
            f"{path} has no layer that could be quantized.", hint="Build with --precision fp16."
        )
    trained = read_trained_ranges(path)
    if trained is None and job.method == TRAINED:
        raise InputError(
            f"{path} has no trained ranges, which the method '{TRAINED}' takes.",
            hint="Finetune with bas-edge train --qat CHECKPOINT and export that, or calibrate "
            "with --calib-method auto.",
        )
    return source, trained


def quantize(
    source: OnnxGraph,
    trained: TrainedRanges | None,
    manifest: Manifest,
    flavour: Flavour,
    data: Data,
    reference: Any,
    job: PrecisionJob,
) -> Int8Result:
    """Quantize what `quantizable` gave.

    Args:
        source: The exported graph.
        trained: Its trained ranges; None where it has none.
        manifest: What its metadata say.
        flavour: For which library.
        data: The images of the job.
        reference: What the float32 graph says about the images of the bound.
        job: How.

    Raises:
        EngineError: A value of the graph is not finite on a calibration image.
        BackendError: ONNX Runtime refuses a graph.
    """
    return _Quantizer(source, trained, manifest, flavour, data, reference, job).run()


class _Quantizer:
    def __init__(
        self,
        source: OnnxGraph,
        trained: TrainedRanges | None,
        manifest: Manifest,
        flavour: Flavour,
        data: Data,
        reference: Any,
        job: PrecisionJob,
    ) -> None:
        self.manifest, self.flavour = manifest, flavour
        self.data, self.reference, self.job = data, reference, job
        self.weighted = {one.node for one in find_layers(source) if one.weighted}
        self.source = cpu_form(source) if flavour == "onnxruntime" else source
        self.trained = trained
        self.features = tuple(cpu_features())
        narrow = job.reduce_range
        if narrow is None:
            narrow = flavour == "onnxruntime" and may_saturate(self.features)
            if narrow:
                job.note("Weights have seven bits: sums of eight could saturate on this CPU.")
        self.reduce_range = narrow

    def run(self) -> Int8Result:
        ranges = calibrated(
            self.source, self.manifest.name, self.data.calibration, self.trained, self.job
        )
        calibration = ranges.record
        candidates = Candidates(
            ranges.graph,
            tuple(find_layers(ranges.graph)),
            ranges.statistics,
            self.flavour,
            self.reduce_range,
            self.trained,
        )
        methods, first = self._choose(candidates)
        chosen = next(one for one in methods if one.chosen)
        layers = self._layers(candidates, chosen.method)
        found = first if chosen.held else None
        steps: tuple[SearchStep, ...] = ()
        if found is None and self.job.search_budget_s > 0:
            found, steps = self._search(candidates, chosen.method, layers)
        best = found or first
        return Int8Result(
            model=best.model,
            measured=best.measured,
            accepted=found is not None,
            quantization=Quantization(
                flavour=self.flavour,
                method=chosen.method,
                calibration_sha256=calibration.sha256,
                calibration_images=calibration.images,
                in_float=best.kept,
                reduce_range=self.reduce_range,
                cpu_features=self.features,
            ),
            calibration=msgspec.structs.replace(calibration, method=chosen.method),
            methods=methods,
            layers=tuple(_marked(layer, best.kept) for layer in layers),
            kept=_reasons(best.kept, layers),
            search=steps,
        )

    def _layers(self, candidates: Candidates, method: str) -> tuple[LayerError, ...]:
        """What each layer costs, on a few of the calibration images."""
        calibration = self.data.calibration
        few = calibration.part(spread(len(calibration), _LAYER_FRAMES))
        return layer_errors(
            candidates,
            method,
            few.read(0, len(few)),
            self.manifest,
            threads=self.job.threads,
            progress=self.job.phase("what each layer costs"),
        )

    # Methods

    def _choose(self, candidates: Candidates) -> tuple[tuple[MethodResult, ...], _Found]:
        """Try the methods that were asked for; the best one is marked as chosen."""
        asked = self.job.method
        names = list(METHODS) if asked == AUTO else [asked]
        if asked == AUTO and candidates.trained is not None:
            names.append(TRAINED)
        tried: list[tuple[MethodResult, _Found]] = []
        report = self.job.phase("calibration methods")
        for name in names:
            started = time.monotonic()
            model = candidates.build(name)
            measured = self._measure(model)
            found = _Found((), model, measured)
            tried.append((self._result(name, measured, started), found))
            report(len(tried), len(names))
        best = min(range(len(tried)), key=lambda at: merit(tried[at][0]))
        results = [
            result if at != best else _chosen(result) for at, (result, _) in enumerate(tried)
        ]
        return tuple(results), tried[best][1]

    def _result(self, name: str, measured: Any, started: float) -> MethodResult:
        checks = self.data.yardstick.checks(self.reference, measured)
        errors = self.data.yardstick.errors(self.reference, measured)
        return MethodResult(
            method=name,
            checks=checks,
            held=all(check.held for check in checks),
            map_error=errors.maps,
            logit_error=errors.logits,
            chosen=False,
            seconds=time.monotonic() - started,
        )

    def _measure(self, model: bytes) -> Any:
        return self.data.yardstick.measure(model, literal=self.flavour == "tensorrt")

    # Search

    def _search(
        self, candidates: Candidates, method: str, layers: Sequence[LayerError]
    ) -> tuple[_Found | None, tuple[SearchStep, ...]]:
        """The fewest layers in float with which the bound holds, and the steps to find them."""
        tried: dict[tuple[str, ...], _Found] = {}

        def check(keep: tuple[str, ...]) -> tuple[BoundCheck, ...]:
            model = candidates.build(method, keep)
            measured = self._measure(model)
            checks = self.data.yardstick.checks(self.reference, measured)
            if all(one.held for one in checks):  # each that holds has fewer than the one before
                tried.clear()
                tried[keep] = _Found(keep, model, measured)
            return checks

        kept, steps = search(
            [layer.node for layer in layers],
            check,
            budget_s=self.job.search_budget_s,
            progress=self.job.phase("layers back to float"),
        )
        if kept is None or self.weighted <= set(kept):
            return None, steps  # pooling in eight bits is no int8 network
        return tried[kept], steps


class _Found(NamedTuple):
    """A graph with some layers in float, and what it says about the images of the bound."""

    kept: tuple[str, ...]
    model: bytes
    measured: Any


def merit(result: MethodResult) -> tuple[bool, float, float]:
    """Smaller is better: held first, then losses as shares of their limits, then raw errors.

    A loss within two standard errors of these images is none that could be told from luck, and
    neither is a gain; between such methods the errors of maps and logits decide.
    """
    loss = 0.0
    for check in result.checks:
        certain = max(check.loss - _LUCK * (check.standard_error or 0.0), 0.0)
        loss += certain / check.limit if check.limit > 0 else certain
    return not result.held, round(loss, 6), result.map_error + result.logit_error


def _chosen(result: MethodResult) -> MethodResult:
    return msgspec.structs.replace(result, chosen=True)


def _marked(layer: LayerError, kept: Sequence[str]) -> LayerError:
    return msgspec.structs.replace(layer, in_float=layer.node in kept)


def _reasons(kept: Sequence[str], layers: Sequence[LayerError]) -> tuple[KeptNode, ...]:
    """Why layers stay in float."""
    share = {layer.node: layer.error for layer in layers}
    return tuple(
        KeptNode(
            node=name,
            reason=f"the bound; quantized alone it causes {100 * share[name]:.0f} % of the squared "
            "error of all layers",
        )
        for name in kept
    )
