"""The Pareto picture as SVG: latency across, accuracy up, the front drawn, each point labelled.

Written by hand, so that equal rows give equal bytes on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from .label_places import Box, place_labels
from .pareto_rows import Candidate, ParetoPoint, front

__all__ = ["pareto_picture"]

_WIDTH = 960
_LEFT, _TOP, _RIGHT, _BOTTOM = 70, 56, 940, 470  # of the plotted area
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a5c00", "#56b4e9", "#b2182b", "#555555")
_RADIUS = 5.0
_LETTER = 6.4  # width of a letter of a label, about
_LINE = 13.0  # height of a label


class _Dot(NamedTuple):
    """A timed point, and where it is drawn."""

    point: ParetoPoint
    x: float
    y: float


class _Axes(NamedTuple):
    """The plotted ranges: log of milliseconds, and percent."""

    log_from: float
    log_to: float
    low: float
    high: float

    def x(self, ms: float) -> float:
        share = (math.log10(ms) - self.log_from) / (self.log_to - self.log_from)
        return _LEFT + share * (_RIGHT - _LEFT)

    def y(self, percent: float) -> float:
        return _BOTTOM - (percent - self.low) / (self.high - self.low) * (_BOTTOM - _TOP)


def pareto_picture(points: Sequence[ParetoPoint]) -> str | None:
    """An SVG document; None where no point has been timed."""
    timed = [(point, point.frame_ms) for point in points if point.frame_ms is not None]
    if not timed:
        return None
    axes = _axes([ms for _, ms in timed], [point.score for point, _ in timed])
    dots = [_Dot(point, axes.x(ms), axes.y(point.score)) for point, ms in timed]
    best = [point.candidate for point in front(points)]
    names = list(dict.fromkeys(dot.point.candidate.name for dot in dots))
    colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(names)}
    body = [
        *_grid(axes, dots[0].point),
        *_front_line([dot for dot in dots if dot.point.candidate in best]),
        *_series(dots, colours),
        *(_marker(dot, colours, dot.point.candidate in best) for dot in dots),
        *_labels(dots, colours, best),
        *_legend(dots, colours),
    ]
    height = _legend_row(len(names) + 2) + 12
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            f'width="{_WIDTH}" height="{height}" font-family="Helvetica, Arial, sans-serif">',
            f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            *body,
            "</svg>\n",
        ]
    )


def _axes(times_ms: Sequence[float], scores: Sequence[float]) -> _Axes:
    """A little more than the points need; whole steps of two percent."""
    low, high = 2 * math.floor(min(scores) / 2 - 0.25), 2 * math.ceil(max(scores) / 2 + 0.25)
    logs = [math.log10(ms) for ms in times_ms]
    margin = max(0.06, 0.06 * (max(logs) - min(logs)))
    return _Axes(min(logs) - margin, max(logs) + margin, low, high)


def _grid(axes: _Axes, first: ParetoPoint) -> Iterable[str]:
    title = f"{first.accuracy.data}: MaxBoxAccV2 at the shipped threshold, percent"
    threads = first.speed.threads if first.speed else 0
    below = f"one frame of 1280×720 to its box, milliseconds, {threads} threads (log scale)"
    yield _text(_LEFT, _TOP - 32, title, size=15, weight="bold")
    yield _text(
        _LEFT, _TOP - 14, "Grey line: the front. Numbers: side of the network's input.",
        size=12, colour="#555555",
    )  # fmt: skip
    yield _text((_LEFT + _RIGHT) / 2, _BOTTOM + 40, below, size=13, anchor="middle")
    for percent in range(int(axes.low), int(axes.high) + 1, 2):
        y = axes.y(percent)
        yield _line(_LEFT, y, _RIGHT, y, "#e6e6e6")
        yield _text(_LEFT - 8, y + 4, str(percent), size=12, anchor="end")
    for ms in _ticks(axes):
        x = axes.x(ms)
        yield _line(x, _TOP, x, _BOTTOM, "#f0f0f0")
        yield _text(x, _BOTTOM + 18, f"{ms:g}", size=12, anchor="middle")
    yield _line(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, "#333333")
    yield _line(_LEFT, _TOP, _LEFT, _BOTTOM, "#333333")


def _ticks(axes: _Axes) -> list[float]:
    """Round milliseconds inside the range; more of them on a short axis."""
    steps = (1, 2, 5) if axes.log_to - axes.log_from > 1.3 else (1, 1.5, 2, 3, 4, 5, 6, 8)
    powers = range(math.floor(axes.log_from), math.ceil(axes.log_to) + 1)
    every = [step * 10.0**power for power in powers for step in steps]
    return [ms for ms in every if axes.log_from <= math.log10(ms) <= axes.log_to]


def _front_line(dots: Sequence[_Dot]) -> Iterable[str]:
    """Stairs: to the right of a point of the front, nothing below it is worth its time."""
    stairs: list[str] = []
    for dot in sorted(dots, key=lambda dot: dot.x):
        if stairs:
            stairs.append(f"H{dot.x:.1f}")
        stairs.append(f"{'V' if stairs else f'M{dot.x:.1f} '}{dot.y:.1f}")
    yield (
        f'<path d="{" ".join([*stairs, f"H{_RIGHT}"])}" fill="none" stroke="#b8b8b8" '
        'stroke-width="5" stroke-linejoin="round"/>'
    )


def _series(dots: Sequence[_Dot], colours: dict[str, str]) -> Iterable[str]:
    """Thin lines through the sizes of one model in one precision."""
    series: dict[tuple[str, str], list[_Dot]] = {}
    for dot in dots:
        series.setdefault((dot.point.candidate.name, dot.point.candidate.precision), []).append(dot)
    for (name, _), members in series.items():
        ordered = sorted(members, key=lambda dot: dot.point.candidate.input_size)
        path = " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in ordered)
        yield (
            f'<polyline points="{path}" fill="none" stroke="{colours[name]}" '
            'stroke-width="1" stroke-opacity="0.45"/>'
        )


def _marker(dot: _Dot, colours: dict[str, str], best: bool) -> str:
    """A circle is fp32, a square fp16, a triangle int8; filled where it is on the front."""
    candidate = dot.point.candidate
    colour = colours[candidate.name]
    tip = escape(f"{candidate.title}: {dot.point.score:.1f} %, {dot.point.frame_ms:g} ms")
    shape = _shape(candidate.precision, dot.x, dot.y)
    style = f'fill="{colour if best else "#ffffff"}" stroke="{colour}" stroke-width="1.8"'
    return f"<{shape} {style}><title>{tip}</title></{shape.split()[0]}>"


def _shape(precision: str, x: float, y: float) -> str:
    if precision == "fp16":
        side = 1.8 * _RADIUS
        return f'rect x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" width="{side}" height="{side}"'
    if precision == "int8":
        high, wide = 1.2 * _RADIUS, 1.25 * _RADIUS
        corners = ((x, y - high), (x + wide, y + high * 0.8), (x - wide, y + high * 0.8))
        return 'polygon points="' + " ".join(f"{a:.1f},{b:.1f}" for a, b in corners) + '"'
    return f'circle cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS:g}"'


def _labels(
    dots: Sequence[_Dot], colours: dict[str, str], best: Sequence[Candidate]
) -> Iterable[str]:
    """The input size beside each point, where it covers least; the front's first and in bold."""
    ordered = sorted(dots, key=lambda dot: dot.point.candidate not in best)
    texts = [str(dot.point.candidate.input_size) for dot in ordered]
    places = place_labels(
        [(dot.x, dot.y) for dot in ordered],
        [(_LETTER * len(text), _LINE) for text in texts],
        radius=_RADIUS,
        inside=Box(_LEFT, _TOP, _RIGHT, _BOTTOM),
    )
    for dot, text, place in zip(ordered, texts, places, strict=True):
        colour = colours[dot.point.candidate.name]
        middle = (place.left + place.right) / 2
        if place.distance(dot.x, dot.y) > 2 * _RADIUS:
            yield _line(dot.x, dot.y, middle, (place.top + place.bottom) / 2, colour, opacity=0.35)
        weight = "bold" if dot.point.candidate in best else "normal"
        yield _text(
            middle, place.bottom - 2.5, text,
            size=11, anchor="middle", colour=colour, weight=weight, halo=True,
        )  # fmt: skip


