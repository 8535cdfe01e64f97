"""What a build with reduced precision is asked for, and the images that it is measured on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bas_edge.annotations import Annotation, Annotations, read_annotations
from bas_edge.csv_rows import read_csv_rows
from bas_edge.engine.manifest import Manifest
from bas_edge.errors import InputError
from bas_edge.images import image_files
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.quantization.candidates import TRAINED
from bas_edge.quantization.frame_source import find_frames
from bas_edge.quantization.frame_store import store_images
from bas_edge.quantization.frames import CalibrationFrames, calibration_frames
from bas_edge.quantization.overlap import check_overlap
from bas_edge.quantization.ranges import METHODS
from bas_edge.quantization.yardstick import Bound, Yardstick

__all__ = ["AUTO", "Data", "PrecisionJob", "prepared"]

AUTO = "auto"
_ANNOTATED = {"label", "x0", "y0", "x1", "y1"}  # columns; some without the others are an error
_HELD_OUT = 5  # without images to measure on, every fifth calibration image is kept apart for it
Source = str | os.PathLike[str]


def _silent(*_: object) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True)
class PrecisionJob:
    """How to reduce precision, and how much it may cost.

    Attributes:
        calibration: Images, CSV or video that ranges are measured on; see `calibration_frames`.
        method: Of calibration: one of METHODS, "qat" (the ranges of quantization-aware
            training), or "auto": all of them, the best by the bound.
        limit: Calibration frames at most.
        evaluation: Images that the bound is measured on: a CSV with boxes, or a folder, glob or
            CSV without. None keeps a fifth of the calibration images apart for it.
        background: Images without any object, besides those of `evaluation`.
        bound: How much worse than float32 the engine may be.
        must_apply: Fields of the bound that somebody asked for by name: "max_drop" is refused where
            the images have no boxes, "min_agreement" where they have.
        search_budget_s: Time to look for layers that must return to float; 0 does not look.
        reduce_range: Seven bits for weights; None decides by this CPU.
        force: Take fewer than 100 images, and write what the bound refuses.
        threads: Of ONNX Runtime.
        on_progress: Called with a phase and the share of it that is done, 0 to 1.
        note: Called with a sentence about anything that went another way than asked.
    """

    calibration: Source
    method: str = AUTO
    limit: int | None = 500
    evaluation: Source | None = None
    background: Source | None = None
    bound: Bound = field(default_factory=Bound)
    must_apply: tuple[str, ...] = ()
    search_budget_s: float = 1800.0
    reduce_range: bool | None = None
    force: bool = False
    threads: int | None = None
    on_progress: Callable[[str, float], None] = _silent
    note: Callable[[str], None] = _silent

    def __post_init__(self) -> None:
        known = (AUTO, *METHODS, TRAINED)
        if self.method not in known:
            raise InputError(
                f"Unknown calibration method '{self.method}'.", hint=f"Known: {', '.join(known)}"
            )
        if not self.search_budget_s >= 0:
            raise InputError(
                f"The search budget is {self.search_budget_s} s, but must be at least 0."
            )

    def phase(self, name: str) -> Callable[[int, int], None]:
        """A progress callback (done, total) that reports as `name`."""

        def report(done: int, total: int) -> None:
            self.on_progress(name, done / max(total, 1))

        report(0, 1)
        return report


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """The images of one job.

    Attributes:
        calibration: For the ranges.
        yardstick: For the bound.
        source: What the bound is measured on, in words.
        held_out: Whether it is a part of the calibration images.
    """

    calibration: CalibrationFrames
    yardstick: Yardstick
    source: str
    held_out: bool


@contextmanager
def prepared(job: PrecisionJob, manifest: Manifest) -> Iterator[Data]:
    """Read and check every image of a job; they are at hand until the block ends.

    Raises:
        InputError, MissingExtraError: See `calibration_frames`, `check_overlap`,
            `read_annotations` and `PrecisionJob.must_apply`.
    """
    annotations = _annotations(job.evaluation, manifest) if job.evaluation is not None else None
    _refuse_void(job, boxes=annotations is not None and annotations.has_boxes)
    background = [] if job.background is None else image_files(job.background)
    if annotations is not None:
        background = [*annotations.background, *background]
    with ExitStack() as stack:
        frames = stack.enter_context(
            calibration_frames(
                job.calibration,
                manifest.input,
                limit=job.limit,
                force=job.force,
                progress=job.phase("reading calibration images"),
            )
        )
        for note in frames.notes:
            job.note(note)
        empty = None
        if background:
            check_overlap(frames, background)
            stored = store_images(background, manifest.input)
            empty = stack.enter_context(stored.frames)
            _name_skipped(job, [one.path for one in stored.skipped], "background")
        if annotations is None:
            kept_apart = range(_HELD_OUT - 1, len(frames), _HELD_OUT)
            if not kept_apart:
                raise InputError(
                    f"{len(frames)} calibration images are too few to keep any apart for the "
                    "bound.",
                    hint="Name images to measure on: --eval IMAGES",
                )
            apart = frames.part(kept_apart)
            rest = frames.part([n for n in range(len(frames)) if n not in kept_apart])
            yardstick = Yardstick(
                manifest=manifest,
                frames=apart,
                frame_sizes=tuple(apart.frame_sizes),
                names=[str(item) for item in apart.items],
                bound=job.bound,
                background=empty,
                threads=job.threads,
            )
            source = f"{len(apart)} images of {frames.source}, kept apart"
            yield Data(rest, yardstick, source, held_out=True)
            return
        paths = [item.path for item in annotations.items]
        check_overlap(frames, paths)
        stored = store_images(
            paths,
            manifest.input,
            unusable=lambda index, shape: annotations.items[index].contradiction(shape),
            progress=job.phase("reading images for the bound"),
        )
        store = stack.enter_context(stored.frames)
        _name_skipped(job, [one.path for one in stored.skipped], "evaluation")
        items = [annotations.items[index] for index in stored.kept]
        sizes = tuple(store.frame_sizes)
        truth = labels = None
        if annotations.has_boxes:
            boxes = [item.boxes for item in items if item.boxes is not None]
            truth = GroundTruth.of(boxes, sizes, manifest.input)
            labels = np.array([item.label for item in items], np.int64)
        yardstick = Yardstick(
            manifest=manifest,
            frames=store,
            frame_sizes=sizes,
            names=[str(item.path) for item in items],
            bound=job.bound,
            truth=truth,
            labels=labels,
            background=empty,
            threads=job.threads,
        )
        yield Data(frames, yardstick, f"{len(items)} images of {job.evaluation}", held_out=False)


def _annotations(source: Source, manifest: Manifest) -> Annotations:
    """Labelled images where the source says labels or boxes, else bare ones."""
    path = Path(source)
    columns: list[str] = []
    if path.is_file() and path.suffix.lower() == ".csv":
        next(read_csv_rows(path, lambda _path, header: columns.extend(header)))
    labelled = bool(_ANNOTATED.intersection(columns)) or (
        path.is_dir()
        and any(one.is_dir() and one.name in manifest.classes for one in path.iterdir())
    )
    if labelled:
        return read_annotations(path, classes=manifest.classes)
    found = find_frames(source)
    if found.video:
        raise InputError(
            f"{source} is a video; the bound is measured on images.",
            hint="Leave --eval out: a part of the calibration frames is kept apart for it.",
        )
    return Annotations(tuple(Annotation(p, 0, "") for p in found.images), manifest.classes)


def _refuse_void(job: PrecisionJob, *, boxes: bool) -> None:
    """Refuse the part of the bound that these images make void."""
    if boxes and "min_agreement" in job.must_apply:
        raise InputError(
            f"--min-agreement is for images without boxes; those of {job.evaluation} have them.",
            hint="Bound the loss of accuracy: --max-drop POINTS",
        )
    if not boxes and "max_drop" in job.must_apply:
        raise InputError(
            "--max-drop is for images with boxes; those that the bound is measured on have none.",
            hint="Name images with boxes, --eval val.csv, or bound the agreement with float32: "
            "--min-agreement SHARE",
        )


def _name_skipped(job: PrecisionJob, paths: Sequence[str], kind: str) -> None:
    if paths:
        job.note(f"{len(paths)} {kind} images were skipped; the first: {paths[0]}.")
