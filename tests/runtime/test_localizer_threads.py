from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bas_edge import Localization, Localizer
from bas_edge.errors import BackendError

THREADS, ROUNDS = 4, 30


@pytest.fixture
def localizer(tmp_path: Path, tiny_onnx: Callable[..., Path]) -> Iterator[Localizer]:
    with Localizer(tiny_onnx(tmp_path / "m.onnx", top_k=2), threads=1) as opened:
        yield opened


def frame(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40 + seed, 60, 3), np.uint8)


def same(a: Localization, b: Localization) -> bool:
    return (a.box, a.label, a.score) == (b.box, b.label, b.score) and np.array_equal(a.map, b.map)


@pytest.mark.parametrize("share", [True, False], ids=["one shared", "a clone each"])
def test_every_thread_gets_its_own_frames_result(localizer: Localizer, share: bool) -> None:
    """bgr goes through the shared buffer, which a missing lock would let threads overwrite."""
    expected = [localizer.run(frame(i), color="bgr") for i in range(THREADS)]
    start = threading.Barrier(THREADS)

    def work(i: int) -> int:
        mine = localizer if share else localizer.clone()
        start.wait()
        return sum(same(mine.run(frame(i), color="bgr"), expected[i]) for _ in range(ROUNDS))

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(work, range(THREADS))) == [ROUNDS] * THREADS


def test_calls_on_one_localizer_do_not_overlap(
    localizer: Localizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = localizer._open_runner().backend
    run, inside, overlaps = backend.run, threading.Lock(), []

    def watched(feeds: Any) -> Any:
        if not inside.acquire(blocking=False):
            overlaps.append(True)
            return run(feeds)
        try:
            return run(feeds)
        finally:
            inside.release()

    monkeypatch.setattr(backend, "run", watched)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda i: localizer.run(frame(i)), range(THREADS * ROUNDS)))
    assert not overlaps


def test_a_clone_keeps_the_options_and_outlives_its_original(
    tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    path = tiny_onnx(tmp_path / "m.onnx")
    original = Localizer(path, threshold=0.3, top_k=3, min_score=0.1, max_boxes=2)
    expected = original.run(frame(0))
    twin = original.clone()
    original.close()
    assert (twin.threshold, twin.top_k, twin.min_score) == (original.threshold, 3, 0.1)
    assert twin.manifest == original.manifest
    again = twin.run(frame(0))
    assert same(again, expected)
    assert again.boxes == expected.boxes
    twin.close()
    with pytest.raises(BackendError, match="closed"):
        twin.run(frame(0))


def test_closing_while_another_thread_runs(localizer: Localizer) -> None:
    """A run in progress finishes; the next one is refused. Nothing else may come out."""
    started = threading.Event()

    def work() -> str:
        try:
            while True:
                localizer.run(frame(1))
                started.set()
        except BackendError as error:
            return str(error)

    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(work)
        started.wait()
        localizer.close()
        assert outcome.result() == "This Localizer is closed."
