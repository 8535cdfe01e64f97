"""The images of a job: those that ranges are measured on, and those that the bound is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bas_edge.annotations import (
    BACKGROUND_FOLDER,
    Annotation,
    Annotations,
    read_annotations,
)
from bas_edge.csv_rows import read_csv_rows
from bas_edge.datasets import find_format
from bas_edge.engine.manifest import Manifest
from bas_edge.errors import InputError
from bas_edge.images import image_files
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.quantization.box_yardstick import BoxYardstick
from bas_edge.quantization.frame_source import find_frames
from bas_edge.quantization.frame_store import StoredImages, store_images
from bas_edge.quantization.frames import CalibrationFrames, calibration_frames
from bas_edge.quantization.job import PrecisionJob, Source
from bas_edge.quantization.mask_data import MaskImages, mask_images
from bas_edge.quantization.mask_yardstick import MaskYardstick
from bas_edge.quantization.overlap import check_overlap
from bas_edge.quantization.statistics import Frames
from bas_edge.quantization.yardstick import AnyYardstick

__all__ = ["LEAST_MEASURED", "Data", "prepared"]

LEAST_MEASURED = 20  # images of the bound; one alone is 5 % of them
_ANNOTATED = {"label", "x0", "y0", "x1", "y1"}  # columns; some without the others are an error
_HELD_OUT = 5  # without images to measure on, every fifth calibration image is kept apart for it
_MOST_SKIPPED = 10  # percent of the images to measure on


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """The images of one job.

    Attributes:
        calibration: For the ranges.
        yardstick: For the bound.
        source: What the bound is measured on, in words.
    """

    calibration: CalibrationFrames
    yardstick: AnyYardstick
    source: str


@contextmanager
def prepared(job: PrecisionJob, manifest: Manifest) -> Iterator[Data]:
    """Read and check every image of a job; they are at hand until the block ends.

    Raises:
        InputError: Too few images to measure on, or too many of them unreadable; see also
            `calibration_frames`, `check_overlap` and `read_annotations`.
        MissingExtraError: A video, without PyAV.
    """
    annotations: Annotations | None = None
    masks: MaskImages | None = None
    if manifest.task == "segmentation":
        _refuse_background(job)
        masks = None if job.evaluation is None else mask_images(job, manifest)
        _refuse_void(job, "masks", known=masks is not None and masks.masks is not None)
    else:
        _refuse_split(job)
        annotations = None if job.evaluation is None else _annotations(job.evaluation, manifest)
        _refuse_void(job, "boxes", known=annotations is not None and annotations.has_boxes)
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
        empty: Frames | None = None
        if background:
            check_overlap(frames, background, kind="background")
            stored = store_images(background, manifest.input)
            empty = stack.enter_context(stored.frames)
            _check_skipped(job, stored, "background")
        if masks is not None:
            data = _with_masks(job, manifest, frames, masks, stack)
        elif annotations is not None:
            data = _annotated(job, manifest, frames, annotations, empty, stack)
        else:
            data = _kept_apart(job, manifest, frames, empty)
        _check_count(job, len(data.yardstick.frames))
        yield data


def _annotated(
    job: PrecisionJob,
    manifest: Manifest,
    frames: CalibrationFrames,
    annotations: Annotations,
    background: Frames | None,
    stack: ExitStack,
) -> Data:
    """Measured on images that were named for the bound, with boxes if they have any."""
    check_overlap(frames, [item.path for item in annotations.items])
    stored = store_images(
        [item.path for item in annotations.items],
        manifest.input,
        unusable=lambda index, shape: annotations.items[index].contradiction(shape),
        progress=job.phase("reading images for the bound"),
    )
    stack.enter_context(stored.frames)
    _check_skipped(job, stored, "evaluation")
    items = [annotations.items[index] for index in stored.kept]
    sizes = tuple(stored.frames.frame_sizes)
    truth = labels = None
    if annotations.has_boxes:
        boxes = [item.boxes_in(size) for item, size in zip(items, sizes, strict=True)]
        truth = GroundTruth.of(boxes, sizes, manifest.input)
        labels = np.array([item.label for item in items], np.int64)
    yardstick = BoxYardstick(
        manifest=manifest,
        frames=stored.frames,
        frame_sizes=sizes,
        names=[str(item.path) for item in items],
        bound=job.bound,
        truth=truth,
        labels=labels,
        background=background,
        threads=job.threads,
    )
    return Data(frames, yardstick, str(job.evaluation))


def _with_masks(
    job: PrecisionJob,
    manifest: Manifest,
    frames: CalibrationFrames,
    images: MaskImages,
    stack: ExitStack,
) -> Data:
    """Measured on images that were named for a segmenter's bound, with masks if they have any."""
    check_overlap(frames, images.paths)
    stored = store_images(
        images.paths,
        manifest.input,
        unusable=images.contradiction,
        progress=job.phase("reading images for the bound"),
    )
    stack.enter_context(stored.frames)
    _check_skipped(job, stored, "evaluation")
    yardstick = MaskYardstick(
        manifest=manifest,
        frames=stored.frames,
        frame_sizes=tuple(stored.frames.frame_sizes),
        names=[str(images.paths[index]) for index in stored.kept],
        bound=job.bound,
        truth=images.some(stored.kept.tolist()),
        threads=job.threads,
    )
    return Data(frames, yardstick, images.source)


