"""One training run, from its first step to its checkpoint."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict

import msgspec

from bas_edge.engine.manifest import ThresholdPolicy
from bas_edge.errors import InputError, MissingExtraError
from bas_edge.quantization.trained_ranges import TrainedRanges
from bas_edge_training.alignment import align
from bas_edge_training.batches import Batch
from bas_edge_training.bias_correction import correct_biases
from bas_edge_training.checkpoint import (
    CheckpointInfo,
    RunState,
    save_checkpoint,
    save_run_state,
)
from bas_edge_training.contact_sheet import draw_contact_sheet, sample_indices
from bas_edge_training.curves import draw_curves
from bas_edge_training.data import TrainingData
from bas_edge_training.machine import StopRequest, resolve_device
from bas_edge_training.models import BasModel, build_model
from bas_edge_training.progress import Reporter, RunPlan
from bas_edge_training.qat_start import QatStart
from bas_edge_training.recipe import Recipe
from bas_edge_training.results import TrainingInterrupted, TrainResult
from bas_edge_training.rounded_model import observe_ranges, round_as
from bas_edge_training.run_folder import RunFolder, SavedRun
from bas_edge_training.run_images import RunImages
from bas_edge_training.run_model import doubts, new_model
from bas_edge_training.schedules import lr_factor, total_steps
from bas_edge_training.threshold import THRESHOLD_IMAGES, run_threshold
from bas_edge_training.trainer import FIGURES, DivergenceError, Trainer
from bas_edge_training.training_log import LogRow, TrainingLog
from bas_edge_training.validation import choose_run_min_score, predict

__all__ = ["Run"]


class Run:
    """State and order of one run. Building it writes nothing: first everything has to fit.

    `epoch` and `batch` are the next to train on, counted from 0; `number` is the steps done.
    """

    def __init__(
        self,
        folder: RunFolder,
        recipe: Recipe,
        data: TrainingData,
        *,
        name: str,
        pretrained: str | None,
        start: QatStart | None,
        saved: SavedRun | None,
        reporter: Reporter,
    ) -> None:
        self.folder, self.recipe, self.data = folder, recipe, data
        self.name, self.reporter = name, reporter
        self.images = RunImages(data, recipe)
        self.total = total_steps(recipe.schedule, len(self.images.loader))
        self.device = resolve_device(recipe.machine.device)
        self.epoch = self.batch = self.number = self.log_rows = 0
        self.seconds_before = 0.0
        self.sums: defaultdict[str, float] = defaultdict(float)
        self.metrics: dict[str, float] = {}
        self.told: set[str] = set()
        self.start = start
        self.ranges: TrainedRanges | msgspec.UnsetType = msgspec.UNSET
        if start is not None:
            start.check_classes(data.classes, data.source)
            self.pretrained = start.info.pretrained
            self.trainer = self._new_trainer(start.model)
        elif saved is None:
            self.pretrained = pretrained or ""
            model = new_model(recipe, len(data.classes), self.pretrained, reporter)
            self.trainer = self._new_trainer(model)
        else:
            self.pretrained = saved.state.pretrained
            self.trainer = self._new_trainer(build_model(saved.state.model))
            self._restore(saved)
        self.began = self.saved_at = time.monotonic()

    def go(self, stop: StopRequest, resume_with: str) -> TrainResult:
        """Train to the end of the schedule."""
        epochs = -(-self.total // len(self.images.loader))
        self.reporter.begin(RunPlan(self.total, epochs, self.number))
        try:
            self._introduce()
            if self.start is not None:
                self._calibrate(self.start)
            with TrainingLog(self.folder.log, keep_rows=self.log_rows) as log:
                while self.number < self.total and not self._out_of_time():
                    self._train_epoch(log, stop, resume_with)
                    self._end_epoch(log)
            return self._finish()
        except DivergenceError as error:
            raise self._explained(error) from None
        finally:
            self.reporter.end()

    # Steps and epochs

    def _train_epoch(self, log: TrainingLog, stop: StopRequest, resume_with: str) -> None:
        save_every_s = 60 * self.recipe.machine.save_minutes
        with contextlib.closing(self.images.loader.epoch(self.epoch, self.batch)) as batches:
            for batch in batches:
                self._step(batch, log)
                if stop.requested:
                    self._save_state(log)
                    raise TrainingInterrupted(
                        f"Stopped after step {self.number} of {self.total}; all of it is saved. "
                        f"Go on with: {resume_with}"
                    )
                if time.monotonic() - self.saved_at > save_every_s:
                    self._save_state(log)
                if self.number == self.total or self._out_of_time():
                    return

    def _step(self, batch: Batch, log: TrainingLog) -> None:
        factor = lr_factor(self.recipe.schedule, self.number, self.total)
        self.number += 1
        self.batch += 1
        self._tell_skipped()
        if not len(batch.frames):  # not one image of it could be read
            return
        figures = self.trainer.step(batch, self.number, factor)
        for name in FIGURES:
            self.sums[name] += getattr(figures, name) * figures.images
        self.sums["images"] += figures.images
        row = self._row("step", asdict(figures), factor)
        log.write(row)
        self.reporter.step(row)

    def _end_epoch(self, log: TrainingLog) -> None:
        count = self.sums["images"]
        if not count:
            raise self.images.none_readable()
        self.metrics = {name: self.sums[name] / count for name in FIGURES} | self._validate()
        factor = lr_factor(self.recipe.schedule, self.number - 1, self.total)
        row = self._row("epoch", self.metrics, factor)
        log.write(row)
        self.reporter.epoch(row)
        self.trainer.check_finite(self.number)
        self.epoch, self.batch = self.epoch + 1, 0
        self.sums.clear()
        self._draw_maps()
        self._save_checkpoint(finished=False, min_score=0.0)
        self._save_state(log)

    def _validate(self) -> dict[str, float]:
        """Figures on the held-out images; none where there are none."""
        found = predict(
            self.trainer.result, self.images.held_out, self.device, self.recipe.data.batch_size
        )
        if not len(found.indices):
            return {}
        return {
            "val_top1": found.top1(self.data.validation_labels),
            "val_area": float(found.areas.mean()),
        }

    def _finish(self) -> TrainResult:
        self._draw_curves()
        unboxed = self.images.unboxed(THRESHOLD_IMAGES)
        if self.ranges is msgspec.UNSET:  # else it is aligned already
            align(self.trainer.result, unboxed)
        threshold = run_threshold(self.trainer.result, unboxed, self.recipe.localization, self.name)
        objects, background = self.images.scored()
        min_score = choose_run_min_score(
            self.trainer.result, objects, background, self.device, self.recipe.data.batch_size
        )
        self._save_checkpoint(finished=True, min_score=min_score, threshold=threshold)
        self.folder.last.unlink(missing_ok=True)
        self._tell_skipped()
        exported = self.folder.path.with_suffix(".onnx")
        return TrainResult(
            folder=self.folder.path,
            checkpoint=self.folder.checkpoint,
            epochs=self.epoch,
            steps=self.number,
            seconds=self.seconds,
            metrics=self.metrics,
            min_score=min_score,
            skipped=self.images.skipped,
            converted=self.images.summary().converted,
            warnings=(*self.data.warnings, *doubts(self.metrics, len(self.data.classes))),
            next_command=shlex.join(
                ["bas-edge", "export", str(self.folder.path), "-o", str(exported)]
                + ["--overwrite"] * exported.exists()
            ),
        )

    # Where it starts

    def _new_trainer(self, model: BasModel) -> Trainer:
        return Trainer(model, self.recipe, self.device)

    def _restore(self, saved: SavedRun) -> None:
        state = saved.state
        if state.fingerprint != self.data.fingerprint:
            raise InputError(
                f"The run in {self.folder.path} began with other images or labels than those of "
                f"{self.data.source} now.",
                hint="Restore the data, or start a new run.",
            )
        self.trainer.restore(saved.tensors)
        if state.trained_ranges is not msgspec.UNSET:
            self._round(state.trained_ranges)
        self.epoch, self.batch, self.number = state.epoch, state.batch, state.step
        self.seconds_before, self.log_rows = state.seconds, state.log_rows
        self.sums.update(state.epoch_sums)
        self.metrics = state.metrics
        self.images.restore(state.skipped, state.converted)

    def _calibrate(self, start: QatStart) -> None:
        """Choose the ranges of a new quantization-aware run, and round from now on."""
        options = self.recipe.qat
        frames = self.images.unboxed(options.images)
        if not len(frames):
            raise self.images.none_readable()
        ranges = observe_ranges(
            self.trainer.model, frames, flavour=options.flavour, method=options.ranges
        )
        corrected = correct_biases(self.trainer.model, frames)
        if self.trainer.averaged is not None:
            self.trainer.averaged.load_state_dict(self.trainer.model.state_dict())
        self._round(ranges)
        self.reporter.note(
            f"Quantization-aware from {start.path}: {len(ranges.ranges)} tensors rounded as for "
            f"{options.flavour}, ranges by {options.ranges} on {len(frames)} images; "
            f"{corrected} biases corrected."
        )

    def _round(self, ranges: TrainedRanges) -> None:
        self.ranges = ranges
        for model in (self.trainer.model, self.trainer.averaged):
            if model is not None:
                round_as(model, ranges)

    # What is told

    def _introduce(self) -> None:
        data = self.data
        self.reporter.note(
            f"{len(data.paths)} images of {len(data.classes)} classes, "
            f"{len(data.validation_paths)} more held out, {len(data.background)} without an "
            f"object; recipe {self.name} ({self.recipe.sha256[:12]}), device {self.device}."
        )
        for warning in data.warnings:
            self.reporter.note(f"note: {warning}")

    def _tell_skipped(self) -> None:
        for path, reason in self.images.skipped.items():
            if path not in self.told:
                self.told.add(path)
                self.reporter.note(f"skipped: {reason}")

    @property
    def seconds(self) -> float:
        """Time spent on this run, pauses between resumes left out."""
        return self.seconds_before + time.monotonic() - self.began

    def _out_of_time(self) -> bool:
        limit_s = 60 * self.recipe.schedule.max_minutes
        return 0 < limit_s <= self.seconds and self.number > 0

    def _row(self, row: str, figures: Mapping[str, float], factor: float) -> LogRow:
        return LogRow(
            row=row,
            epoch=self.epoch + 1,
            step=self.number,
            lr=self.recipe.optimizer.lr * factor,
            **{name: figures[name] for name in FIGURES},
            val_top1=figures.get("val_top1"),
            val_area=figures.get("val_area"),
            seconds=self.seconds,
        )

    def _explained(self, error: DivergenceError) -> DivergenceError:
        lr = self.recipe.optimizer.lr
        kept = ""
        if self.folder.last.is_file():
            kept = f"The last good state is kept in {self.folder.path}. "
        return DivergenceError(
            f"{error} The learning rate is {lr:g}.",
            hint=f"{kept}Train again with a lower one: --set optimizer.lr={lr / 2:g}",
        )

    # What is written

    def _draw_maps(self) -> None:
        draw_contact_sheet(
            self.trainer.result,
            self.images.samples,
            self.images.sample_labels,
            self.data.classes,
            sample_indices(self.images.sample_labels),
            self.folder.maps(self.epoch),
            self.device,
        )

    def _draw_curves(self) -> None:
        try:
            draw_curves(self.folder.log, self.folder.curves)
        except MissingExtraError as error:
            self.reporter.note(f"{self.folder.curves} was not drawn: {error} {error.hint}")

    def _save_state(self, log: TrainingLog) -> None:
        self.trainer.check_finite(self.number)
        state = RunState(
            recipe=self.name,
            recipe_content=msgspec.to_builtins(self.recipe),
            model=self.trainer.model.config,
            fingerprint=self.data.fingerprint,
            pretrained=self.pretrained,
            epoch=self.epoch,
            batch=self.batch,
            step=self.number,
            seconds=self.seconds,
            log_rows=log.rows,
            epoch_sums=dict(self.sums),
            metrics=self.metrics,
            skipped=self.images.skipped,
            converted=self.images.converted,
            trained_ranges=self.ranges,
        )
        save_run_state(self.folder.last, self.trainer.tensors(), state)
        self.saved_at = time.monotonic()

    def _save_checkpoint(
        self, *, finished: bool, min_score: float, threshold: ThresholdPolicy | None = None
    ) -> None:
        model = self.trainer.result
        info = CheckpointInfo(
            model=model.config,
            classes=self.data.classes,
            recipe=self.name,
            recipe_sha256=self.recipe.sha256,
            recipe_content=self.recipe.to_dict(),
            data=self.images.summary(),
            pretrained=self.pretrained,
            epoch=self.epoch,
            step=self.number,
            seconds=self.seconds,
            finished=finished,
            metrics=self.metrics,
            min_score=min_score,
            threshold=threshold,
            trained_ranges=self.ranges,
        )
        save_checkpoint(self.folder.checkpoint, model.state_dict(), self._described(info))

    def _described(self, info: CheckpointInfo) -> CheckpointInfo:
        """What the checkpoint says; other tasks add to it."""
        return info
