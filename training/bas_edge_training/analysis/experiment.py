"""`analyse()`: a checkpoint and annotated images become the curves of the BAS paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from bas_edge.annotations import Annotation, read_annotations
from bas_edge.decoding import decoded_ahead, none_usable
from bas_edge.errors import InputError
from bas_edge_training.analysis.curves import Curve, average
from bas_edge_training.analysis.growth import GrowingMask
from bas_edge_training.analysis.output import check_output, write_output
from bas_edge_training.analysis.report import Analysis, LeftOut
from bas_edge_training.analysis.responses import Responses, masked_responses
from bas_edge_training.analysis.subjects import Subject, read_subject
from bas_edge_training.atomic import make_folder
from bas_edge_training.checkpoint import load_checkpoint
from bas_edge_training.machine import resolve_device
from bas_edge_training.models import BasModel
from bas_edge_training.trainer import to_network
from bas_edge_training.validation import evaluation_mode

__all__ = ["RATIOS", "analyse"]

RATIOS = (0.0, 0.05, *(tenths / 10 for tenths in range(1, 15)), 1.6, 1.8, 2.0)
_BATCH = 8
_AHEAD = 2 * _BATCH  # decoded images held at most


def analyse(
    checkpoint: str | Path,
    annotations: str | Path,
    output: str | Path | None = None,
    *,
    split: str | None = None,
    ratios: Sequence[float] | None = None,
    limit: int | None = None,
    seed: int = 0,
    per_class: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Analysis:
    """How cross-entropy and activation depend on the area of the foreground mask.

    The exploratory experiment of BAS (arXiv 2112.00580, section 3; 2309.12943): the true mask of
    each object is eroded and dilated (`analysis.growth` says exactly how), and the trained
    network reads the features inside it, and those that are left when it is erased. `Point`
    defines the figures; docs/analyse.md tells how to read them. Images whose label scores
    nothing, S not above 0, are left out: there is nothing to compare with.

    Args:
        checkpoint: A run folder, or its checkpoint.safetensors.
        annotations: Images with masks or boxes, of the checkpoint's classes: a CSV or a published
            set, as `read_annotations` takes. Where there are masks, boxes are not used.
        output: Folder for analysis.json, analysis.csv and analysis.png; None writes nothing.
        split: Which part of a set that has several. Default: that for evaluation.
        ratios: Areas of the masks relative to the object's, ascending, from 0 up. Default: RATIOS.
        limit: Take so many images, drawn at random with `seed`; None takes all.
        per_class: Curves of each class too.
        overwrite: Replace an analysis in `output`.
        progress: Called after each batch with the number of images done and of all.

    Raises:
        InputError: The checkpoint, the annotations or an option cannot be used, there are neither
            masks nor boxes, `output` holds an analysis, or every image was left out.
        MissingExtraError: `output` is given, and matplotlib is not installed.
    """
    ratios = RATIOS if ratios is None else tuple(ratios)
    _check_options(ratios, limit)
    folder = None if output is None else Path(output)
    if folder is not None:
        check_output(folder, overwrite=overwrite)
    trained = load_checkpoint(checkpoint)
    data = read_annotations(annotations, classes=trained.info.classes, split=split)
    if not (data.has_masks or data.has_boxes):
        raise InputError(
            f"{annotations} has neither masks nor boxes, so nobody knows where the objects are.",
            hint="Give a CSV with the columns x0, y0, x1, y1.",
        )
    if folder is not None:
        make_folder(folder)
    items = _draw(data.items, limit, seed)
    found, left_out = _measure(trained.model, items, ratios, progress)
    analysis = Analysis(
        checkpoint=str(trained.path),
        architecture=trained.info.model.architecture,
        head=trained.info.model.head,
        input_size=trained.info.model.input_size,
        data=str(annotations),
        split=data.split,
        truth="masks" if data.has_masks else "boxes",
        limit=limit,
        seed=seed,
        curve=average(found, ratios),
        classes=_by_class(found, ratios, trained.info.classes) if per_class else (),
        left_out=left_out,
        data_notes=data.notes,
    )
    if folder is not None:
        write_output(folder, analysis)
    return analysis


def _check_options(ratios: Sequence[float], limit: int | None) -> None:
    usable = all(math.isfinite(ratio) and ratio >= 0 for ratio in ratios)
    if not ratios or not usable or any(low >= high for low, high in pairwise(ratios)):
        shown = ", ".join(f"{ratio:g}" for ratio in ratios) or "empty"
        raise InputError(
            f"The ratios are {shown}, but they must ascend, from 0 up.",
            hint="For example 0, 0.5, 1, 1.5, 2.",
        )
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}, but at least one image is needed.")


def _draw(items: Sequence[Annotation], limit: int | None, seed: int) -> list[Annotation]:
    """`limit` of the items at random, in their own order."""
    if limit is None or limit >= len(items):
        return list(items)
    chosen = np.random.default_rng(seed).permutation(len(items))[:limit]
    return [items[index] for index in np.sort(chosen)]


def _measure(
    model: BasModel,
    items: Sequence[Annotation],
    ratios: Sequence[float],
    progress: Callable[[int, int], None] | None,
) -> tuple[Responses, tuple[LeftOut, ...]]:
    """Every image once: responses of the usable ones, and the others."""
    device, side = resolve_device("auto"), model.config.input_size
    model.to(device)
    parts: list[Responses] = []
    left_out: list[LeftOut] = []
    waiting: list[tuple[Annotation, Subject, GrowingMask]] = []

    def run_waiting() -> None:
        if not waiting:
            return
        frames = torch.from_numpy(np.stack([subject.frame for _, subject, _ in waiting]))
        found = masked_responses(
            model,
            to_network(frames, device),
            [subject.label for _, subject, _ in waiting],
            [growing for _, _, growing in waiting],
            ratios,
        )
        positive = found.whole > 0
        parts.append(found[positive])
        left_out.extend(
            _scoreless(waiting[at][0], float(found.whole[at])) for at in np.flatnonzero(~positive)
        )
        waiting.clear()

    images = decoded_ahead(items, lambda item: read_subject(item, side), ahead=_AHEAD)
    with closing(images), evaluation_mode(model):  # an error here must stop the decoders too
        for done, (item, one) in enumerate(zip(items, images, strict=True), 1):
            if isinstance(one, InputError):
                left_out.append(LeftOut(path=str(item.path), kind="unusable", reason=str(one)))
            elif one.growing is None:
                left_out.append(_invisible(item, side))
            else:
                waiting.append((item, one, one.growing))
            if len(waiting) == _BATCH or done == len(items):
                run_waiting()
                if progress is not None:
                    progress(done, len(items))
    if len(left_out) == len(items):
        raise none_usable(len(items), left_out[0].reason if left_out else None)
    return Responses.join(parts), tuple(left_out)


def _invisible(item: Annotation, side: int) -> LeftOut:
    return LeftOut(
        path=str(item.path),
        kind="invisible",
        reason=f"The object of {item.path} covers no pixel of the {side} × {side} input.",
    )


def _scoreless(item: Annotation, score: float) -> LeftOut:
    return LeftOut(
        path=str(item.path),
        kind="not positive",
        reason=f"{item.path} scores {score:.3g} for its label {item.class_name}, not above 0.",
    )


def _by_class(
    found: Responses, ratios: Sequence[float], classes: Sequence[str]
) -> tuple[Curve, ...]:
    """The curve of each class that has an image, in label order."""
    return tuple(
        average(found[found.labels == label], ratios, class_name=classes[label])
        for label in np.unique(found.labels)
    )
