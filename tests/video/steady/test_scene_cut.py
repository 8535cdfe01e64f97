"""Cuts in a real video whose halves are nearly mirror images, and what is none."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bas_edge.video import Smoothing, VideoSource
from bas_edge.video.steady.motion import shift_between
from bas_edge.video.steady.scene_cut import likeness
from bas_edge.video.steady.small_picture import small_picture


def alike(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    first, second = small_picture(before), small_picture(after)
    return likeness(first, second, shift_between(first, second))


@pytest.mark.shared_data
def test_cuts_are_told_from_what_happens_in_a_scene(shared_data: Path) -> None:
    source = VideoSource(shared_data / "video" / "dog.mp4")
    frames = [frame.pixels for frame in source.pick(range(0, 60, 6))]
    limit = Smoothing().cut
    for before, after in itertools.pairwise(frames):
        whole, part = np.s_[:, :], np.s_[90:630, 160:1120]  # the middle is the most symmetric
        for seen in (whole, part):
            assert alike(before[seen], after[:, ::-1][seen]) < limit
            assert alike(before[seen], after[seen]) > limit
            assert alike(before[seen], (after[seen] * 0.5).astype(np.uint8)) > limit
            assert alike(before[seen], np.minimum(after[seen] * 1.5, 255).astype(np.uint8)) > limit
        panned = after[90:630, 320:1280]  # by a sixth of the picture
        assert alike(before[part], panned) > limit
