"""Smooths the results of one stream, frame by frame."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bas_edge.errors import InputError
from bas_edge.framing import place
from bas_edge.video.frames import Stability, VideoFrame
from bas_edge.video.steady.class_vote import ClassVote, new_weight
from bas_edge.video.steady.motion import Shift, shift_between, shift_map
from bas_edge.video.steady.one_euro import BoxFilter
from bas_edge.video.steady.scene_cut import likeness
from bas_edge.video.steady.small_picture import SmallPicture, small_picture
from bas_edge.video.steady.smoothing import Smoothing
from bas_edge.video.steady.stability import stability_between

if TYPE_CHECKING:
    from bas_edge.localizer import Localizer
    from bas_edge.results import Localization

__all__ = ["Steadier"]

_SHORTEST_S = 1e-3  # between two frames, where a stream gives both the same time
_STILL = 0.05  # of a cell: less is within the error of the shift
_NO_SHIFT = Shift(0.0, 0.0, trusted=False)


class Steadier:
    """What one stream showed so far, for smoothing what it shows next.

    Frames come in order, from one thread at a time. It starts anew at a scene cut, after a gap,
    when time jumps, and when frames change their size: then the frame counts alone.

    Example:
        steadier = Steadier(localizer, Smoothing.named("light"))
        for frame in VideoSource("birds.mp4"):
            steady, stability = steadier.steady(frame, localizer.run(frame.pixels))
    """

    def __init__(self, localizer: Localizer, smoothing: Smoothing | None = None) -> None:
        """`localizer` cuts the boxes, as it did those that come in; the default is "light"."""
        self._localizer = localizer
        self.smoothing = Smoothing() if smoothing is None else smoothing
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._time_s: float | None = None  # of the last frame
        self._size: tuple[int, ...] = ()
        self._picture: SmallPicture | None = None
        self._map: NDArray[np.float32] | None = None  # [h, w]
        self._vote = ClassVote(self.smoothing, self._localizer.min_score)
        self._boxes: BoxFilter | None = None
        self._last: Localization | None = None

    def steady(
        self, frame: VideoFrame, localization: Localization
    ) -> tuple[Localization, Stability | None]:
        """The next frame and what was found in it → that smoothed, and its stability.

        The result's map and scores are averages, and label, `found`, boxes and mask are what
        those have; with a One-Euro filter `box` is then filtered on its own. With smoothing off
        it is the very `localization`. The stability is against the last result; None where one
        of them has no box, and at the first frame after a reset.

        Raises:
            InputError: The result carries no map (`boxes_only`), and smoothing is not off.
        """
        if self._interrupted(frame):
            self.reset()
        result = localization
        if self.smoothing.active:
            if localization.map.size == 0:
                raise InputError(
                    "This result carries no map, but smoothing averages maps.",
                    hint='Open the Localizer without boxes_only, or use Smoothing.named("off").',
                )
            result = self._smoothed(frame, localization)
        stability = None if self._last is None else stability_between(self._last, result)
        self._time_s, self._size, self._last = frame.time_s, frame.pixels.shape, result
        return result, stability

    def _interrupted(self, frame: VideoFrame) -> bool:
        if self._time_s is None:
            return False
        ahead_s = frame.time_s - self._time_s
        jumped = ahead_s < 0 or (self.smoothing.active and ahead_s > self.smoothing.forget_s)
        return jumped or frame.gap_s > 0 or frame.pixels.shape != self._size

    def _smoothed(self, frame: VideoFrame, seen: Localization) -> Localization:
        shift = self._look(frame)
        dt_s = _SHORTEST_S
        if self._time_s is not None:
            dt_s = max(dt_s, frame.time_s - self._time_s)
        # What was on its way when min_score was raised would stay for as long as it is seen.
        found = seen.found and seen.score >= self._localizer.min_score
        if self._map is None or (found and not self._vote.found):
            self._map, self._boxes = seen.map, None
            self._vote.start(seen.scores, found)
        else:
            shift = self._join(seen, shift, dt_s)
            self._vote.step(seen.scores, found, dt_s, empty=self._is_empty(seen))
        result = self._localizer.localization_of(
            self._map,
            self._vote.scores,
            seen.frame_size,
            label=self._vote.label,
            found=self._vote.found,
            timing=seen.timing,
        )
        return self._with_filtered_box(result, shift, dt_s)

    def _is_empty(self, seen: Localization) -> bool:
        """Whether its map has no box, so that no score can mean anything that is there.

        The average still has one then: it decays, but keeps its shape.
        """
        if seen.found or not self._vote.found:
            return False
        return not self._localizer.localization_of(
            seen.map, seen.scores, seen.frame_size, found=True
        ).found

    def _look(self, frame: VideoFrame) -> Shift:
        """The camera's motion since the last frame; resets at a scene cut."""
        if not self.smoothing.looks:
            return _NO_SHIFT
        picture, last = small_picture(frame.pixels), self._picture
        shift = _NO_SHIFT
        if last is not None:
            shift = shift_between(last, picture)
            if self.smoothing.cut > 0 and likeness(last, picture, shift) < self.smoothing.cut:
                self.reset()
                shift = _NO_SHIFT
        self._picture = picture
        return shift if self.smoothing.motion else _NO_SHIFT

    def _join(self, seen: Localization, shift: Shift, dt_s: float) -> Shift:
        """Average the new map in; returns the shift that the history was moved by."""
        assert self._map is not None
        weight = np.float32(new_weight(self.smoothing.map_time_s, dt_s))
        history, shift = self._moved(seen, shift)
        self._map = history + weight * (seen.map - history)
        return shift

    def _moved(self, seen: Localization, shift: Shift) -> tuple[NDArray[np.float32], Shift]:
        """The history moved along with the camera, where that brings it closer to the new map.

        A camera that follows an animal moves the background and not the animal: what the map
        shows decides. Cells that came into view take the new map.
        """
        assert self._map is not None
        policy = self._localizer.manifest.input
        placement = place(seen.frame_size, policy)
        scale_x, scale_y = placement.scale
        h, w = seen.map.shape
        down = shift.down * seen.frame_size[0] / scale_y * h / policy.height
        right = shift.right * seen.frame_size[1] / scale_x * w / policy.width
        if max(abs(down), abs(right)) < _STILL:
            return self._map, _NO_SHIFT
        moved, covered = shift_map(self._map, down, right)
        error_moved = np.abs(moved - seen.map)[covered].sum()
        error_still = np.abs(self._map - seen.map)[covered].sum()
        if error_moved >= error_still:
            return self._map, _NO_SHIFT
        return np.where(covered, moved, seen.map), shift

    def _with_filtered_box(self, result: Localization, shift: Shift, dt_s: float) -> Localization:
        if self.smoothing.min_cutoff_hz == 0:
            return result
        if not result.found:
            self._boxes = None
            return result
        if self._boxes is None:
            options = self.smoothing.min_cutoff_hz, self.smoothing.beta
            self._boxes = BoxFilter(*options, result.frame_size)
        self._boxes.move(shift.down, shift.right)
        box = self._boxes.step(result.box, dt_s)
        return replace(result, box=box, boxes=(box, *result.boxes[1:]) if result.boxes else ())
