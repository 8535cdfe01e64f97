"""A generated video: creatures that walk over cluttered ground, and moments with nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bas_edge.video.sinks.video_sink import VideoSink

from .synthetic_scenes import SPECIES, Pose, draw_creature, draw_ground

__all__ = ["generate_video"]

FPS = 25.0


def generate_video(
    path: Path | str,
    *,
    size: tuple[int, int] = (240, 320),
    seconds_each: float = 2.0,
    creatures: int = 3,
    classes: int = 6,
    seed: int = 0,
) -> int:
    """Write an mp4 in which one creature after another crosses the picture, 25 frames a second.

    Before each creature and at the end the ground is empty for a fifth of `seconds_each`.

    Args:
        path: The file to write.
        size: (H, W) of the video in pixels, both even.
        seconds_each: How long each creature is seen.
        creatures: How many come, of species that change.
        classes: How many species there are to choose from.
        seed: Decides ground, colours and paths.

    Returns:
        The number of frames.

    Raises:
        MissingExtraError: PyAV is not installed.
    """
    H, W = size
    rng = np.random.default_rng((seed, 4))
    walking, empty = round(seconds_each * FPS), round(seconds_each * FPS / 5)
    with VideoSink(path, FPS) as sink:
        for index in range(creatures):
            species = SPECIES[(index * 2 + index // 3) % classes]
            ground = draw_ground(rng, size)
            look = int(rng.integers(2**32))  # the same colours in every frame
            length = rng.uniform(0.45, 0.65) * H
            y, sway = rng.uniform(0.4, 0.6) * H, rng.uniform(0.05, 0.12) * H
            backwards = index % 2 == 1
            for _ in range(empty):
                sink.write(np.asarray(ground))
            for step in range(walking):
                t = step / (walking - 1)
                x = length / 2 + t * (W - length)
                angle = 0.5 * np.cos(2 * np.pi * t)
                pose = Pose(x, y + sway * np.sin(2 * np.pi * t), length, angle)
                if backwards:
                    pose = pose._replace(x=W - x, angle=np.pi - angle)
                frame = ground.copy()
                draw_creature(frame, species, pose, np.random.default_rng(look))
                sink.write(np.asarray(frame))
        for _ in range(empty):
            sink.write(np.asarray(ground))
        return sink.frames