def _kept_apart(
    job: PrecisionJob, manifest: Manifest, frames: CalibrationFrames, background: Frames | None
) -> Data:
    """A fifth of the calibration images, which the ranges then do not see.

    Every fifth, or of a video the last fifth: its neighbouring frames are hardly different.
    """
    count = len(frames) // _HELD_OUT
    video = any(item.frame is not None for item in frames.items)
    apart = (
        range(len(frames) - count, len(frames))
        if video
        else range(_HELD_OUT - 1, len(frames), _HELD_OUT)
    )
    rest = frames.part([n for n in range(len(frames)) if n not in apart])
    source = f"a fifth of {frames.source}, kept apart"
    if manifest.task == "segmentation":
        chosen = frames.part(apart)
        masks = MaskYardstick(
            manifest=manifest,
            frames=chosen,
            frame_sizes=tuple(chosen.frame_sizes),
            names=[str(item) for item in chosen.items],
            bound=job.bound,
            threads=job.threads,
            from_video=video,
        )
        return Data(rest, masks, source)
    empty = [n for n in apart if _is_background(frames.items[n].path, job.calibration)]
    chosen = frames.part([n for n in apart if n not in empty])
    if background is None and empty:
        background = frames.part(empty)
    yardstick = BoxYardstick(
        manifest=manifest,
        frames=chosen,
        frame_sizes=tuple(chosen.frame_sizes),
        names=[str(item) for item in chosen.items],
        bound=job.bound,
        background=background,
        threads=job.threads,
        from_video=video,
    )
    return Data(rest, yardstick, source)


def _annotations(source: Source, manifest: Manifest) -> Annotations:
    """Labelled images where the source says labels or boxes, else bare ones."""
    path = Path(source)
    columns: list[str] = []
    if path.is_file() and path.suffix.lower() == ".csv":
        next(read_csv_rows(path, lambda _path, header: columns.extend(header)))
    labelled = bool(_ANNOTATED.intersection(columns)) or (
        path.is_dir()
        and (
            find_format(path) is not None
            or any(one.is_dir() and one.name in manifest.classes for one in path.iterdir())
        )
    )
    if labelled:
        return read_annotations(path, classes=manifest.classes)
    found = find_frames(source)
    if found.video:
        raise InputError(
            f"{source} is no folder, image or CSV, which the bound is measured on.",
            hint="Leave --eval out: a part of the calibration frames is kept apart for it.",
        )
    empty = [image for image in found.images if _is_background(image, source)]
    bare = [image for image in found.images if image not in set(empty)]
    return Annotations(
        tuple(Annotation(image, 0, "") for image in bare), manifest.classes, tuple(empty)
    )


def _is_background(image: Path, source: Source) -> bool:
    """Whether an image lies in the folder `background` of a source that is a folder."""
    root = Path(source)
    return image.is_relative_to(root) and image.relative_to(root).parts[:1] == (BACKGROUND_FOLDER,)


def _check_count(job: PrecisionJob, count: int) -> None:
    if count >= LEAST_MEASURED:
        return
    said = f"The bound would be measured on {count} images"
    if not job.force:
        raise InputError(
            f"{said}; at least {LEAST_MEASURED} are needed.",
            hint="Name more, --eval IMAGES, or add --force.",
        )
    if count == 0:
        raise InputError(f"{said}.", hint="Name images to measure on: --eval IMAGES")
    job.note(f"{said}, fewer than {LEAST_MEASURED}: it says little.")


def _check_skipped(job: PrecisionJob, stored: StoredImages, kind: str) -> None:
    skipped, every = len(stored.skipped), len(stored.skipped) + len(stored.kept)
    if not skipped:
        return
    first = stored.skipped[0]
    said = f"{skipped} of {every} {kind} images cannot be used; the first: {first.path}:"
    if 100 * skipped > _MOST_SKIPPED * every:
        raise InputError(f"{said} {first.reason}", hint="Remove those files, or fetch them again.")
    job.note(f"{said} {first.reason}")


def _refuse_void(job: PrecisionJob, truth: str, *, known: bool) -> None:
    """Refuse the part of the bound that images whose `truth` is known, or not, make void."""
    if known and "min_agreement" in job.must_apply:
        raise InputError(
            f"--min-agreement is for images without {truth}; those of {job.evaluation} have them.",
            hint="Bound the loss of accuracy: --max-drop POINTS",
        )
    if not known and "max_drop" in job.must_apply:
        named = "--eval val.csv" if truth == "boxes" else "--eval VOC2012"
        raise InputError(
            f"--max-drop is for images with {truth}; those that the bound is measured on have "
            "none.",
            hint=f"Name images with {truth}, {named}, or bound the agreement with float32: "
            "--min-agreement SHARE",
        )


def _refuse_background(job: PrecisionJob) -> None:
    if job.background is not None:
        raise InputError(
            "--background is about min_score, which an engine for segmentation has not.",
            hint="Leave it out: images without any object may be among those of --eval.",
        )


def _refuse_split(job: PrecisionJob) -> None:
    if job.evaluation_split is not None:
        raise InputError(
            "--eval-split is about masks, and this is an engine for localization.",
            hint="Leave it out.",
        )
