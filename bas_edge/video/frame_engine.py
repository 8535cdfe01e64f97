"""What a pipeline runs, and what of it only an engine for localization can do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from bas_edge.errors import InputError
from bas_edge.video.steady.smoothing import Smoothing

if TYPE_CHECKING:
    from bas_edge.engine.manifest import Manifest
    from bas_edge.finding import Finding
    from bas_edge.frames import Frame
    from bas_edge.localizer import Localizer
    from bas_edge.results import ColorOrder
    from bas_edge.video.lane import Smoother

__all__ = ["FrameEngine", "as_localizer", "checked_smoothing", "usual_smoothing"]


class FrameEngine(Protocol):
    """An opened engine: a `Localizer` or a `Segmenter`."""

    @property
    def manifest(self) -> Manifest:
        """What the engine says about itself."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; labels are indices into them."""
        ...

    @property
    def backend_name(self) -> str:
        """The backend in use."""
        ...

    def run_batch(self, frames: Iterable[Frame], *, color: ColorOrder = "rgb") -> Sequence[Finding]:
        """What each frame [H, W, 3] uint8 shows; frames may differ in size."""
        ...

    def clone(self) -> FrameEngine:
        """A second one for another thread, closed on its own."""
        ...

    def close(self) -> None:
        """Free its memory. Safe to call twice."""
        ...


def as_localizer(engine: FrameEngine, what: str, hint: str = "Leave it out.") -> Localizer:
    """The engine as a Localizer, for `what`, which needs one.

    Raises:
        InputError: It is an engine for another task.
    """
    task = engine.manifest.task
    if task != "localization":
        raise InputError(
            f"{what} is for engines that localize, and this is one for {task}.", hint=hint
        )
    return cast("Localizer", engine)


def checked_smoothing(
    engine: FrameEngine, smooth: Smoothing | Smoother | None
) -> Smoothing | Smoother | None:
    """What is to be used of it: `smooth`, or None where it is off and the engine has no boxes.

    Raises:
        InputError: Results have nothing to smooth: the engine does not localize, or has
            `boxes_only`.
    """
    active = smooth is not None and (not isinstance(smooth, Smoothing) or smooth.active)
    if not active:
        return smooth if engine.manifest.task == "localization" else None
    localizer = as_localizer(engine, "Smoothing")
    if isinstance(smooth, Smoothing) and localizer.boxes_only:
        raise InputError(
            "This Localizer has boxes_only, so its results carry no map to be smoothed.",
            hint='Open it without boxes_only, or use Smoothing.named("off").',
        )
    return smooth


def usual_smoothing(engine: FrameEngine, preset: str) -> Smoothing | None:
    """The preset, where nobody asked for another; None for an engine without boxes to smooth."""
    return Smoothing.named(preset) if engine.manifest.task == "localization" else None
