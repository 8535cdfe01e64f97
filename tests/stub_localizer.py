"""A Localizer without a network: what it finds is the number in the frame's first pixel."""

from __future__ import annotations

import copy
import dataclasses
import random
import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bas_edge.engine.manifest import InputPolicy, Manifest, ThresholdPolicy
from bas_edge.errors import BackendError
from bas_edge.results import Localization, Timing


class StubLocalizer:
    """Finds in each frame a box over all of it, of the class that its first pixel names.

    Args:
        delay_s: How long a frame takes.
        jitter_s: Up to how much longer, at random.
        fail_at: The how many-th frame of all clones together fails.
    """

    classes = tuple(f"class {label}" for label in range(256))
    manifest = Manifest(
        task="localization",
        name="stub",
        classes=classes,
        input=InputPolicy(height=8, width=8),
        maps="all",
        k=256,
        top_k=1,
        threshold=ThresholdPolicy(rule="fixed", value=0.5),
    )
    backend_name = "none"
    boxes_only = False

    def __init__(
        self, delay_s: float = 0.0, jitter_s: float = 0.0, fail_at: int | None = None
    ) -> None:
        self.threshold = 0.5
        self._delay_s = delay_s
        self._jitter_s = jitter_s
        self._fail_at = fail_at
        self._count = 0
        self._lock = threading.Lock()

    @staticmethod
    def result(label: int, size: tuple[int, int] = (8, 8)) -> Localization:
        height, width = size
        return Localization(
            box=(0.0, 0.0, float(width), float(height)),
            label=label,
            class_name=f"class {label}",
            score=0.9,
            found=True,
            map=np.ones((2, 2), np.float32),
            timing=Timing(0.1, 1.0, 0.1),
            frame_size=size,
            scores=np.ones(1, np.float32),
        )

    def run_batch(
        self, frames: Sequence[NDArray[np.uint8]], *, color: str = "rgb"
    ) -> list[Localization]:
        assert color == "rgb"
        results = []
        for frame in frames:
            with self._lock:
                number, self._count = self._count, self._count + 1
            if number == self._fail_at:
                raise BackendError("the network caught fire")
            time.sleep(self._delay_s + random.random() * self._jitter_s)
            found = self.result(int(frame[0, 0, 0]), frame.shape[:2])
            results.append(dataclasses.replace(found, score=self.threshold))
        return results

    def clone(
        self,
        *,
        threshold: float | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
    ) -> StubLocalizer:
        if threshold is None and top_k is None and min_score is None:
            return self
        twin = copy.copy(self)
        twin.threshold = self.threshold if threshold is None else threshold
        return twin

    def close(self) -> None:
        pass

    def __enter__(self) -> StubLocalizer:
        return self

    def __exit__(self, *_: object) -> None:
        pass
