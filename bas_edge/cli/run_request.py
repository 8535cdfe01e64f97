"""What `bas-edge run` was asked for, apart from its inputs."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bas_edge.errors import InputError

if TYPE_CHECKING:
    from bas_edge.video.frame_engine import FrameEngine
    from bas_edge.video.inputs import Inputs
    from bas_edge.video.sinks.sink import Sink
    from bas_edge.video.sources.frame_queue import Policy
    from bas_edge.video.steady.smoothing import Smoothing

__all__ = ["Opened", "RunRequest"]


@dataclass(frozen=True, slots=True)
class Opened:
    """The engine, opened for what it is to do.

    Attributes:
        images: For one image after another, with every core; None without images.
        videos: For a pipeline; None without videos and streams.
        workers: Of that pipeline.
    """

    images: FrameEngine | None
    videos: FrameEngine | None
    workers: int

    @property
    def task(self) -> str:
        """What the engine is for."""
        opened = self.images or self.videos
        return "" if opened is None else opened.manifest.task


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Options; None leaves the choice to the kind of source."""

    engine: Path
    options: dict[str, Any]
    output: Path | None = None
    overwrite: bool = False
    json: bool = False
    policy: Policy | None = None
    smooth: str | None = None
    stride: int = 1
    max_fps: float | None = None
    duration_s: float | None = None
    codec: str = "auto"
    save: bool | None = None
    jsonl: Path | None = None
    lines_to_stdout: bool = False
    show: bool = False

    def check(self, found: Inputs) -> None:
        """Refuse options that nothing here can follow.

        Raises:
            InputError: An option is out of range, or is about video and there is none.
        """
        for name, value in (("--max-fps", self.max_fps), ("--duration", self.duration_s)):
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{name} is {value:g}, but must be a positive number.")
        if found.videos or found.live:
            return
        asked = {
            "--policy": self.policy,
            "--smooth": self.smooth,
            "--max-fps": self.max_fps,
            "--duration": self.duration_s,
            "--show": self.show or None,
            "--stride": None if self.stride == 1 else self.stride,
        }
        given = [name for name, value in asked.items() if value is not None]
        if given:
            raise InputError(
                f"{given[0]} is about video, but the inputs are images.",
                hint=f"Leave out {given[0]}.",
            )

    def open(self, stack: ExitStack, found: Inputs) -> Opened:
        """The engine for these inputs, closed with `stack`.

        Raises:
            InputError, EngineError, BackendError, MissingExtraError: As `open_frame_engine`; or the
                engine has no boxes that could be smoothed as was asked.
        """
        from bas_edge.video.frame_engine import checked_smoothing
        from bas_edge.video.pipeline_engine import open_for_pipeline, open_frame_engine

        images: FrameEngine | None = None
        videos: FrameEngine | None = None
        workers = 1
        if found.images:
            images = open_frame_engine(self.engine, **self.options)
            stack.callback(images.close)
        if found.videos or found.live:
            policy = self.policy or ("wait" if found.videos else "newest")
            videos, workers = open_for_pipeline(
                self.engine,
                streams=len(found.live) or 1,
                lossless=policy == "wait",
                **self.options,
            )
            stack.callback(videos.close)
            checked_smoothing(videos, self._smoothing_asked_for())
        return Opened(images, videos, workers)

    def window(self) -> list[Sink]:
        """What shows frames, if that was asked for.

        Raises:
            InputError, MissingExtraError: There are no windows here.
        """
        if not self.show:
            return []
        from bas_edge.video.sinks.window import Window

        return [Window()]

    def smoothing(self, engine: FrameEngine, default: str) -> Smoothing | None:
        """The preset that was asked for, or `default` where the engine has boxes to smooth."""
        from bas_edge.video.frame_engine import usual_smoothing

        return self._smoothing_asked_for() or usual_smoothing(engine, default)

    def _smoothing_asked_for(self) -> Smoothing | None:
        from bas_edge.video.steady.smoothing import Smoothing

        return None if self.smooth is None else Smoothing.named(self.smooth)
