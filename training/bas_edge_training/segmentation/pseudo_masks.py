"""A mask for every image of a set, from its labels and a BAS checkpoint; scored where it can be."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from bas_edge.errors import InputError
from bas_edge.segmentation import ImageSet, read_image_set
from bas_edge_training.checkpoint import Checkpoint, load_checkpoint
from bas_edge_training.machine import StopRequest, resolve_device, share_of_cores
from bas_edge_training.results import TrainingInterrupted
from bas_edge_training.segmentation.mask_maker import MaskMaker
from bas_edge_training.segmentation.mask_report import MaskScores, MasksReport
from bas_edge_training.segmentation.random_walk import WalkOptions
from bas_edge_training.segmentation.seed_journal import SeedJournal, SeedRecord, begin_masks
from bas_edge_training.segmentation.seeds import SeedOptions
from bas_edge_training.team import Team, join_team, launched_team

__all__ = ["DEFAULT_SCALES", "MaskScores", "MasksReport", "make_masks"]

DEFAULT_SCALES = (1.0, 0.5, 1.5, 2.0)

_BLOCK = 8  # images of each process until all of them meet
_CUT_IMAGES = 64  # that the threshold is chosen on; their cuts spread by about 0.1

Progress = Callable[[int, int], None]
T = TypeVar("T")


def make_masks(
    checkpoint: str | Path,
    data: str | Path,
    output: str | Path,
    *,
    split: str = "train",
    threshold: float | None = None,
    scales: tuple[float, ...] = DEFAULT_SCALES,
    size: int | None = None,
    activations: bool = True,
    walk: WalkOptions | None = None,
    device: str = "auto",
    resume: bool = False,
    progress: Progress | None = None,
) -> MasksReport:
    """Write a pseudo mask of every image, and score it if the set has masks.

    A pixel takes the strongest of its image's own labels, or the background where that is not
    above the threshold; an image without labels is background. True masks are never used for more
    than the scores. Images with a side above 1024 pixels are worked on at 1024, and their masks
    stretched to the nearest pixel.

    Processes that torchrun has started share the images; all of them see the same `output`, call
    this with the same arguments, and get the same report.

    Args:
        checkpoint: Of `bas-edge train --task segmentation`: a run folder or its file.
        data: See `read_image_set`; its classes are those of the checkpoint.
        output: A folder to create, readable by `read_image_set`.
        split: Which images.
        threshold: 0 to 1. None chooses it without any mask: the mean, over 64 images spread
            evenly, of Otsu's cut of how strong their seeds are after the walk.
        scales: Of the image that the network sees.
        size: Longest side at scale 1 in pixels; None is what the network was trained with.
        activations: Join class activation maps, as published.
        walk: The random walk; None is the default one.
        device: As in a recipe.
        resume: Go on where an interrupted call with the same arguments left `output`; where there
            is nothing yet, begin.
        progress: Called in process 0 with the images done, and all of them; those that the
            threshold is chosen on count twice.

    Raises:
        InputError: An argument is out of range, the classes differ, `output` is taken, or the seeds
            say nothing about a threshold.
        TrainingInterrupted: Ctrl-C or SIGTERM; what is done is kept for `resume`.
        PeerError: Another process has failed.
    """
    folder = Path(output)
    if threshold is not None and not 0 <= threshold < 1:
        raise InputError(f"The threshold is {threshold}, but must be 0 to 1, and below 1.")
    if not scales or not all(0.1 <= scale <= 4 for scale in scales):
        raise InputError(f"The scales are {list(scales)}; each must be 0.1 to 4.")
    if size is not None and size < 32:
        raise InputError(f"The size is {size} pixels, but must be 32 or more.")
    stop = StopRequest(launched_team())
    early, later = stop.entries()
    with early, join_team() as team:
        loaded = load_checkpoint(checkpoint)
        images = read_image_set(data, split)
        _check_set(loaded, images)
        options = SeedOptions(
            size=size or _trained_size(loaded), scales=scales, activations=activations
        )
        where = resolve_device(device, team)
        work = MaskMaker(
            loaded.model.to(where), images, folder, options, walk or WalkOptions(), where
        )
        settings = work.settings(loaded.path, threshold)
        team.must_agree(
            "images, labels and settings with the hash",
            hashlib.sha256(repr(settings).encode()).hexdigest()[:12],
            hint="Every machine needs the same data and the same checkpoint.",
        )
        done, cut = team.once(lambda: begin_masks(folder, settings, resume=resume))
        with later, share_of_cores(team):
            if threshold is None:
                threshold = cut
            sample = _spread(images) if threshold is None else []
            counter = _Counter(team, progress, len(done), len(images.images) + len(sample))
            if threshold is None:
                threshold = _label_free(work, sample, team, stop, counter)
            work.cut_at(threshold)
            with SeedJournal(folder, team.rank, settings, threshold) as journal:
                done |= _make(work, journal, done, team, stop, counter)
        words = ["bas-edge", "train-segmenter", str(folder), "--split", split]
        words += ["--start", str(checkpoint)]
        return team.once(lambda: work.finish(done, split, shlex.join(words)))


class _Counter:
    """Tells how far all processes are, of which each is about as far as this one."""

    def __init__(self, team: Team, told: Progress | None, done: int, total: int) -> None:
        self._team, self._told, self._done, self._total = team, told, done, total

    def one_more(self) -> None:
        self._done = min(self._total, self._done + self._team.size)
        if self._told is not None and self._team.leads:
            self._told(self._done, self._total)


def _spread(images: ImageSet) -> list[int]:
    """At most _CUT_IMAGES images with a class, spread evenly."""
    labelled = [at for at, image in enumerate(images.images) if image.labels]
    return labelled[:: -(-len(labelled) // _CUT_IMAGES)]


def _label_free(
    work: MaskMaker, sample: Sequence[int], team: Team, stop: StopRequest, counter: _Counter
) -> float:
    def cut_of(at: int) -> float | None:
        cut = work.natural_cut(at)
        counter.one_more()
        return cut

    found, stopped = _by_all(sample, cut_of, team, stop)
    if stopped:
        raise TrainingInterrupted("Stopped before the first mask was made: nothing is kept.")
    cuts = [found[at] for at in sample]
    known = [cut for cut in cuts if cut is not None]
    if not known:
        raise InputError(
            f"No threshold can be chosen: of {len(sample)} images none can be read and has seeds "
            "that differ from pixel to pixel.",
            hint="Look at the images and at the run, or give a threshold.",
        )
    return round(sum(known) / len(known), 2)


def _make(
    work: MaskMaker,
    journal: SeedJournal,
    done: Mapping[int, SeedRecord],
    team: Team,
    stop: StopRequest,
    counter: _Counter,
) -> dict[int, SeedRecord]:
    """The records of every image that is not done yet."""
    total = len(work.images.images)

    def record(at: int) -> SeedRecord:
        made = work.record(at)
        journal.write(made)
        counter.one_more()
        return made

    left = [at for at in range(total) if at not in done]
    found, stopped = _by_all(left, record, team, stop)
    if stopped:
        raise TrainingInterrupted(
            f"Stopped after {len(done) + len(found)} of {total} images; all of them are kept. "
            "Go on with the same command and --resume."
        )
    return found


def _by_all(
    items: Sequence[int], run: Callable[[int], T], team: Team, stop: StopRequest
) -> tuple[dict[int, T], bool]:
    """`run` of each item by one of the processes, in all of them, and whether they were stopped."""
    own: dict[int, T] = {}
    stopped = False
    # Nobody gets far ahead: who waits too long for another process takes it for lost.
    for first in range(0, len(items), _BLOCK * team.size):
        for at in items[first : first + _BLOCK * team.size][team.rank :: team.size]:
            if stop.requested:
                break
            own[at] = run(at)
        stopped = team.any_of([stop.requested])[0]
        if stopped:
            break
    return {at: made for part in team.gather(own) for at, made in part.items()}, stopped


def _trained_size(checkpoint: Checkpoint) -> int:
    """The side that images had in training before they were cropped, in pixels.

    Checkpoints that were imported do not say; crops are 7/8 of it in every published recipe.
    """
    known = checkpoint.info.recipe_content.get("data", {}).get("resize")
    return int(known) if known else round(checkpoint.info.model.input_size * 8 / 7)


def _check_set(loaded: Checkpoint, images: ImageSet) -> None:
    if not any(image.labels for image in images.images):
        raise InputError(
            f"No image of the split '{images.split}' of {images.source} has a class.",
            hint="Check its labels, or choose another split.",
        )
    images.require_classes(loaded.path, loaded.info.classes)
