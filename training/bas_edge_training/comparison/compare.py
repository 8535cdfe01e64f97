"""`compare()`: one set of images, several ways to find what is on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bas_edge.annotations import Annotation, Annotations, read_annotations
from bas_edge.engine.bundle import open_engine
from bas_edge.engine.manifest import InputPolicy, ThresholdPolicy
from bas_edge.errors import InputError
from bas_edge.evaluation import localization_report, set_name, stable_keys
from bas_edge.evaluation_pixels import pixel_report
from bas_edge.metrics.ground_truth import GroundTruth
from bas_edge.metrics.localization import class_accuracy, label_rank
from bas_edge.metrics.protocols import ProtocolName, open_protocol
from bas_edge_training.checkpoint import Checkpoint, load_checkpoint
from bas_edge_training.machine import resolve_device
from bas_edge_training.methods import BAS, Method, find_method
from bas_edge_training.samples import Samples, real_samples
from bas_edge_training.threshold import (
    DEFAULT_THRESHOLD,
    THRESHOLD_IMAGES,
    averaged_maps,
    policy_of,
    recipe_localization,
)

from .agreement import agreements
from .entrants import (
    Entrant,
    OfClass,
    engine_entrant,
    method_foregrounds,
    method_predictions,
)
from .pictures import compared_images
from .report import Comparison, MethodReport

__all__ = ["DEFAULT_METHODS", "compare"]

DEFAULT_METHODS = ("bas", "cam", "layercam", "eigencam")
_ENGINES = (".engine", ".onnx")
_COSTLY_IMAGES = 8  # for the threshold of a method that needs hundreds of passes for each


def compare(
    data: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    split: str | None = None,
    methods: Sequence[str] = DEFAULT_METHODS,
    protocol: str = "bas",
    of_class: OfClass = "label",
    images: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    pictures: int = 8,
    device: str = "auto",
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Measure methods on the same images, and keep some of their maps for a picture.

    With boxes or masks, each method is measured at the threshold that is best on these very
    images, as papers report it, and at the label-free one that it would ship with. Without, only
    how much the methods agree is known.

    Args:
        data: A CSV, a folder with one subfolder a class, or a published set, as
            `read_annotations` takes.
        checkpoint: A run folder or its checkpoint.safetensors; not needed for engines alone.
        split: Which part of a set that has several. Default: that for evaluation.
        methods: Names of methods (docs/methods.md), and paths of engines.
        protocol: "bas" or "wsoleval" (needs OpenCV); docs/evaluation.md.
        of_class: Whose map a method for one class shows. "label": the image's own, as papers
            measure GT-known. "best": the best class, as an engine does.
        images: Unboxed images for the label-free thresholds: folder, glob or CSV. Default: those
            that the checkpoint was trained on, where they still are; else those of `data`. Where
            they are given, BAS's threshold is measured on them too.
        limit: At most so many images, evenly spread.
        pictures: How many images the sheet shows, evenly spread.
        device: For torch: "auto", "cpu", "cuda".
        threads: For engines; None leaves it to the backend.
        progress: Called after each image of each pass with the number done and that of all.

    Raises:
        InputError: The data, a method or an option cannot be used, or no image can be read.
        EngineError: An engine cannot be opened.
        MissingExtraError: "wsoleval" without OpenCV.
    """
    known, engines = _split(methods, checkpoint)
    loaded = None if checkpoint is None else load_checkpoint(Path(checkpoint))
    classes = open_engine(engines[0]).manifest.classes if loaded is None else loaded.info.classes
    annotations = _limited(read_annotations(data, classes=classes, split=split), limit)
    items = annotations.items
    judged_by = open_protocol(protocol, (1, 1)).name  # refused before any pass
    done, total = 0, len(items) * (bool(known) + len(engines))

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    entrants: dict[str, Entrant] = {}
    source = ""
    if loaded is not None and known:
        loaded.model.to(resolve_device(device))
        options = recipe_localization(loaded.info)
        averaged = {each: averaged_maps(options, len(classes), each) for each in known}
        thresholds, source = _thresholds(loaded, averaged, images, items)
        entrants = _method_entrants(loaded, averaged, thresholds, items, of_class, advance)
    names = [engine.name for engine in engines]
    for engine in engines:
        title = engine.name if names.count(engine.name) == 1 else str(engine)
        entrants[str(engine)] = engine_entrant(
            engine, items, classes, title=title, threads=threads, advance=advance
        )
    everyone = [entrants[str(name)] for name in methods]
    kept = everyone[0].found.kept
    if any(not np.array_equal(each.found.kept, kept) for each in everyone):
        raise InputError(f"Images of {os.fspath(data)} changed while they were compared.")
    used = [items[index] for index in kept]
    keys = stable_keys(used, annotations.root)
    return Comparison(
        checkpoint="" if checkpoint is None else os.fspath(checkpoint),
        data=os.fspath(data),
        protocol=judged_by,
        of_class=of_class,
        threshold_images=source,
        images=len(used),
        skipped=everyone[0].found.skipped,
        methods=tuple(_report(each, used, keys, judged_by, annotations) for each in everyone),
        agreement=agreements(everyone),
        pictures=compared_images(everyone, used, pictures),
    )


