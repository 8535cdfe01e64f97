"""An engine for the tests of the server, and a server that many of them share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from served import Served, a_camera, our_threads, served, tiny_engine

from bas_edge.video import Stream

Serve = Callable[..., AbstractContextManager[Served]]


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine that no test changes."""
    return tiny_engine(tmp_path_factory.mktemp("engine"))


@pytest.fixture
def own_engine(tmp_path: Path) -> Path:
    """An engine to save into."""
    return tiny_engine(tmp_path)


@pytest.fixture
def serve(engine: Path) -> Serve:
    """`serve(*streams, **options)`: see `served`; one camera by default."""

    def run(*streams: Stream, **options: object) -> AbstractContextManager[Served]:
        return served(engine, *(streams or [a_camera()]), **options)

    return run


@pytest.fixture(scope="module")
def shared(engine: Path) -> Iterator[Served]:
    """One camera, "door", with generous limits, for tests that leave everything as it was."""
    with served(
        engine, a_camera(), reads_per_s=1e4, changes_per_s=1e4, wrong_tokens_per_minute=1e5
    ) as running:
        yield running


@pytest.fixture(autouse=True, scope="module")
def nothing_is_left() -> Iterator[None]:
    """No thread of ours outlives the tests of a file."""
    before = our_threads()
    yield
    deadline = time.monotonic() + 5
    while our_threads() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert our_threads() <= before
