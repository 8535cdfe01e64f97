"""Fewer bits for an exported graph: made, held to the bound, and written down."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import bas_edge
from bas_edge.conditions import installed_version
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.float16_range import half_that_fits
from bas_edge.engine.half_twin import half_twin
from bas_edge.engine.manifest import Accuracy, BoundVerdict, Manifest
from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.engine.opened import opened
from bas_edge.engine.precision import to_half
from bas_edge.engine.stages import Stage
from bas_edge.errors import InputError
from bas_edge.quantization.codes import Flavour
from bas_edge.quantization.data import Data, prepared
from bas_edge.quantization.int8 import quantizable, quantize
from bas_edge.quantization.job import AUTO, PrecisionJob
from bas_edge.quantization.report import (
    BoundCheck,
    CalibrationRecord,
    KeptNode,
    PrecisionReport,
    Verdict,
)
from bas_edge.quantization.statistics import Frames
from bas_edge.quantization.trained_ranges import TrainedRanges
from bas_edge.quantization.yardstick import AnyYardstick

__all__ = ["Reduced", "figures_text", "reduced_graph"]

_WARM_UP, _RUNS = 3, 15
_FASTER = 0.95  # of the float32 graph's time: within the rest, both are the same
_BATCH = 8
_HAIR = 1e-9  # what sums of floats may miss zero by
_LIBRARIES = ("onnxruntime", "onnx", "numpy")


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """A graph of reduced precision.

    Attributes:
        model: Serialized.
        manifest: Of the float32 graph, with the precision and how it came about.
        report: For the bundle; its `verdict` says whether the bound holds.
        yardstick: The images of the bound.
        reference, measured: What the float32 graph and this one say about them, as the yardstick
            measures it.
    """

    model: bytes
    manifest: Manifest
    report: PrecisionReport
    yardstick: AnyYardstick
    reference: Any
    measured: Any


@contextmanager
def reduced_graph(
    path: Path, manifest: Manifest, precision: str, flavour: Flavour, job: PrecisionJob
) -> Iterator[Reduced]:
    """Make the fp16 or int8 form of an exported float32 graph, and measure what it costs.

    The images of its yardstick are at hand until the block ends.

    Args:
        path: The ONNX file.
        manifest: What its metadata say.
        precision: "fp16" or "int8".
        flavour: For which library.
        job: The images, the bound and the rest.

    Raises:
        InputError, MissingExtraError, EngineError, BackendError: See `to_half` and
            `quantizable`, whose objections come before any image is read; `prepared` and
            `quantize`.
    """
    graph = None
    if precision == "int8":
        graph = quantizable(path, job)
    else:
        _refuse_options_of_int8(job)
        to_half(path)
    with prepared(job, manifest) as data:
        job.phase("float32")
        original = path.read_bytes()
        reference = data.yardstick.measure(original, literal=False)
        writer = _Writer(path, manifest, flavour, job, data, reference)
        yield writer.half() if graph is None else writer.int8(*graph)


@dataclass(frozen=True, slots=True, eq=False)
class _Writer:
    path: Path
    manifest: Manifest
    flavour: Flavour
    job: PrecisionJob
    data: Data
    reference: Any

    def half(self) -> Reduced:
        frames = self.data.calibration
        half = half_that_fits(
            self.path, frames.batches(_BATCH, self.job.phase("looking for overflows"))
        )
        for sentence in half.notes:
            self.job.note(sentence)
        measured = self.data.yardstick.measure(half_twin(self.path, half), literal=False)
        checks = self.data.yardstick.checks(self.reference, measured)
        held = all(check.held for check in checks)
        report = msgspec.structs.replace(
            self._report("fp16", "accepted" if held else "refused", checks, measured, half.model),
            calibration=CalibrationRecord(
                source=frames.source, images=len(frames), sha256="", method="overflow scan"
            ),
            kept=tuple(
                KeptNode(node=name, reason="its values come near the end of float16")
                for name in half.in_float
            ),
        )
        changed = msgspec.structs.replace(
            self.manifest,
            precision="fp16",
            bound=self._verdict(report),
            accuracy=self._accuracy(report),
        )
        return self._reduced(half.model, changed, report, measured)

    def int8(self, source: OnnxGraph, trained: TrainedRanges | None) -> Reduced:
        named = msgspec.structs.replace(self.manifest, name=self.manifest.name or self.path.stem)
        found = quantize(source, trained, named, self.flavour, self.data, self.reference, self.job)
        self.job.note(f"Calibration cache: {found.calibration.cache}")
        checks = self.data.yardstick.checks(self.reference, found.measured)
        verdict: Verdict = "accepted after search" if found.kept else "accepted"
        if not found.accepted:
            verdict = "refused"
        report = msgspec.structs.replace(
            self._report("int8", verdict, checks, found.measured, found.model, self.flavour),
            calibration=found.calibration,
            methods=found.methods,
            layers=found.layers,
            kept=found.kept,
            search=found.search,
        )
        changed = msgspec.structs.replace(
            self.manifest,
            precision="int8",
            quantization=found.quantization,
            bound=self._verdict(report),
            accuracy=self._accuracy(report),
        )
        return self._reduced(found.model, changed, report, found.measured)

    def _reduced(
        self, model: bytes, manifest: Manifest, report: PrecisionReport, measured: Any
    ) -> Reduced:
        return Reduced(model, manifest, report, self.data.yardstick, self.reference, measured)

    def _report(
        self,
        precision: str,
        verdict: Verdict,
        checks: Sequence[BoundCheck],
        measured: Any,
        model: bytes,
        flavour: str = "",
    ) -> PrecisionReport:
        """What both precisions say; the rest is added by the caller."""
        yardstick = self.data.yardstick
        for_tensorrt = flavour == "tensorrt"
        size = self.path.stat().st_size
        before_ms = self._latency(self.path.read_bytes())
        latency_ms = None if for_tensorrt else self._latency(model)
        stages = (
            yardstick.stage(
                self.reference, self.reference, "fp32", "", size_bytes=size, latency_ms=before_ms
            ),
            yardstick.stage(
                self.reference,
                measured,
                precision,
                "fp32",
                size_bytes=len(model),
                latency_ms=latency_ms,
                note="Q/DQ nodes placed for TensorRT: not timed on a CPU" if for_tensorrt else "",
            ),
        )
        self._say_if_not_smaller(len(model), size, precision)
        if latency_ms is not None and self.flavour == "onnxruntime":
            self._say_if_not_faster(latency_ms, before_ms, precision)
        worst = yardstick.worst(self.reference, measured)
        return PrecisionReport(
            task=self.manifest.task,
            engine=self.manifest.name or self.path.stem,
            precision=precision,
            flavour=flavour,
            verdict=verdict,
            reason=f"The bound is {yardstick.description}; {figures_text(checks)}.",
            data=self.data.source,
            images=len(yardstick.frames),
            checks=tuple(checks),
            stages=(*_without_fp32(self.manifest.stages), *stages),
            worst=worst.boxes,
            worst_masks=worst.masks,
            created_by=f"bas-edge {bas_edge.__version__}",
            libraries={name: installed_version(name) or "absent" for name in _LIBRARIES},
        )

    def _say_if_not_smaller(self, size: int, before: int, precision: str) -> None:
        if size > 0.9 * before:
            self.job.note(
                f"The {precision} graph has {size / 1e6:.1f} MB, the float32 one "
                f"{before / 1e6:.1f} MB: it is hardly smaller."
            )

    def _say_if_not_faster(self, latency_ms: float, before_ms: float, precision: str) -> None:
        if latency_ms > _FASTER * before_ms:
            self.job.note(
                f"The {precision} graph takes {latency_ms:.2f} ms a frame, the float32 one "
                f"{before_ms:.2f} ms: it is not faster on this machine."
            )

    def _latency(self, model: bytes) -> float:
        """Median of the network alone, one frame a run, in ms."""
        with opened(model, threads=self.job.threads) as backend:
            frames: Frames = self.data.yardstick.frames
            frame = next(iter(frames.batches(1)))
            times = []
            for _ in range(_WARM_UP + _RUNS):
                start = time.perf_counter()
                backend.run({INPUT_NAME: frame})
                times.append((time.perf_counter() - start) * 1e3)
        return float(statistics.median(times[_WARM_UP:]))

    def _verdict(self, report: PrecisionReport) -> BoundVerdict:
        held = report.verdict != "refused"
        return BoundVerdict(accepted=held, description=self.data.yardstick.description)

    def _accuracy(self, report: PrecisionReport) -> tuple[Accuracy, ...]:
        """Of the float32 graph no figure is true any more; the bound's own accuracies are."""
        metrics = {
            check.metric: float(np.round(check.value, 4))
            for check in report.checks
            if check.metric in self.data.yardstick.accuracies
        }
        if not metrics:
            return ()
        protocol = self.data.yardstick.protocol
        return (
            Accuracy(data=report.data, images=report.images, protocol=protocol, metrics=metrics),
        )


