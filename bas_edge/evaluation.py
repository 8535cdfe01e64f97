"""How often an engine is right on annotated images, and which threshold would serve it best."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge.annotations import Annotation, Annotations, read_annotations
from bas_edge.engine.bundle import open_engine, update_manifest
from bas_edge.engine.manifest import Accuracy, Manifest, Overrides, ThresholdPolicy
from bas_edge.engine.task import require_task
from bas_edge.errors import InputError
from bas_edge.evaluation_pass import ImagePass, Predictions
from bas_edge.evaluation_pixels import Usable, pixel_report
from bas_edge.evaluation_processes import run_passes
from bas_edge.evaluation_report import (
    CutScore,
    Evaluation,
    LocalizationReport,
    RejectionReport,
    TenCropReport,
    WorstImage,
)
from bas_edge.framing import place
from bas_edge.images import image_files
from bas_edge.localizer_options import check_threads
from bas_edge.metrics.bas_protocol import BasProtocol
from bas_edge.metrics.centre_box import centre_box
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.localization import (
    box_accuracy,
    class_accuracy,
    label_rank,
    localization_accuracy,
)
from bas_edge.metrics.max_box_acc import max_box_acc, max_box_acc_v2
from bas_edge.metrics.min_score import choose_min_score, score_rates
from bas_edge.metrics.protocols import BoxIous, BoxProtocol, open_protocol
from bas_edge.metrics.threshold import choose_candidate, split_halves, sweep_candidates
from bas_edge.overlay import heat_on_frame
from bas_edge.processes import check_processes
from bas_edge.ten_crop import TEN_CROPS

__all__ = ["evaluate", "localization_report", "set_name", "stable_keys"]

WORST = 16


def evaluate(
    engine: str | os.PathLike[str],
    annotations: str | os.PathLike[str],
    *,
    split: str | None = None,
    protocol: str = "bas",
    ten_crop: bool = False,
    backend: str = "auto",
    threads: int | None = None,
    processes: int = 1,
    background: str | os.PathLike[str] | None = None,
    update: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure an engine on annotated images.

    Every image goes through the network once; all thresholds are compared on the maps that this
    leaves. Images that cannot be read or contradict their annotation are skipped and named.

    Args:
        engine: A bundle, or a bare `.onnx` with bas-edge metadata.
        annotations: A CSV, a folder with one subfolder a class, or a published set, as
            `read_annotations` takes. Without boxes, classification and `min_score` are measured
            and localization is None.
        split: Which part of a set that has several. Default: that for evaluation.
        protocol: "bas" or "wsoleval" (needs OpenCV); docs/evaluation.md.
        ten_crop: Measure as BAS's own evaluation does, at eleven times the work: classes by the
            mean score of ten crops, boxes on the crop in the centre. Masks, `min_score` and the
            worst images stay those of the whole frame, which is what the runtime sees.
        backend: As for `Localizer`.
        threads: As for `Localizer`; of each process.
        processes: How many share the images, with the figures of one. With ONNX Runtime the
            processors are divided among them, with a TensorRT backend they take the GPUs in turn.
            More than one import the program's main module, whose work must then stand below
            `if __name__ == "__main__"`.
        background: A folder or glob of images without any object; besides those in the
            annotations' own `background/` folder.
        update: Store what was chosen in the bundle: the threshold of one half of the split with
            its accuracy on the other half, and `min_score`.
        progress: Called for each image with the number done and the number of all.

    Raises:
        InputError: The engine is for segmentation, the annotations or an option cannot be used,
            or no image can be read.
        EngineError: The engine cannot be opened.
        MissingExtraError: "wsoleval" without OpenCV.
        BasEdgeError: One of several processes was ended.
    """
    check_processes(processes)
    check_threads(threads)
    opened = open_engine(engine)
    require_task(opened.path, opened.manifest, "localization")
    if update:
        _check_update(opened.is_bundle, protocol, ten_crop, engine)
    manifest = opened.manifest
    size = (manifest.input.height, manifest.input.width)
    judge = open_protocol(protocol, size)
    data = read_annotations(annotations, classes=manifest.classes, split=split)
    empty = [*data.background, *(image_files(background) if background is not None else [])]

    done, total = 0, len(data.items) + len(empty)

    def advance(images: int) -> None:
        nonlocal done
        for _ in range(images):
            done += 1
            if progress is not None:
                progress(done, total)

    passes = [
        ImagePass(
            tuple(item.path for item in data.items), Usable(data.items, manifest.input), ten_crop
        ),
        *([ImagePass(tuple(empty))] if empty else []),
    ]
    backend_name, predictions = run_passes(
        engine, passes, backend=backend, threads=threads, processes=processes, advance=advance
    )
    found, without = predictions[0], predictions[1] if empty else None

    items = [data.items[index] for index in found.kept]
    labels = np.array([item.label for item in items])
    one_view = rank = label_rank(found.scores, labels)
    if found.crop_scores is not None:
        rank = label_rank(found.crop_scores, labels)
    localization: LocalizationReport | None = None
    worst: tuple[WorstImage, ...] = ()
    if data.has_boxes:
        boxes = [item.boxes_in(size) for item, size in zip(items, found.frame_sizes, strict=True)]
        truth = GroundTruth.of(boxes, found.frame_sizes, manifest.input)
        keys = stable_keys(items, data.root)
        maps, seen = found.maps, truth
        if found.centre_maps is not None:
            maps = found.centre_maps
            seen = truth.seen_in_centres(found.frame_sizes, manifest.input)
        localization = localization_report(
            judge, maps, seen, rank, keys, manifest.threshold, set_name(data)
        )
        worst = _worst(found, items, truth, manifest, size)
    evaluation = Evaluation(
        engine=os.fspath(engine),
        backend=backend_name,
        data=os.fspath(annotations),
        split=data.split,
        protocol=judge.name,
        images=len(items),
        skipped=found.skipped + (without.skipped if without is not None else ()),
        classification=class_accuracy(rank),
        localization=localization,
        rejection=_rejection(found, without, manifest.min_score),
        worst=worst,
        ten_crop=TenCropReport(passes=1 + TEN_CROPS, one_view=class_accuracy(one_view))
        if ten_crop
        else None,
        pixels=pixel_report(judge, found.maps, found.beside, manifest.input, manifest.threshold)
        if data.has_masks
        else None,
        notes=data.notes,
    )
    return _updated(evaluation, manifest, set_name(data)) if update else evaluation


