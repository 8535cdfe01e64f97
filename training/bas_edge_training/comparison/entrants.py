"""Who takes part: methods on a checkpoint, and engines, each with its maps of the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from bas_edge.annotations import Annotation
from bas_edge.decoding import decoded_ahead, none_usable
from bas_edge.engine.bundle import open_engine
from bas_edge.engine.manifest import InputPolicy, ThresholdPolicy
from bas_edge.errors import InputError
from bas_edge.evaluation_pass import Predictions
from bas_edge.evaluation_pass import predict as predict_with_engine
from bas_edge.evaluation_pixels import Usable
from bas_edge.evaluation_report import SkippedImage
from bas_edge.images import read_image
from bas_edge.localizer import Localizer
from bas_edge.ops import resize_frame
from bas_edge.runner import softmax
from bas_edge_training.methods import Activations, Method
from bas_edge_training.models import BasModel
from bas_edge_training.trainer import to_network
from bas_edge_training.validation import evaluation_mode

__all__ = ["Entrant", "OfClass", "engine_entrant", "method_foregrounds", "method_predictions"]

OfClass = Literal["label", "best"]

_BATCH = 8
_AHEAD = 2 * _BATCH  # decoded frames held at most, whatever their number


@dataclass(frozen=True, slots=True)
class Entrant:
    """One method or engine, and what it says about the images.

    Attributes:
        name: As it was asked for.
        title, source: For people: a method's name and its paper; an engine's own name.
        policy: How frames become its input.
        threshold: Where it cuts its maps without having seen a box.
        found: Its maps and scores, and beside them masks, where the annotations have any.
    """

    name: str
    title: str
    source: str
    policy: InputPolicy
    threshold: ThresholdPolicy
    found: Predictions


def engine_entrant(
    engine: Path,
    items: Sequence[Annotation],
    classes: Sequence[str],
    *,
    title: str,
    threads: int | None,
    advance: Callable[[], None],
) -> Entrant:
    """An engine on the images, with its own threshold.

    Raises:
        InputError: It knows other classes, or no image can be used.
        EngineError: It cannot be opened.
    """
    manifest = open_engine(engine).manifest
    if manifest.classes != tuple(classes):
        raise InputError(
            f"{engine} knows other classes: {len(manifest.classes)}, from "
            f"'{manifest.classes[0]}' on, not {len(classes)}, from '{classes[0]}' on.",
            hint="Compare engines of the same checkpoint, or of the same classes in one order.",
        )
    with Localizer(engine, threads=threads) as localizer:
        found = predict_with_engine(
            localizer,
            [item.path for item in items],
            check=Usable(tuple(items), manifest.input),
            advance=advance,
        )
    return Entrant(
        name=str(engine),
        title=title,
        source=f"engine, {manifest.method}, {manifest.precision}",
        policy=manifest.input,
        threshold=manifest.threshold,
        found=found,
    )


def method_foregrounds(
    model: BasModel,
    frames: NDArray[np.uint8],
    methods: Mapping[Method, int],
    classes: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
    """Class scores [M, C], and the map [M, h, w] of each image by each method, by its name.

    Args:
        model: It is left in the mode it was in.
        frames: uint8 [M, H, W, 3] at network size.
        methods: And how many class maps each averages. What they share is computed once.
        classes: [M], whose map is asked for; None is each image's best class.
    """
    device = next(model.parameters()).device
    scores: list[NDArray[np.float32]] = []
    maps: dict[str, list[NDArray[np.float32]]] = {method.name: [] for method in methods}
    with evaluation_mode(model):
        for at in range(0, len(frames), _BATCH):
            seen = Activations(
                model, to_network(torch.from_numpy(frames[at : at + _BATCH]), device)
            )
            chosen = None
            if classes is not None:
                chosen = torch.from_numpy(classes[at : at + _BATCH]).to(device)
            scores.append(softmax(seen.logits.float().cpu().numpy()))
            for method, top_k in methods.items():
                maps[method.name].append(method.foreground(seen, top_k=top_k, classes=chosen))
    return np.concatenate(scores), {name: np.concatenate(each) for name, each in maps.items()}


def method_predictions(
    model: BasModel,
    methods: Mapping[Method, int],
    items: Sequence[Annotation],
    *,
    of_class: OfClass,
    advance: Callable[[], None],
) -> Mapping[str, Predictions]:
    """Each method's maps of the images that can be read, by its name. One pass for all.

    `methods` as for `method_foregrounds`. Masks, where there are any, lie beside the maps.

    Raises:
        InputError: No image can be used.
    """
    side = model.config.input_size
    kept: list[int] = []
    sizes: list[tuple[int, int]] = []
    skipped: list[SkippedImage] = []
    scores: list[NDArray[np.float32]] = []
    maps: dict[str, list[NDArray[np.float32]]] = {method.name: [] for method in methods}
    masks: list[NDArray[np.uint8] | None] = []
    for members, frames in _batches(items, side, sizes, masks, skipped, advance):
        labels = np.array([items[index].label for index in members], np.int64)
        found, foregrounds = method_foregrounds(
            model, frames, methods, labels if of_class == "label" else None
        )
        kept += members
        scores.append(found)
        for name, each in foregrounds.items():
            maps[name].append(each)
    if not kept:
        raise none_usable(len(items), skipped[0].reason if skipped else None)
    return {
        name: Predictions(
            kept=np.array(kept, np.intp),
            maps=np.concatenate(each),
            scores=np.concatenate(scores),
            frame_sizes=tuple(sizes),
            skipped=tuple(skipped),
            beside=tuple(masks),
        )
        for name, each in maps.items()
    }


def _batches(
    items: Sequence[Annotation],
    side: int,
    sizes: list[tuple[int, int]],
    masks: list[NDArray[np.uint8] | None],
    skipped: list[SkippedImage],
    advance: Callable[[], None],
) -> Iterator[tuple[list[int], NDArray[np.uint8]]]:
    """Indices and frames [M, side, side, 3]; adds to the lists as it goes."""
    check = Usable(tuple(items), InputPolicy(height=side, width=side))

    def decode(
        index: int,
    ) -> tuple[tuple[int, int], NDArray[np.uint8] | None, NDArray[np.uint8]]:
        frame = read_image(items[index].path)
        height, width = frame.shape[:2]
        mask = check(index, (height, width))
        return (height, width), mask, resize_frame(frame, (side, side))

    members: list[int] = []
    frames: list[NDArray[np.uint8]] = []
    with closing(decoded_ahead(range(len(items)), decode, ahead=_AHEAD)) as decoded:
        for index, one in enumerate(decoded):
            if isinstance(one, InputError):
                skipped.append(SkippedImage(path=str(items[index].path), reason=str(one)))
            else:
                members.append(index)
                sizes.append(one[0])
                masks.append(one[1])
                frames.append(one[2])
            if len(frames) == _BATCH:
                yield members, np.stack(frames)
                members, frames = [], []
            advance()
    if frames:
        yield members, np.stack(frames)
