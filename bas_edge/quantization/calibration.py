"""The statistics that ranges come from: measured on the calibration images, or kept from before."""

from __future__ import annotations

from dataclasses import dataclass

from bas_edge.conditions import installed_version
from bas_edge.engine.onnx_graph import OnnxGraph
from bas_edge.quantization.cache import CalibrationCache
from bas_edge.quantization.cache_key import statistics_key
from bas_edge.quantization.candidates import equalized
from bas_edge.quantization.frames import CalibrationFrames
from bas_edge.quantization.job import PrecisionJob
from bas_edge.quantization.layers import find_layers, observed_tensors
from bas_edge.quantization.report import CalibrationRecord
from bas_edge.quantization.statistics import (
    STATISTICS_VERSION,
    Statistics,
    measure,
    pack,
    unpack,
)
from bas_edge.quantization.trained_ranges import TrainedRanges

__all__ = ["Calibrated", "calibrated"]

_LIBRARIES = ("onnxruntime", "numpy", "pillow")
_DECODES_VIDEO = ("av",)


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A graph and what its tensors hold.

    Attributes:
        graph: The graph to quantize: the given one, with its channels equalized where they were.
        statistics: Of its tensors.
        record: Where they came from; without the method.
    """

    graph: OnnxGraph
    statistics: Statistics
    record: CalibrationRecord


def calibrated(
    source: OnnxGraph,
    name: str,
    frames: CalibrationFrames,
    trained: TrainedRanges | None,
    job: PrecisionJob,
) -> Calibrated:
    """Measure a graph, equalize its channels where that helps, and measure it again.

    Args:
        source: The graph.
        name: What it is called: where nothing can be reused, the reason compares it with earlier
            ones of the same name.
        frames: What it is measured on.
        trained: Its trained ranges; with them the channels stay as they are.
        job: Whom to tell, and the threads.

    Raises:
        EngineError: A value is NaN or infinite on a calibration image.
        BackendError: ONNX Runtime refuses the graph.
    """
    statistics, cache, digest = _statistics(name, source, frames, job, "measuring ranges")
    graph, done = (source, ()) if trained is not None else equalized(source, statistics)
    if done:
        job.note(
            f"Channels of very different ranges were equalized in {len(done)} of "
            f"{len(statistics)} tensors; the widest: '{done[0].name}' of "
            f"'{done[0].producer}', {done[0].spread_before:.0f} times its median."
        )
        statistics, again, digest = _statistics(
            f"{name}, equalized", graph, frames, job, "measuring equalized ranges"
        )
        cache = f"{cache} Equalized: {again}"
    record = CalibrationRecord(
        source=frames.source, images=len(frames), sha256=digest, cache=cache, equalized=done
    )
    return Calibrated(graph, statistics, record)


def _statistics(
    name: str, graph: OnnxGraph, frames: CalibrationFrames, job: PrecisionJob, phase: str
) -> tuple[Statistics, str, str]:
    """Measured, or from the cache; a sentence that says which; and the key."""
    structure, weights = graph.fingerprint()
    from_video = any(item.frame is not None for item in frames.items)
    libraries = (*_LIBRARIES, *(_DECODES_VIDEO if from_video else ()))
    key = statistics_key(
        model=name,
        structure=structure,
        weights=weights,
        frames=frames,
        statistics=STATISTICS_VERSION,
        versions={each: installed_version(each) or "absent" for each in libraries},
    )
    tensors = observed_tensors(find_layers(graph))
    cache = CalibrationCache()
    found = cache.load(key)
    sentence = found.reason
    if found.arrays is not None:
        try:
            kept = unpack(found.arrays)
            if absent := [each for each in tensors if each not in kept]:
                raise ValueError(f"it has nothing of '{absent[0]}'")
            return kept, sentence, key.digest
        except (KeyError, ValueError) as error:
            sentence = f"Not reused: the entry is damaged ({error})."
    measured = measure(
        graph.serialize(),
        tensors,
        frames,
        threads=job.threads,
        progress=job.phase(phase),
    )
    if problem := cache.store(key, pack(measured)):
        job.note(problem)
    return measured, sentence, key.digest
