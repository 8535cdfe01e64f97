"""Frame to box with one engine of the Pareto picture, against the eager paper head.

One comparison an engine, made while the benchmark runs: what its worker processes need to know
lies in the work folder, in a file of the comparison's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge.metrics.iou import aligned_iou

from ..harness import Answer, Comparison, Session, WrongAnswerError

__all__ = ["BASELINE", "INPUTS", "PREFIX", "THREADS", "Subject", "comparison_of", "write_subject"]

PREFIX = "pareto-"
BASELINE = "eager paper head"
INPUTS = 8
THREADS = 2
_TWIN = "eager, same weights"
_LEAST_MEAN_IOU = 0.8  # of a mean map, fp16 or int8; what is wrong agrees with nothing


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What one comparison is about; paths are absolute.

    Attributes:
        engine: The engine to time.
        run: The run it was made of; "" where that is not at hand.
        baseline: The run whose eager model it is set against.
        frames: uint8 [INPUTS, H, W, 3] as .npy: the frames of both sides.
    """

    engine: str
    run: str
    baseline: str
    frames: str


def write_subject(work: Path, name: str, subject: Subject) -> None:
    """Leave it where the workers of the comparison `name` look for it."""
    (work / f"{name}.json").write_bytes(msgspec.json.encode(subject))


def comparison_of(name: str, *, twin: bool = True) -> Comparison:
    """The comparison of that name; with `twin`, boxes are first held against the same weights."""
    variants: dict[str, Callable[[Path], Session]] = {
        "ours": lambda work: _ours(_subject(work, name)),
        BASELINE: lambda work: _baseline(_subject(work, name)),
    }
    if twin:
        variants[_TWIN] = lambda work: _twin(_subject(work, name))
    return Comparison(
        name=name,
        summary="frame to box, one engine of the Pareto picture",
        variants=variants,
        agree=_agree,
        inputs=INPUTS,
        threads=THREADS,
        untimed=frozenset({_TWIN}),
    )


def _agree(answers: Mapping[str, NDArray[Any]]) -> str:
    """Boxes [inputs, 4] of the engine against those of its weights in eager float32."""
    if _TWIN not in answers:
        return "not compared: its checkpoint was not at hand"
    ious = aligned_iou(answers["ours"].astype(np.float64), answers[_TWIN].astype(np.float64))
    if not ious.mean() >= _LEAST_MEAN_IOU:
        raise WrongAnswerError(
            f"boxes of {len(ious)} frames agree with those of eager torch with mean IoU "
            f"{ious.mean():.3f}, less than {_LEAST_MEAN_IOU}"
        )
    return (
        f"boxes of {len(ious)} frames agree with eager torch (IoU {ious.mean():.3f} on average, "
        f"{ious.min():.3f} at least)"
    )


def _subject(work: Path, name: str) -> Subject:
    return msgspec.json.decode((work / f"{name}.json").read_bytes(), type=Subject)


def _ours(subject: Subject) -> Session:
    from bas_edge import Localizer

    # An uncertain class would leave the map unused, on this side only.
    localizer = Localizer(subject.engine, threads=THREADS, min_score=0.0)
    frames = np.load(subject.frames)

    def call(index: int) -> Answer:
        found = localizer.run(frames[index], color="rgb")
        timing = found.timing
        stages = {"pre": timing.pre_ms, "infer": timing.infer_ms, "post": timing.post_ms}
        return Answer(found.box, stages)

    return call


def _baseline(subject: Subject) -> Session:
    """The published way with a trained model, at the size that it was trained at."""
    from bas_edge_training.checkpoint import load_checkpoint

    info = load_checkpoint(subject.baseline).info
    return _eager(subject, subject.baseline, info.model.input_size, info.threshold)


def _twin(subject: Subject) -> Session:
    """What the engine was made of, at the engine's size and cut."""
    from bas_edge import open_engine

    manifest = open_engine(subject.engine).manifest
    return _eager(subject, subject.run, manifest.input.height, manifest.threshold)


def _eager(subject: Subject, run: str, size: int, threshold: Any) -> Session:
    from bas_edge.engine.manifest import ThresholdPolicy
    from bas_edge_training.checkpoint import load_checkpoint
    from bas_edge_training.threshold import DEFAULT_TOP_K

    from ..eager import EagerLocalizer

    checkpoint = load_checkpoint(run)
    localizer = EagerLocalizer(
        checkpoint.model,
        size=size,
        top_k=min(len(checkpoint.info.classes), DEFAULT_TOP_K),
        threshold=threshold or ThresholdPolicy(rule="fixed", value=0.3),
        threads=THREADS,
    )
    frames = np.load(subject.frames)

    def call(index: int) -> Answer:
        result = localizer.run(frames[index])
        return Answer(result.box, result.stages_ms)

    return call
