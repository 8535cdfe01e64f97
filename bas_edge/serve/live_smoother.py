"""A smoother that can be exchanged while its stream runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, get_args

from bas_edge.video.frames import Stability, VideoFrame
from bas_edge.video.smoothing import Smoothing, SmoothingName
from bas_edge.video.steadier import Steadier

if TYPE_CHECKING:
    from bas_edge.localizer import Localizer
    from bas_edge.results import Localization

__all__ = ["PRESETS", "LiveSmoother"]

PRESETS: tuple[str, ...] = get_args(SmoothingName)


class LiveSmoother:
    """Smooths one stream by the preset chosen last, with the engine as it is tuned now.

    After a change the stream is smoothed anew from its next frame on.

    Args:
        localizer: Gives the engine with the options in use, as `Pipeline.localizer` does.
        preset: One of `PRESETS`, or "custom" with `smoothing`.
        smoothing: What "custom" means, where the configuration has options of its own.
    """

    def __init__(
        self,
        localizer: Callable[[], Localizer],
        preset: str = "off",
        *,
        smoothing: Smoothing | None = None,
    ) -> None:
        self._localizer = localizer
        self._custom = smoothing
        self._steadier: Steadier | None = None
        self._used: tuple[Localizer, str] | None = None
        self._preset = "off"
        self.choose(preset)

    @property
    def preset(self) -> str:
        """The preset in use."""
        return self._preset

    @property
    def presets(self) -> tuple[str, ...]:
        """What `choose` takes."""
        return PRESETS if self._custom is None else (*PRESETS, "custom")

    def choose(self, preset: str) -> None:
        """Use another preset from the next frame on. From any thread.

        Raises:
            InputError: There is no such preset.
        """
        if not (preset == "custom" and self._custom is not None):
            Smoothing.named(preset)
        self._preset = preset

    def steady(
        self, frame: VideoFrame, localization: Localization
    ) -> tuple[Localization, Stability | None]:
        """The next frame of the stream; see `Steadier.steady`."""
        wanted = (self._localizer(), self._preset)
        if self._steadier is None or self._used != wanted:
            custom = self._custom if wanted[1] == "custom" else None
            self._steadier = Steadier(wanted[0], custom or Smoothing.named(wanted[1]))
            self._used = wanted
        return self._steadier.steady(frame, localization)
