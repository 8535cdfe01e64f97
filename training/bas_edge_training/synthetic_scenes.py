"""Drawing: small beetle-like creatures on cluttered ground, for the synthetic data set.

A creature has a patterned front half, which tells its class at once, and a plain rear
half that belongs to it all the same: a classifier looks at the first, a box must hold both.
All of it has the hue of its species, as leaves and stones around it may have too, though
paler. Place, size, direction and light say nothing about the class.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["SPECIES", "Pose", "Species", "draw_creature", "draw_ground", "random_pose"]

Pattern = Literal["stripes", "spots", "checks", "rings", "chevrons", "rays"]
Rgb = tuple[int, int, int]

SUPERSAMPLING = 2
PATTERN_ENDS = -0.15  # u: the pattern covers the body from here to its front


@dataclass(frozen=True, slots=True)
class Species:
    """One class: a pattern, a hue and an outline. All species share sizes and poses.

    Attributes:
        name: Class name and folder name.
        pattern: What the front of the body shows.
        hue: Of the body, 0 to 1; each creature's own differs a little.
        slimness: Width of the body over its length.
        squareness: Exponent of the superellipse; 2 is an ellipse, higher is boxier.
    """

    name: str
    pattern: Pattern
    hue: float
    slimness: float
    squareness: float


SPECIES = (
    Species("striped", "stripes", 0.13, 0.52, 2.6),
    Species("spotted", "spots", 0.00, 0.78, 2.0),
    Species("checked", "checks", 0.58, 0.56, 4.0),
    Species("ringed", "rings", 0.76, 0.70, 2.4),
    Species("chevron", "chevrons", 0.34, 0.50, 2.0),
    Species("rayed", "rays", 0.47, 0.86, 3.0),
)


class Pose(NamedTuple):
    """Where a creature is. `x`, `y`: its centre in pixels; `length`: nose to tail in pixels;
    `angle`: of its nose, in radians, 0 to the right and growing clockwise on the picture.
    """

    x: float
    y: float
    length: float
    angle: float


def random_pose(rng: np.random.Generator, size: tuple[int, int]) -> Pose:
    """A pose that lies inside a frame of size (H, W), 45 to 90 % of its short side long."""
    H, W = size
    length = rng.uniform(0.45, 0.9) * min(H, W)
    margin = 0.5 * length + 1
    x, y = rng.uniform(margin, W - margin), rng.uniform(margin, H - margin)
    return Pose(x, y, length, rng.uniform(0, 2 * np.pi))


def draw_creature(
    frame: Image.Image, species: Species, pose: Pose, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw one creature into an RGB `frame`. Returns its box: xyxy, half-open, in pixels."""
    W, H = frame.size
    reach = 0.56 * pose.length
    x0, y0 = max(0, int(pose.x - reach)), max(0, int(pose.y - reach))
    x1, y1 = min(W, int(pose.x + reach) + 1), min(H, int(pose.y + reach) + 1)
    colour, alpha = _paint(species, pose, (x0, y0, x1, y1), rng)

    shadow = Image.new("L", (x1 - x0, y1 - y0))
    shadow.paste(Image.fromarray(alpha), (int(0.03 * pose.length), int(0.04 * pose.length)))
    shadow = shadow.filter(ImageFilter.GaussianBlur(0.025 * pose.length))
    frame.paste((10, 12, 14), (x0, y0), shadow.point([v // 2 for v in range(256)]))
    frame.paste(Image.fromarray(colour), (x0, y0), Image.fromarray(alpha))

    rows, columns = np.nonzero(alpha >= 128)
    left, right = x0 + int(columns.min()), x0 + int(columns.max()) + 1
    top, bottom = y0 + int(rows.min()), y0 + int(rows.max()) + 1
    return left, top, right, bottom


def draw_ground(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """An RGB picture of size (H, W) with leaves, blades, stones and soft light; no creature."""
    H, W = size
    scale = min(H, W)
    hue = rng.uniform(0, 1)
    palette = [_rgb(hue + rng.normal(0, 0.12), rng.uniform(0.05, 0.3), rng.uniform(0.25, 0.85))
               for _ in range(8)]  # fmt: skip
    ground = _soft_noise(rng, size, palette[:4])
    draw = ImageDraw.Draw(ground)
    for _ in range(int(rng.integers(25, 60))):
        x, y, extent = rng.uniform(0, W), rng.uniform(0, H), rng.uniform(0.03, 0.22) * scale
        angle = rng.uniform(0, 2 * np.pi)
        ink = palette[int(rng.integers(len(palette)))]
        kind = rng.integers(4)
        if kind == 0:
            draw.polygon(_leaf(x, y, extent, angle), fill=ink)
        elif kind == 1:
            draw.polygon(_stone(rng, x, y, extent * 0.6), fill=ink)
        elif kind == 2:
            _blade(draw, (x, y), extent * 2.5, angle, ink, max(1, int(0.012 * scale)))
        else:
            draw.ellipse((x - extent / 3, y - extent / 3, x + extent / 3, y + extent / 3), fill=ink)
    grain = rng.normal(0, 5, (H, W, 1)).astype(np.float32)
    pixels = np.asarray(ground.filter(ImageFilter.GaussianBlur(0.6)), np.float32) + grain
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def draw_blades(frame: Image.Image, rng: np.random.Generator, most: int = 2) -> None:
    """Draw up to `most` thin blades of grass over whatever is in the frame."""
    W, H = frame.size
    draw = ImageDraw.Draw(frame)
    for _ in range(int(rng.integers(0, most + 1))):
        start = (rng.uniform(0, W), rng.uniform(0, H))
        ink = _rgb(rng.uniform(0, 1), rng.uniform(0.05, 0.3), rng.uniform(0.2, 0.8))
        width = max(1, int(0.015 * min(H, W)))
        _blade(draw, start, 0.6 * min(H, W), rng.uniform(0, 2 * np.pi), ink, width)


def _paint(
    species: Species, pose: Pose, window: tuple[int, int, int, int], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The creature's colours [h, w, 3] and coverage [h, w] (0 to 255) inside a window."""
    x0, y0, x1, y1 = window
    step = 1 / SUPERSAMPLING
    ys, xs = np.mgrid[y0:y1:step, x0:x1:step].astype(np.float32) + np.float32(step / 2)
    cos, sin = np.cos(pose.angle), np.sin(pose.angle)
    half = pose.length / 2
    u = ((xs - pose.x) * cos + (ys - pose.y) * sin) / half  # -1 tail … 1 nose
    v = ((ys - pose.y) * cos - (xs - pose.x) * sin) / half  # across, in the same unit

    p, b = species.squareness, species.slimness
    radius = (np.abs(u) ** p + np.abs(v / b) ** p) ** (1 / p)  # 1 on the outline
    inside = radius <= 1

    hue = species.hue + rng.uniform(-0.03, 0.03)
    plain = np.array(_rgb(hue, rng.uniform(0.6, 0.95), rng.uniform(0.55, 0.95)), np.float32)
    shade = (0.85, 0.25) if rng.random() < 0.5 else (0.3, 1.0)  # dark or pale ink
    ink = np.array(_rgb(hue, *shade), np.float32)
    patterned = _pattern(species.pattern, u, v) & (u > PATTERN_ENDS)
    colour = np.where(patterned[..., None], ink, plain)
    light = 1.12 - 0.5 * radius**3 + 0.18 * np.exp(-((u + 0.1) ** 2 + (v + 0.2) ** 2) / 0.05)
    light = np.where(radius > 0.95, 0.5, light)  # a darker rim
    colour = np.clip(colour * light[..., None], 0, 255)

    coverage = _halve(inside[..., None].astype(np.float32) * 255)[..., 0]
    return _halve(colour).astype(np.uint8), coverage.astype(np.uint8)


def _pattern(pattern: Pattern, u: NDArray[np.float32], v: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a pattern has ink. Its cells are about a fifth of the body's length."""
    f = np.float32(2 * np.pi / 0.4)
    if pattern == "stripes":
        ink = np.sin(f * u) > 0
    elif pattern == "spots":
        ink = np.cos(f * u) + np.cos(f * v) > 0.6
    elif pattern == "checks":
        ink = np.sin(f * u) * np.sin(f * v) > 0
    elif pattern == "rings":
        ink = np.sin(f * np.hypot(u - 0.38, v)) > 0
    elif pattern == "chevrons":
        ink = np.sin(f * (u - np.abs(v))) > 0
    else:
        ink = np.sin(8 * np.arctan2(v, u - 0.35)) > 0
    return np.asarray(ink)


def _halve(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average SUPERSAMPLING × SUPERSAMPLING blocks of [h, w, c]."""
    h, w, c = pixels.shape
    s = SUPERSAMPLING
    blocks = pixels.reshape(h // s, s, w // s, s, c)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def _soft_noise(rng: np.random.Generator, size: tuple[int, int], palette: list[Rgb]) -> Image.Image:
    """Colours of the palette that run into one another, with a little finer mottling."""
    H, W = size
    colours = np.array(palette, np.uint8)
    ground = Image.fromarray(colours[rng.integers(len(palette), size=(4, 5))])
    ground = ground.resize((W, H), Image.Resampling.BICUBIC)
    mottle = rng.integers(0, 256, (H // 8, W // 8), dtype=np.uint8)
    cover = Image.fromarray(mottle).resize((W, H), Image.Resampling.BICUBIC)
    ground.paste(palette[-1], (0, 0), cover.point([v // 3 for v in range(256)]))
    return ground


def _rgb(hue: float, saturation: float, value: float) -> Rgb:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return int(255 * red), int(255 * green), int(255 * blue)


def _leaf(x: float, y: float, extent: float, angle: float) -> list[tuple[float, float]]:
    along = np.linspace(0, np.pi, 9)
    u = np.concatenate([-np.cos(along), np.cos(along)])
    v = np.concatenate([np.sin(along) ** 2, -(np.sin(along) ** 2)]) * 0.35
    return _placed(u, v, x, y, extent, angle)


def _stone(
    rng: np.random.Generator, x: float, y: float, extent: float
) -> list[tuple[float, float]]:
    around = np.linspace(0, 2 * np.pi, 8)[:-1]
    reach = rng.uniform(0.6, 1.1, around.size)
    return _placed(reach * np.cos(around), reach * np.sin(around), x, y, extent, 0.0)


def _placed(
    u: NDArray[np.float64], v: NDArray[np.float64], x: float, y: float, extent: float, angle: float
) -> list[tuple[float, float]]:
    cos, sin = np.cos(angle), np.sin(angle)
    xs, ys = x + extent * (u * cos - v * sin), y + extent * (u * sin + v * cos)
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def _blade(
    draw: ImageDraw.ImageDraw,
    start: tuple[float, float],
    length: float,
    angle: float,
    ink: Rgb,
    width: int,
) -> None:
    t = np.linspace(0, 1, 7)
    bend = 0.25 * length * np.sin(np.pi * t / 2) ** 2
    xs = start[0] + length * t * np.cos(angle) - bend * np.sin(angle)
    ys = start[1] + length * t * np.sin(angle) + bend * np.cos(angle)
    draw.line(
        list(zip(xs.tolist(), ys.tolist(), strict=True)), fill=ink, width=width, joint="curve"
    )