def _check_update(
    is_bundle: bool, protocol: str, ten_crop: bool, engine: str | os.PathLike[str]
) -> None:
    """Refuse what could only fail after the whole evaluation has run."""
    if not is_bundle:
        raise InputError(
            f"{os.fspath(engine)} is a bare ONNX file; a chosen threshold has nowhere to go.",
            hint="Build a bundle first: bas-edge build-engine model.onnx -o NAME.engine",
        )
    if protocol != "bas":
        raise InputError(
            f"A threshold chosen by protocol '{protocol}' does not suit the runtime's boxes.",
            hint="Store thresholds with protocol 'bas', which measures the boxes that run returns.",
        )
    if ten_crop:
        raise InputError(
            "Classes and boxes of ten crops are not those of the runtime.",
            hint="Leave ten crops out where the result is stored.",
        )


def set_name(data: Annotations) -> str:
    """What a set is called in reports, with its split."""
    return f"{data.name}/{data.split}" if data.split else data.name


def stable_keys(items: list[Annotation], root: Path) -> list[str]:
    """A text per image that is the same wherever the data set lies."""
    return [
        item.path.relative_to(root).as_posix()
        if item.path.is_relative_to(root)
        else item.path.as_posix()
        for item in items
    ]


def localization_report(
    judge: BoxProtocol,
    maps: NDArray[np.float32],
    truth: GroundTruth,
    rank: NDArray[np.int64],
    keys: list[str],
    stored: ThresholdPolicy,
    data: str,
) -> LocalizationReport:
    """All that maps and their boxes tell, at three thresholds; see `LocalizationReport`.

    Args:
        judge: The protocol.
        maps: [N, h, w] float32 foreground.
        truth: The boxes of the same N images.
        rank: [N] of each image's label among the class scores.
        keys: A text per image, from `stable_keys`, which decides its half of the split.
        stored: The threshold that was chosen beforehand.
        data: What the images are called.
    """
    candidates, ious = sweep_candidates(judge, maps, truth)  # [K, N]
    grid = judge.thresholds
    fixed = BoxIous(ious.largest[: len(grid)], ious.best[: len(grid)])
    everything = np.ones(len(maps), np.bool_)

    def score(policy: ThresholdPolicy, at: BoxIous, images: NDArray[np.bool_]) -> CutScore:
        accuracy = localization_accuracy(at[images], rank[images], judge)
        oracle = max_box_acc(fixed[images], grid, judge).accuracy
        return CutScore(
            threshold=policy,
            images=int(images.sum()),
            localization=accuracy,
            box=box_accuracy(at.best[images], judge),
            oracle=oracle,
            gap=oracle - accuracy.gt_known,
        )

    best = max_box_acc(fixed, grid, judge)
    at_best = int(np.flatnonzero(best.threshold == grid)[0])
    oracle = ThresholdPolicy(rule="fixed", value=best.threshold, chosen_by=f"oracle on {data}")

    chosen = None
    half = split_halves(keys)
    if half.any():
        at = choose_candidate(ious.largest[:, half], judge)
        policy = ThresholdPolicy(
            rule=candidates[at].rule,
            value=candidates[at].value,
            chosen_by=f"one half of {data} ({int(half.sum())} images), protocol {judge.name}",
        )
        chosen = score(policy, BoxIous(ious.largest[at], ious.best[at]), ~half)
    return LocalizationReport(
        stored=score(stored, judge.ious(maps, truth, stored.value, stored.rule), everything),
        chosen=chosen,
        oracle=score(oracle, BoxIous(fixed.largest[at_best], fixed.best[at_best]), everything),
        max_box_acc=best,
        max_box_acc_v2=max_box_acc_v2(fixed, grid, judge),
        centre_box=centre_box(truth),
    )


