"""Which form of maps an exported graph has: what was asked for, or the cheapest that serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bas_edge.engine.manifest import MapsForm
from bas_edge.errors import InputError
from bas_edge_training.methods import Method

__all__ = ["Choice", "Form", "choose_form"]

Form = Literal["auto", "all", "selected", "mean"]
_MIN_MEAN_CLASSES = 8  # fewer maps cost next to nothing


@dataclass(frozen=True, slots=True)
class Choice:
    """Which form, and why. `asked` for by name: then another form is an error, not a choice."""

    form: MapsForm
    k: int
    top_k: int
    reason: str
    asked: bool


def choose_form(
    method: Method,
    classes: int,
    maps: Form,
    k: int | None,
    top_k: int | None,
    *,
    default: int = 1,
    selectable: bool = True,
) -> Choice:
    """The form that the options ask for, or the cheapest that serves them.

    Args:
        method: What computes the maps.
        classes: How many there are.
        maps, k, top_k: As for `export`.
        default: Maps that are averaged where nobody says it.
        selectable: See `Method.selectable`.

    Raises:
        InputError: The options contradict each other, the number of classes or the method.
    """
    for name, value in (("k", k), ("top_k", top_k)):
        if value is not None and not 1 <= value <= classes:
            raise InputError(f"{name} is {value}, but the model has {classes} classes.")
    asked = maps != "auto"
    if method.class_free:
        if maps not in ("auto", "mean") or {k, top_k} - {None, 1}:
            raise InputError(
                f"{method.title} has one map for all classes, but {_wanted(maps, k, top_k)}.",
                hint="Leave maps, k and top_k out.",
            )
        return Choice("mean", 1, 1, "one map serves all classes", asked)
    averaged = top_k or min(k or classes, default)
    if maps == "all" and k not in (None, classes):
        raise InputError(f'maps="all" computes all {classes} class maps, but k is {k}.')
    if maps == "mean" and not method.averages:
        raise InputError(
            f"A mean map is distilled from BAS's generator; {method.title} has none.",
            hint='Use maps="all" or "selected".',
        )
    if maps == "mean" and {k, top_k} - {None, classes}:
        raise InputError(
            f'maps="mean" averages all {classes} classes, but k is {k} and top_k is {top_k}.',
            hint='Leave k and top_k out, or use maps="selected".',
        )
    computed = {"all": classes, "mean": classes}.get(maps, k or averaged)
    if averaged > computed:
        raise InputError(f"top_k is {averaged}, but only k = {computed} maps are computed.")
    if maps == "selected" and computed == classes:
        raise InputError(
            f'maps="selected" needs fewer maps than the {classes} classes.',
            hint='Give k or top_k, or use maps="all".',
        )
    every = averaged == computed == classes >= _MIN_MEAN_CLASSES
    if maps == "mean" or (not asked and method.averages and every):
        return Choice("mean", 1, 1, "", asked)
    if computed < classes and not selectable:
        if asked or k is not None:
            raise InputError(
                f"{method.title} of class maps behind a ReLU cannot leave classes out.",
                hint='Use maps="all", without k.',
            )
        return Choice("all", classes, averaged, "its maps cannot be picked by class", asked)
    if computed < classes:
        reason = f"{averaged} of {classes} classes are averaged, so no other map is computed"
        if averaged == computed == 1:
            reason = f"the best of {classes} classes is shown, and no other map is computed"
        return Choice("selected", computed, averaged, reason, asked)
    reason = "asked for" if asked else f"{averaged} of {classes} class maps are averaged"
    return Choice("all", classes, averaged, reason, asked)


def _wanted(maps: Form, k: int | None, top_k: int | None) -> str:
    if maps not in ("auto", "mean"):
        return f'maps is "{maps}"'
    return f"k is {k} and top_k is {top_k}"
