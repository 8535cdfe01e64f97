"""The options of smoothing: what is refused, and what the presets are."""

from __future__ import annotations

import math

import pytest

from bas_edge.errors import InputError
from bas_edge.video import Smoothing

TIMES = ["map_time_s", "min_cutoff_hz", "beta", "class_time_s", "hold_s", "forget_s"]
SHARES = ["class_margin", "release", "cut"]


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize("name", TIMES)
def test_a_time_or_frequency_is_finite_and_not_negative(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} is {value}, but must be a finite") as caught:
        Smoothing(**{name: value})
    assert caught.value.hint is not None
    assert name in caught.value.hint


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize("name", SHARES)
def test_a_share_is_0_to_1(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} is {value}, but must be 0 to 1"):
        Smoothing(**{name: value})


def test_everything_cannot_be_forgotten_at_once() -> None:
    with pytest.raises(InputError, match="forget_s is 0, but must be longer"):
        Smoothing(forget_s=0)


def test_the_presets() -> None:
    assert Smoothing.named("light") == Smoothing()
    off, light, strong = (Smoothing.named(name) for name in ("off", "light", "strong"))
    assert not off.active
    assert not off.looks
    assert light.active
    assert light.looks
    assert strong.map_time_s > light.map_time_s > off.map_time_s == 0
    with pytest.raises(InputError, match="Unknown smoothing 'much': it must be one of off, light"):
        Smoothing.named("much")


@pytest.mark.parametrize(
    "options",
    [
        {"map_time_s": 0.1},
        {"class_time_s": 0.1},
        {"min_cutoff_hz": 1.0},
        {"class_margin": 0.1},
        {"release": 0.9},
        {"hold_s": 0.1},
    ],
)
def test_each_option_alone_makes_it_active(options: dict[str, float]) -> None:
    off = {"map_time_s": 0.0, "class_time_s": 0.0, "class_margin": 0.0, "release": 1.0}
    nothing = {**off, "hold_s": 0.0, "cut": 0.0}
    assert not Smoothing(motion=False, **nothing).active
    assert Smoothing(motion=False, **{**nothing, **options}).active