def _split(
    methods: Sequence[str], checkpoint: str | os.PathLike[str] | None
) -> tuple[list[Method], list[Path]]:
    """Methods and engines; whatever cannot work is refused before anything is read."""
    if isinstance(methods, str):  # which is a sequence too, of letters
        raise InputError(
            f"methods is the text '{methods}', but must be a list of names.",
            hint=f"For example: methods={methods.split(',')}",
        )
    if not methods:
        raise InputError("There is no method to compare.", hint="For example: bas,cam,eigencam")
    twice = [name for at, name in enumerate(methods) if name in methods[:at]]
    if twice:
        raise InputError(f"The method '{twice[0]}' is asked for twice.", hint="Name each once.")
    engines = [Path(name) for name in methods if name.endswith(_ENGINES)]
    known = [find_method(name) for name in methods if not name.endswith(_ENGINES)]
    if known and checkpoint is None:
        raise InputError(
            f"The method '{known[0].name}' needs a checkpoint.",
            hint="Add --checkpoint RUN; engines alone need none.",
        )
    return known, engines


def _limited(annotations: Annotations, limit: int | None) -> Annotations:
    """At most `limit` of the images, evenly spread."""
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}, but must be at least 1.")
    items = annotations.items
    if limit is None or limit >= len(items):
        return annotations
    chosen = np.linspace(0, len(items) - 1, limit).round().astype(int)
    return replace(annotations, items=tuple(items[at] for at in chosen))


def _samples(
    loaded: Checkpoint, images: str | os.PathLike[str] | None, items: Sequence[Annotation]
) -> Samples:
    """Images for the thresholds; never their boxes."""
    side, count = loaded.model.config.input_size, THRESHOLD_IMAGES
    recorded = loaded.info.data.source
    if images is not None:
        return real_samples(os.fspath(images), side=side, count=count)
    if recorded and Path(recorded).exists():
        return real_samples(recorded, side=side, count=count)
    found = real_samples([item.path for item in items], side=side, count=count)
    return Samples(found.frames, f"{len(found.frames)} of the compared images, unboxed", real=True)


def _thresholds(
    loaded: Checkpoint,
    methods: Mapping[Method, int],
    images: str | os.PathLike[str] | None,
    items: Sequence[Annotation],
) -> tuple[dict[str, ThresholdPolicy], str]:
    """Label-free, by method, and what they were measured on.

    BAS's own is in the checkpoint. Where `images` are given it is measured anew, unless the
    recipe set it, as by export.
    """
    set_by_recipe = recipe_localization(loaded.info).threshold
    own = loaded.info.threshold if images is None or set_by_recipe else None
    thresholds = {} if own is None else {BAS.name: own}
    unknown = {each: count for each, count in methods.items() if each.name not in thresholds}
    if not unknown:
        return thresholds, ""
    samples = _samples(loaded, images, items)
    for many in (False, True):
        chosen = {each: count for each, count in unknown.items() if each.many_passes == many}
        frames = samples.frames[:: -(-len(samples.frames) // _COSTLY_IMAGES) if many else 1]
        if chosen:
            _, maps = method_foregrounds(loaded.model, frames, chosen)
            for each in chosen:
                thresholds[each.name] = policy_of(maps[each.name], each) or DEFAULT_THRESHOLD
    return thresholds, samples.source


def _method_entrants(
    loaded: Checkpoint,
    methods: Mapping[Method, int],
    thresholds: Mapping[str, ThresholdPolicy],
    items: Sequence[Annotation],
    of_class: OfClass,
    advance: Callable[[], None],
) -> dict[str, Entrant]:
    model = loaded.model
    side = model.config.input_size
    policy = InputPolicy(height=side, width=side)
    found = method_predictions(model, methods, items, of_class=of_class, advance=advance)
    return {
        each.name: Entrant(
            name=each.name,
            title=each.title,
            source=each.source,
            policy=policy,
            threshold=thresholds[each.name],
            found=found[each.name],
        )
        for each in methods
    }


def _report(
    entrant: Entrant,
    items: list[Annotation],
    keys: list[str],
    protocol: ProtocolName,
    data: Annotations,
) -> MethodReport:
    found, policy = entrant.found, entrant.policy
    rank = label_rank(found.scores, np.array([item.label for item in items]))
    judge = open_protocol(protocol, (policy.height, policy.width))
    localization = None
    if data.has_boxes:
        sized = zip(items, found.frame_sizes, strict=True)
        boxes = [item.boxes_in(size) for item, size in sized]
        truth = GroundTruth.of(boxes, found.frame_sizes, policy)
        localization = localization_report(
            judge, found.maps, truth, rank, keys, entrant.threshold, set_name(data)
        )
    return MethodReport(
        name=entrant.name,
        title=entrant.title,
        source=entrant.source,
        threshold=entrant.threshold,
        classification=class_accuracy(rank),
        localization=localization,
        pixels=pixel_report(judge, found.maps, found.beside, policy, entrant.threshold)
        if data.has_masks
        else None,
    )
