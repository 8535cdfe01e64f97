"""One training run, from its first step to its checkpoint."""

from __future__ import annotations

import contextlib
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
from bas_edge_training.checkpoint import CheckpointInfo, save_checkpoint, save_run_state
from bas_edge_training.contact_sheet import draw_contact_sheet, sample_indices
from bas_edge_training.curves import draw_curves
from bas_edge_training.data import TrainingData
from bas_edge_training.machine import StopRequest, resolve_device
from bas_edge_training.models import BasModel, build_model
from bas_edge_training.progress import Reporter, RunPlan, SilentReporter
from bas_edge_training.qat_start import QatStart
from bas_edge_training.recipe import Recipe
from bas_edge_training.results import TrainingInterrupted, TrainResult
from bas_edge_training.run_folder import RunFolder, SavedRun, export_command
from bas_edge_training.run_images import RunImages
from bas_edge_training.run_model import doubts, new_model
from bas_edge_training.run_ranges import calibrate, round_trainer
from bas_edge_training.run_records import checkpoint_info, run_state
from bas_edge_training.run_words import explained_divergence, introduction
from bas_edge_training.schedules import lr_factor, total_steps
from bas_edge_training.team import ALONE, Team
from bas_edge_training.team_failure import when_contact_is_lost
from bas_edge_training.threshold import THRESHOLD_IMAGES, run_threshold
from bas_edge_training.trainer import FIGURES, DivergenceError, Trainer
from bas_edge_training.training_log import LogRow, TrainingLog
from bas_edge_training.validation import choose_run_min_score, predict

__all__ = ["Run"]

