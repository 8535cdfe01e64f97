"""What can be changed while the pipeline runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from msgspec import UNSET

from bas_edge.engine.overrides import save_overrides
from bas_edge.errors import InputError
from bas_edge.serve.event_log import EventLog
from bas_edge.serve.schema import Threshold, Tuning, TuningChange, TuningValues
from bas_edge.video.frame_engine import as_localizer
from bas_edge.video.frames import utc
from bas_edge.video.steady.smoothing import Smoothing, SmoothingName

if TYPE_CHECKING:
    from bas_edge.engine.manifest import Manifest, ThresholdPolicy
    from bas_edge.video.pipeline import Pipeline

__all__ = ["CUSTOM", "PRESETS", "Controls"]

PRESETS: tuple[str, ...] = get_args(SmoothingName)
CUSTOM = "custom"  # what the configuration says, where it is no preset


class Controls:
    """Tunes a running pipeline, and keeps what was found good in its engine.

    Args:
        pipeline: What is tuned.
        engine: The engine's folder or file, as it was opened.
        log: Where changes are noted.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        engine: Path,
        log: EventLog | None = None,
    ) -> None:
        self.log = EventLog() if log is None else log
        self._pipeline, self._engine = pipeline, engine
        self._custom: dict[str, Smoothing] = {}  # by stream: options that have no name
        self._manifest: Manifest = pipeline.engine.manifest

    def tuning(self) -> Tuning:
        """What is in use, and what the engine has of its own."""
        engine, manifest = self._pipeline.engine, self._manifest
        if manifest.task != "localization":
            return Tuning(
                engine=self._engine.stem,
                task=manifest.task,
                backend=engine.backend_name,
                in_use=None,
                own=None,
                saved=None,
                most_top_k=1,
                unsavable=f"An engine for {manifest.task} has nothing to tune.",
            )
        saved = manifest.overrides
        own = _values(manifest.threshold, manifest.top_k, manifest.min_score)
        return Tuning(
            engine=self._engine.stem,
            task=manifest.task,
            backend=engine.backend_name,
            in_use=self._in_use(),
            own=own,
            saved=TuningValues(
                threshold=own.threshold
                if saved.threshold is None
                else Threshold("fixed", saved.threshold),
                top_k=saved.top_k or own.top_k,
                min_score=own.min_score if saved.min_score is None else saved.min_score,
            ),
            most_top_k=1 if manifest.maps == "mean" else manifest.k,
            unsavable=self._unsavable(),
        )

    def _in_use(self) -> TuningValues:
        """Raises InputError where there is nothing to tune."""
        localizer = as_localizer(self._pipeline.engine, "Tuning")
        return _values(localizer.threshold, localizer.top_k, localizer.min_score)

    def _unsavable(self) -> str:
        """Why the engine cannot keep values; "" where it can."""
        if not self._engine.is_dir():
            return "An .onnx file keeps no values; an engine folder does."
        # A manifest is replaced by a new one, so it is the folder that must be writable.
        if not os.access(self._engine, os.W_OK | os.X_OK):
            return "This program may not write to the engine's folder."
        return ""

    def retune(self, change: TuningChange) -> Tuning:
        """Use other values, from the next frame of every stream on.

        Raises:
            InputError: A value is out of range, or the engine has none; nothing was changed.
        """
        own, in_use = self._manifest, self._in_use()
        threshold: float | ThresholdPolicy | None
        threshold = None if change.threshold is UNSET else change.threshold
        if change.threshold is None:
            threshold = own.threshold
        top_k = own.top_k if change.top_k is None else change.top_k
        min_score = own.min_score if change.min_score is None else change.min_score
        self._pipeline.retune(
            threshold=threshold,
            # An engine with one averaged map refuses even its own value.
            top_k=None if top_k is UNSET or top_k == in_use.top_k else top_k,
            min_score=None if min_score is UNSET else min_score,
        )
        self._note("tuning", _said(self._in_use()))
        return self.tuning()

    def save(self) -> Tuning:
        """Keep the values in use in the engine: it starts with them from now on.

        Raises:
            InputError: The engine is a bare `.onnx` file, or has no such values.
            EngineError: It cannot be written.
        """
        manifest, in_use = self._manifest, self._in_use()
        own = _values(manifest.threshold, manifest.top_k, manifest.min_score)
        same = in_use.threshold == own.threshold
        changed = save_overrides(
            self._engine,
            threshold=None if same else in_use.threshold.value,
            top_k=None if in_use.top_k == own.top_k else in_use.top_k,
            min_score=None if in_use.min_score == own.min_score else in_use.min_score,
        )
        self._manifest = changed.manifest
        self._note("saved", _said(in_use))
        return self.tuning()

    def smooth(self, stream: str, preset: str) -> None:
        """Use another preset for one stream, from its next frame on.

        Raises:
            InputError: The stream cannot be smoothed, or there is no such preset.
        """
        known = self.smoothing(stream)[1]
        if preset not in known:
            raise InputError(
                f"The stream '{stream}' cannot be smoothed as {preset!r}.",
                hint=f"It can as: {', '.join(known)}." if known else "It was opened without.",
            )
        custom = self._custom.get(stream) if preset == CUSTOM else None
        self._pipeline.set_smoothing(stream, custom or Smoothing.named(preset))
        self._note("smoothing", preset, stream)

    def smoothing(self, stream: str) -> tuple[str | None, tuple[str, ...]]:
        """The preset that a stream uses, and those it can use; None and none without smoothing."""
        used = self._pipeline.smoothing(stream)
        if used is None:
            return None, ()
        name = next((each for each in PRESETS if Smoothing.named(each) == used), CUSTOM)
        if name == CUSTOM:
            self._custom.setdefault(stream, used)
        return name, (*PRESETS, CUSTOM) if stream in self._custom else PRESETS

    def pause(self, stream: str) -> None:
        """Let one stream wait.

        Raises:
            InputError: There is no such stream.
        """
        self._pipeline.pause(stream)
        self._note("paused", "", stream)

    def resume(self, stream: str) -> None:
        """Go on with it.

        Raises:
            InputError: There is no such stream.
        """
        self._pipeline.resume(stream)
        self._note("resumed", "", stream)

    def _note(self, what: str, text: str, stream: str = "") -> None:
        self.log.note(utc(time.time()), what, text, stream)


def _values(threshold: ThresholdPolicy, top_k: int, min_score: float) -> TuningValues:
    return TuningValues(Threshold(threshold.rule, threshold.value), top_k, min_score)


def _said(values: TuningValues) -> str:
    cut = values.threshold
    said = f"{cut.value:.2f}" if cut.rule == "fixed" else f"{cut.value:.2f} × mean"
    return f"threshold {said}, top-k {values.top_k}, min score {values.min_score:.2f}"