def _refuse_options_of_int8(job: PrecisionJob) -> None:
    given = {"method": job.method != AUTO, "reduce_range": job.reduce_range is not None}
    if names := [name for name, wanted in given.items() if wanted]:
        raise InputError(
            f"{' and '.join(names)} would change nothing in precision fp16, which has no ranges.",
            hint="Leave it out, or build with int8.",
        )


def figures_text(checks: Sequence[BoundCheck]) -> str:
    """What decides a verdict: "MaxBoxAccV2 loses 0.12 (at most 0.50), Top-1 Loc gains …"."""
    figures = []
    for check in checks:
        digits = 3 if check.unit == "IoU" else 2
        loss, limit = _enough_digits(check.loss, digits), _enough_digits(check.limit, digits)
        gains = check.loss < -_HAIR
        said = f"gains {loss} (may lose {limit})" if gains else f"loses {loss} (at most {limit})"
        figures.append(f"{check.metric} {said}")
    return ", ".join(figures)


def _enough_digits(value: float, digits: int) -> str:
    """Without its sign; with more digits where it would look like zero and is not."""
    value = 0.0 if abs(value) < _HAIR else abs(value)
    while value and not float(f"{value:.{digits}f}"):
        digits += 1
    return f"{value:.{digits}f}"


def _without_fp32(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    return tuple(stage for stage in stages if stage.name != "fp32")
