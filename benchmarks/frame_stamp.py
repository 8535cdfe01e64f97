"""A number as black and white squares in the corner of a picture.

Twelve bits of the number and four of a check sum, as 4×4 squares of 16×16 pixels. Pure Python:
the RTSP server of the stream checks runs on the system's interpreter, which may lack NumPy.
"""

from __future__ import annotations

__all__ = ["GRID", "SQUARE", "check_sum", "squares"]

SQUARE = 16
GRID = 4


def squares(number: int) -> list[list[bool]]:
    """[4][4], True is white."""
    code = number << 4 | check_sum(number)
    bits = [bool(code >> at & 1) for at in reversed(range(GRID * GRID))]
    return [bits[at : at + GRID] for at in range(0, GRID * GRID, GRID)]


def check_sum(number: int) -> int:
    """Four bits; neither all black nor all white is a number."""
    return (number * 7 + (number >> 4) * 5 + (number >> 8) * 3 + 9) & 15
