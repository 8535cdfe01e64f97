"""Rows as text: the tables of docs/benchmarks.md, one line per finished run, comparisons."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from .conditions import REPOSITORY
from .rows import AccuracyRow, ParityRow, Provenance, Ratio, Row, SpeedRow, Timing, VideoRow

__all__ = ["PAGE", "compare_table", "newest", "page_with_rows", "row_line"]

PAGE = REPOSITORY / "docs" / "benchmarks.md"

_MARKED = re.compile(r"(<!-- rows: (\w+) -->\n).*?(<!-- end of rows -->)", re.S)
_Some = TypeVar("_Some", SpeedRow, VideoRow, ParityRow, AccuracyRow)


def page_with_rows(page: str, rows: Sequence[Row]) -> str:
    """The page with what stands between each pair of row markers written anew.

    Raises:
        KeyError: A marker names a table that does not exist.
    """
    tables = {
        "speed": lambda: _speed_tables(_only(rows, SpeedRow)),
        "video": lambda: _video_table(_only(rows, VideoRow)),
        "parity": lambda: _parity_table(_only(rows, ParityRow)),
        "accuracy": lambda: _accuracy_table(_only(rows, AccuracyRow)),
    }
    return _MARKED.sub(lambda found: f"{found[1]}{tables[found[2]]()}\n{found[3]}", page)


def newest(rows: Iterable[_Some]) -> list[_Some]:
    """The last row of each case on each machine, in the order of their first appearance."""
    last: dict[Hashable, _Some] = {}
    for row in rows:
        conditions = row.provenance.conditions
        machine = (conditions.get("cpu"), conditions.get("cores_usable"))
        key: Hashable = (row.case, machine)
        if isinstance(row, AccuracyRow):
            key = (row.data, row.model, row.method, row.threshold)
        elif isinstance(row, ParityRow):
            key = (row.data, row.model)
        last[key] = row
    return list(last.values())


def row_line(row: Row) -> str:
    """One line for the terminal."""
    if isinstance(row, SpeedRow):
        ours = f"ours {_ms(row.timings['ours'].p50_ms)} ms"
        baselines = [
            f"{_ratio(ratio)} over {name} ({_ms(row.timings[name].p50_ms)} ms)"
            for name, ratio in row.ratios.items()
        ]
        return "; ".join([ours, *baselines, row.verified])
    if isinstance(row, VideoRow):
        return (
            f"{row.frames} of {row.expected_frames} frames, {row.fps:g} frames/s, "
            f"memory drifts by {row.rss_drift_mib:g} MiB after frame 50"
        )
    if isinstance(row, ParityRow):
        return f"{row.same} of {row.images} boxes agree, {row.unexplained} unexplained"
    metrics = ", ".join(f"{name} {value:.1f}" for name, value in row.metrics.items())
    return f"{row.method} {row.threshold} {row.cut}: {metrics}"


def compare_table(before: Sequence[Row], after: Sequence[Row]) -> str:
    """Our medians of two sets of rows, case by case, newest first of each."""
    old = {row.case: row.timings["ours"] for row in newest(_only(before, SpeedRow))}
    new = {row.case: row.timings["ours"] for row in newest(_only(after, SpeedRow))}
    lines = [
        [case, _ms(old[case].p50_ms), _ms(new[case].p50_ms), _change(old[case], new[case])]
        for case in new
        if case in old
    ]
    return _table(["case", "before, ms", "after, ms", "change"], lines)


def _change(old: Timing, new: Timing) -> str:
    percent = 100 * (new.p50_ms / old.p50_ms - 1)
    apart = min(new.block_p50_ms) > max(old.block_p50_ms) or (
        max(new.block_p50_ms) < min(old.block_p50_ms)
    )
    return f"{percent:+.0f} %" if apart else f"{percent:+.0f} % (blocks overlap)"


def _only(rows: Iterable[Row], kind: type[_Some]) -> list[_Some]:
    return [row for row in rows if isinstance(row, kind)]


def _speed_tables(rows: Sequence[SpeedRow]) -> str:
    rows = newest(rows)
    lines: list[list[str]] = []
    stages: list[list[str]] = []
    for row in rows:
        ours = row.timings["ours"]
        for name, ratio in row.ratios.items():
            theirs = row.timings[name]
            target = row.targets.get(name)
            asked = "–" if target is None else f"≥ {target:g}×"
            shown = _ratio(ratio)
            if row.limit_ms is not None:  # the baseline is there for scale, not to be beaten
                asked, shown = f"ours < {row.limit_ms:g} ms", "–"
            lines.append([f"`{row.case}`", str(row.threads), _both(ours), name, _both(theirs),
                          shown, asked])  # fmt: skip
        stages += [
            [f"`{row.case}`", name, *(_ms(timing.stages_ms[s]) for s in ("pre", "infer", "post"))]
            for name, timing in row.timings.items()
            if timing.stages_ms
        ]
    headers = ["case", "threads", "ours, ms", "baseline", "its ms", "ratio", "asked"]
    parts = [_table(headers, lines)]
    if stages:
        parts.append(_table(["case", "variant", "pre, ms", "infer, ms", "post, ms"], stages))
    if rows:
        verified = dict.fromkeys(f"- `{row.case}`: {row.verified}." for row in rows)
        parts.append("\n".join(verified))
    return "\n\n".join([*parts, *_measured(rows)])


def _video_table(rows: Sequence[VideoRow]) -> str:
    rows = newest(rows)
    headers = ["video", "model", "frames", "frames/s", "pre / infer / post, ms",
               "at frame 50, MiB", "growth, MiB", "drift, MiB", "slope, KiB/frame"]  # fmt: skip
    lines = [
        [
            row.video,
            row.model,
            f"{row.frames} of {row.expected_frames}",
            f"{row.fps:g}",
            " / ".join(_ms(row.stages_ms[stage]) for stage in ("pre", "infer", "post")),
            f"{next((mib for frame, mib in row.rss_mib if frame >= 50), 0.0):.0f}",
            f"{row.rss_growth_mib:g}",
            f"{row.rss_drift_mib:g}",
            f"{row.rss_slope_kib_per_frame:g}",
        ]
        for row in rows
    ]
    return "\n\n".join([_table(headers, lines), *_measured(rows)])


def _parity_table(rows: Sequence[ParityRow]) -> str:
    rows = newest(rows)
    headers = ["model", "data", "images", "IoU ≥ 0.99", "at the cut", "class ties",
               "unexplained", "lowest IoU", "largest distance to the cut"]  # fmt: skip
    lines = [
        [
            *(row.model, row.data, str(row.images)),
            f"{row.same} ({100 * row.same / row.images:.2f} %)",
            *(str(row.at_the_cut), str(row.class_ties), str(row.unexplained)),
            *(f"{row.lowest_iou:.3f}", f"{row.largest_distance:.1e}"),
        ]
        for row in rows
    ]
    return "\n\n".join([_table(headers, lines), *_measured(rows)])


def _accuracy_table(rows: Sequence[AccuracyRow]) -> str:
    rows = newest(rows)
    names = list(dict.fromkeys(name for row in rows for name in row.metrics))
    lines = [
        [
            *(row.data, row.model, row.method, f"{row.threshold} ({row.cut})".replace(" ()", "")),
            *(f"{row.metrics[name]:.1f}" if name in row.metrics else "–" for name in names),
        ]
        for row in rows
    ]
    headers = ["data", "model", "method", "threshold", *names]
    training = dict.fromkeys(f"- {row.model}: {row.training}." for row in rows if row.training)
    notes = ["\n".join(training)] if training else []
    return "\n\n".join([_table(headers, lines), *notes, *_measured(rows)])


def _measured(rows: Sequence[Row]) -> list[str]:
    """Where these rows come from: one bullet for each distinct machine, commit and day."""
    said: dict[str, list[str]] = {}
    for row in rows:
        said.setdefault(_conditions(row.provenance), []).append(f"`{row.provenance.command}`")
    bullets = [
        f"- {conditions}\n  by {', '.join(dict.fromkeys(commands))}"
        for conditions, commands in said.items()
    ]
    return ["Measured:\n\n" + "\n".join(bullets)] if bullets else []


def _conditions(given: Provenance) -> str:
    """Without what changes from minute to minute; that stays in the JSON lines."""
    have = given.conditions
    features = " ".join(have.get("cpu_features", ()))
    versions = ", ".join(f"{name} {each}" for name, each in have.get("versions", {}).items())
    governor = f", governor {have['governor']}" if "governor" in have else ""
    power = f", power mode {have['power_mode']}" if "power_mode" in have else ""
    return (
        f"{given.date[:10]}, commit {given.commit}, {have.get('cpu', 'unknown CPU')} "
        f"({have.get('cores_usable', '?')} cores, {features}; ops path "
        f"{have.get('ops_path', '?')}{governor}{power}), "
        f"Python {have.get('python', '?')}, {versions};"
    )


def _table(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    if not lines:
        return "No rows yet."
    rule = "|".join("---" for _ in headers)
    rows = [f"| {' | '.join(headers)} |", f"|{rule}|"]
    return "\n".join([*rows, *(f"| {' | '.join(line)} |" for line in lines)])


def _both(timing: Timing) -> str:
    return f"{_ms(timing.p50_ms)} (p90 {_ms(timing.p90_ms)})"


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.median:.1f}× ({ratio.low:.1f}–{ratio.high:.1f})"


def _ms(value: float) -> str:
    """Three significant digits, plain notation."""
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"