Log = TrainingLog | None  # only process 0 writes one


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
        team: Team = ALONE,
    ) -> None:
        self.folder, self.recipe, self.data, self.team = folder, recipe, data, team
        self.name, self.reporter = name, reporter if team.leads else SilentReporter()
        self.images = self._new_images()
        self.total = total_steps(recipe.schedule, len(self.images.loader))
        self.device = resolve_device(recipe.machine.device, team)
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
            self.pretrained = weights = pretrained or ""
            classes = len(data.classes)
            model = team.once(lambda: new_model(recipe, classes, weights, self.reporter))
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
            for sentence in introduction(
                self.data, self.name, self.recipe, self.device, self.trainer.model, self.team
            ):
                self.reporter.note(sentence)
            if self.start is not None:
                self._calibrate(self.start)
            with self._log() as log, when_contact_is_lost(lambda: self._keep(log)):
                while self._has_more():
                    if self.number < self.total:
                        self._train_epoch(log, stop, resume_with)
                    self._end_epoch(log)
            return self._finish()
        except DivergenceError as error:
            lr = self.recipe.optimizer.lr
            raise explained_divergence(error, lr, self.folder.last) from None
        finally:
            self.reporter.end()

    # Steps and epochs

    def _train_epoch(self, log: Log, stop: StopRequest, resume_with: str) -> None:
        save_every_s = 60 * self.recipe.machine.save_minutes
        with contextlib.closing(self.images.loader.epoch(self.epoch, self.batch)) as batches:
            for batch in batches:
                self._step(batch, log)
                late = time.monotonic() - self.saved_at > save_every_s
                stopped, save, out_of_time = self.team.any_of(
                    [stop.requested, late and self.team.leads, self._out_of_time()]
                )
                if stopped:
                    self._save_state(log)
                    raise TrainingInterrupted(
                        f"Stopped after step {self.number} of {self.total}; all of it is saved. "
                        f"Go on with: {resume_with}"
                    )
                if save:
                    self._save_state(log)
                if self.number == self.total or out_of_time:
                    return

    def _step(self, batch: Batch, log: Log) -> None:
        factor = lr_factor(self.recipe.schedule, self.number, self.total)
        self._tell_skipped()
        figures = self.trainer.step(batch, self.number + 1, factor)
        self.number += 1
        self.batch += 1
        if figures is None:  # not one image of it could be read
            return
        for name in FIGURES:
            self.sums[name] += getattr(figures, name) * figures.images
        self.sums["images"] += figures.images
        row = self._row("step", asdict(figures), factor)
        if log is not None:
            log.write(row)
        self.reporter.step(row)

    def _end_epoch(self, log: Log) -> None:
        self.images.share(self.team)
        self._tell_skipped()
        self.trainer.share()
        count = self.sums["images"]
        if not count:
            raise self.images.none_readable()
        self.metrics = {name: self.sums[name] / count for name in FIGURES} | self._validate()
        factor = lr_factor(self.recipe.schedule, self.number - 1, self.total)
        row = self._row("epoch", self.metrics, factor)
        if log is not None:
            log.write(row)
        self.reporter.epoch(row)
        self.trainer.check_finite(self.number)
        self.epoch, self.batch = self.epoch + 1, 0
        self.sums.clear()
        if self.team.leads:
            self._draw_maps()
            self._save_checkpoint(finished=False, min_score=0.0)
        self._save_state(log)

    def _validate(self) -> dict[str, float]:
        """Figures on the held-out images; none where there are none."""
        found = predict(
            self.trainer.result,
            self.images.held_out,
            self.device,
            self.recipe.data.batch_size,
            self.team,
        )
        if not len(found.indices):
            return {}
        top1 = found.top1(self.data.validation_labels)
        return {"val_top1": top1, "val_area": float(found.areas.mean())}

    def _finish(self) -> TrainResult:
        unboxed = self.images.unboxed(THRESHOLD_IMAGES)
        if self.ranges is msgspec.UNSET:  # else it is aligned already
            align(self.trainer.result, unboxed, self.team)
        threshold = run_threshold(
            self.trainer.result, unboxed, self.recipe.localization, self.name, self.team
        )
        objects, background = self.images.scored()
        min_score = choose_run_min_score(
            self.trainer.result,
            objects,
            background,
            self.device,
            self.recipe.data.batch_size,
            self.team,
        )
        return self.team.once(lambda: self._write_result(min_score, threshold))

    def _doubts(self) -> tuple[str, ...]:
        """What the figures say against the run."""
        return tuple(doubts(self.metrics, len(self.data.classes)))

    def _write_result(
        self, min_score: float, threshold: ThresholdPolicy | None = None
    ) -> TrainResult:
        self._draw_curves()
        self._save_checkpoint(finished=True, min_score=min_score, threshold=threshold)
        self.folder.last.unlink(missing_ok=True)
        self._tell_skipped()
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
            warnings=(*self.data.warnings, *self._doubts()),
            next_command=export_command(self.folder.path),
        )

    # Where it starts

    def _new_images(self) -> RunImages:
        return RunImages(self.data, self.recipe, self.team)

    def _new_trainer(self, model: BasModel) -> Trainer:
        return Trainer(model, self.recipe, self.device, self.team)

    def _restore(self, saved: SavedRun) -> None:
        state = saved.state
        if state.fingerprint != self.data.fingerprint:
            raise InputError(
                f"The run in {self.folder.path} began with other images or labels than those of "
                f"{self.data.source} now.",
                hint="Restore the data, or start a new run.",
            )
        self.trainer.restore(saved.tensors)
        self.ranges = state.trained_ranges
        if self.ranges is not msgspec.UNSET:
            round_trainer(self.trainer, self.ranges)
        self.epoch, self.batch, self.number = state.epoch, state.batch, state.step
        self.seconds_before, self.log_rows = state.seconds, state.log_rows
        self.sums.update(state.epoch_sums)
        self.metrics = state.metrics
        self.images.restore(state.skipped, state.converted)

    def _calibrate(self, start: QatStart) -> None:
        """Choose the ranges of a new quantization-aware run, and round from now on."""
        frames = self.images.unboxed(self.recipe.qat.images)
        if not len(frames):
            raise self.images.none_readable()
        self.ranges, said = calibrate(self.trainer, frames, self.recipe.qat, self.team)
        self.reporter.note(f"Quantization-aware from {start.path}: {said}")

    # What is told

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

    def _has_more(self) -> bool:
        """Whether an epoch has been begun and not ended, or another one is due."""
        if self.batch or self.number == self.total:
            return self.batch > 0
        return not self.team.any_of([self._out_of_time()])[0]  # their clocks differ

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

    def _log(self) -> contextlib.AbstractContextManager[Log]:
        if not self.team.leads:
            return contextlib.nullcontext()
        return TrainingLog(self.folder.log, keep_rows=self.log_rows)

    def _keep(self, log: Log) -> None:
        # A GPU may wait for the lost process for good, and would not give its tensors away.
        if self.device.type == "cpu":
            self._write_state(log)

    def _save_state(self, log: Log) -> None:
        self.trainer.check_finite(self.number)
        self.images.share(self.team)
        self._write_state(log)
        self.saved_at = time.monotonic()

    def _write_state(self, log: Log) -> None:
        if log is None:
            return
        save_run_state(self.folder.last, self.trainer.tensors(), run_state(self, log.rows))

    def _save_checkpoint(
        self, *, finished: bool, min_score: float, threshold: ThresholdPolicy | None = None
    ) -> None:
        info = checkpoint_info(self, finished=finished, min_score=min_score, threshold=threshold)
        weights = self.trainer.result.state_dict()
        save_checkpoint(self.folder.checkpoint, weights, self._described(info))

    def _described(self, info: CheckpointInfo) -> CheckpointInfo:
        """What the checkpoint says; other tasks add to it."""
        return info