def _legend(dots: Sequence[_Dot], colours: dict[str, str]) -> Iterable[str]:
    """Models by colour, precisions by shape, below the picture."""
    first = {name: next(d for d in dots if d.point.candidate.name == name) for name in colours}
    for index, (name, dot) in enumerate(first.items()):
        x, y = _LEFT + (index % 2) * 440, _legend_row(index)
        yield f'<circle cx="{x}" cy="{y}" r="{_RADIUS:g}" fill="{colours[name]}"/>'
        yield _text(x + 12, y + 4, f"{name}: {_described(dot.point.candidate)}", size=12)
    shown = [p for p in ("fp32", "fp16", "int8")
             if any(dot.point.candidate.precision == p for dot in dots)]  # fmt: skip
    y = _legend_row(len(first) + 1)
    for index, precision in enumerate(shown):
        x = _LEFT + index * 70
        yield f'<{_shape(precision, x, y)} fill="#ffffff" stroke="#333333" stroke-width="1.8"/>'
        yield _text(x + 12, y + 4, precision, size=12)
    yield _text(_LEFT + len(shown) * 70, y + 4, "filled: on the front", size=12, colour="#555555")


def _legend_row(index: int) -> int:
    """Height of the entry of that index, two in a row."""
    return _BOTTOM + 66 + (index // 2) * 18


def _described(candidate: Candidate) -> str:
    known = (
        f"{candidate.head} head" if candidate.head else "",
        f"width {candidate.width:g}" if candidate.width else "",
        f"map stride {candidate.map_stride}" if candidate.map_stride else "",
        f"trained at {candidate.trained_at}" if candidate.trained_at else "",
    )
    return ", ".join(filter(None, known)) or "nothing known"


def _line(x0: float, y0: float, x1: float, y1: float, colour: str, *, opacity: float = 1) -> str:
    return (
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{colour}" '
        f'stroke-opacity="{opacity:g}"/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    anchor: str = "start",
    colour: str = "#222222",
    weight: str = "normal",
    halo: bool = False,
) -> str:
    """With `halo`, a white outline behind the letters, so that lines do not cross them."""
    outline = ' stroke="#ffffff" stroke-width="3" paint-order="stroke"' if halo else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{colour}"{outline}>{escape(text)}</text>'
    )