def _rejection(found: Predictions, without: Predictions | None, stored: float) -> RejectionReport:
    background = None if without is None else without.best_scores
    return RejectionReport(
        stored=score_rates(stored, found.best_scores, background),
        chosen=choose_min_score(found.best_scores, background),
        background_images=0 if background is None else len(background),
    )


def _worst(
    found: Predictions,
    items: list[Annotation],
    truth: GroundTruth,
    manifest: Manifest,
    size: tuple[int, int],
) -> tuple[WorstImage, ...]:
    """The images whose shipped box fits worst, by protocol "bas" whatever else is measured."""
    policy, runtime = manifest.threshold, BasProtocol(size)
    boxes = runtime.boxes(found.maps, truth, policy.value, policy.rule)
    ious = runtime.ious(found.maps, truth, policy.value, policy.rule).largest
    worst = []
    for n in np.argsort(ious, kind="stable")[:WORST]:
        label = int(found.scores[n].argmax())
        worst.append(
            WorstImage(
                path=str(items[n].path),
                iou=float(ious[n]),
                box=_corners(boxes[n]),
                truth=tuple(_corners(box) for box in items[n].boxes_in(found.frame_sizes[n])),
                class_name=items[n].class_name,
                predicted=manifest.classes[label],
                score=float(found.scores[n, label]),
                heat=heat_on_frame(
                    found.maps[n], place(found.frame_sizes[n], manifest.input)
                ).tobytes(),
                heat_size=(found.maps.shape[1], found.maps.shape[2]),
            )
        )
    return tuple(worst)


def _corners(box: NDArray[np.float64]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box.tolist()
    return (x0, y0, x1, y1)


def _updated(evaluation: Evaluation, manifest: Manifest, data: str) -> Evaluation:
    """Store what was chosen, and how good it is on images it was not chosen on."""
    classes, report = evaluation.classification, evaluation.localization
    metrics = {"top1_cls": classes.top1, "top5_cls": classes.top5}
    threshold, images = manifest.threshold, evaluation.images
    if report is not None and report.chosen is not None:
        chosen = report.chosen
        threshold, images = chosen.threshold, chosen.images
        metrics |= msgspec.structs.asdict(chosen.localization)
        metrics |= {f"box_acc_{level}": value for level, value in chosen.box.by_iou.items()}
        metrics |= {"box_acc_mean": chosen.box.mean, "oracle_gt_known": chosen.oracle}
    elif evaluation.pixels is not None:  # of all images, as the classes are
        metrics |= {"px_ap": evaluation.pixels.px_ap, "pixel_iou": evaluation.pixels.stored_iou}
    if evaluation.rejection.chosen.false_positive_rate is not None:
        metrics["false_positive_rate"] = evaluation.rejection.chosen.false_positive_rate
    accuracy = Accuracy(
        data=data,
        images=images,
        protocol=evaluation.protocol,
        metrics=metrics,
    )
    kept = tuple(
        one
        for one in manifest.accuracy
        if (one.data, one.protocol) != (accuracy.data, accuracy.protocol)
    )
    update_manifest(
        evaluation.engine,
        threshold=threshold,
        min_score=evaluation.rejection.chosen.value,
        accuracy=(*kept, accuracy),
        overrides=Overrides(),  # what was set by eye was set over other values
    )
    return msgspec.structs.replace(evaluation, updated=True)
