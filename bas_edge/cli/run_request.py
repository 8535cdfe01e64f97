"""What `bas-edge run` was asked for, apart from its inputs."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bas_edge.errors import InputError

if TYPE_CHECKING:
    from bas_edge.localizer import Localizer
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

    images: Localizer | None
    videos: Localizer | None
    workers: int


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Options; None leaves the choice to the kind of source."""

    engine: Path
    localizer: dict[str, Any]
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
            InputError, EngineError, BackendError, MissingExtraError: As `Localizer`.
        """
        images = videos = None
        workers = 1
        if found.images:
            from bas_edge.localizer import Localizer

            images = stack.enter_context(Localizer(self.engine, **self.localizer))
        if found.videos or found.live:
            from bas_edge.video.pipeline_engine import open_for_pipeline

            policy = self.policy or ("wait" if found.videos else "newest")
            videos, workers = open_for_pipeline(
                self.engine,
                streams=len(found.live) or 1,
                lossless=policy == "wait",
                **self.localizer,
            )
            stack.enter_context(videos)
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

    def smoothing(self, default: str) -> Smoothing:
        """The preset that was asked for, or `default`."""
        from bas_edge.video.steady.smoothing import Smoothing

        return Smoothing.named(self.smooth or default)
