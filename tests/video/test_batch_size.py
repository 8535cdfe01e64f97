"""Which batch size is picked, from made-up times."""

from __future__ import annotations

from collections import Counter

from bas_edge.video.batch_size import BatchSize


def run(sizes: BatchSize, ready: int, batches: int, cost_ms: dict[int, float]) -> Counter[int]:
    """Choose and learn; how often each size was chosen in the second half."""
    chosen: Counter[int] = Counter()
    for number in range(batches):
        size = sizes.choose(ready)
        sizes.learn(size, size * cost_ms[size])
        chosen[size] += number >= batches // 2
    return chosen


def test_a_processor_gains_nothing_and_takes_one_at_a_time() -> None:
    chosen = run(BatchSize(8), 8, 400, {1: 10.0, 2: 9.8, 4: 9.9, 8: 10.2})
    assert chosen.most_common(1)[0][0] == 1
    assert chosen[1] > 190


def test_a_gpu_gains_and_takes_many() -> None:
    chosen = run(BatchSize(8), 8, 400, {1: 3.0, 2: 1.6, 4: 0.9, 8: 0.5})
    assert chosen[8] > 190


def test_never_more_than_there_are_or_may_be() -> None:
    cost = {1: 3.0, 2: 1.6, 4: 0.9, 8: 0.5, 16: 0.3}
    assert max(run(BatchSize(8), 100, 400, cost)) == 8
    assert max(run(BatchSize(8), 3, 400, cost)) == 2
    assert set(run(BatchSize(1), 100, 50, cost)) == {1}
    assert BatchSize(3).choose(0) == 1


def test_a_slow_moment_changes_nothing() -> None:
    sizes = BatchSize(4)
    cost = {1: 3.0, 2: 1.6, 4: 0.9}
    sizes.learn(4, 5000.0)  # the first time is a warm-up
    assert run(sizes, 4, 400, cost)[4] > 190
    for _ in range(3):
        sizes.learn(4, 5000.0)
    assert sizes.choose(4) == 4


def test_it_looks_again_and_follows_a_machine_that_changed() -> None:
    sizes = BatchSize(4)
    run(sizes, 4, 400, {1: 3.0, 2: 1.6, 4: 0.9})
    assert run(sizes, 4, 8000, {1: 1.0, 2: 2.0, 4: 3.0})[1] > 3500


def test_what_was_tried_is_told() -> None:
    sizes = BatchSize(2)
    sizes.learn(1, 4.0)
    sizes.learn(2, 6.0)
    sizes.learn(3, 1.0)  # a batch that came out smaller
    assert sizes.costs_ms() == {1: 4.0, 2: 3.0}
