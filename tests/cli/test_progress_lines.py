"""What a verb says of its progress where stderr is no terminal."""

from __future__ import annotations

import io
import sys
import time

import pytest

from bas_edge.cli import output


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, in its only item."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_line_every_half_minute_and_none_in_less(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with output.shown_progress("seeds") as progress:
        for done in range(41, 121):  # the first 40 were made before
            progress(done, 200)
            clock[0] += 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "seeds: 71 of 200  ETA 2 min",  # 30 in 30 s: 129 s more
        "seeds: 101 of 200  ETA 2 min",
    ]


def test_a_terminal_has_the_bar_alone(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with output.shown_progress("seeds") as progress:
        for done in range(1, 100):
            progress(done, 200)
            clock[0] += 1
    written = terminal.getvalue()
    assert "seeds" in written
    assert "seeds: " not in written
