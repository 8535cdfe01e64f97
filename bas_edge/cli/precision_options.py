"""The options of `build-engine` that are about fewer bits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from bas_edge.errors import InputError

if TYPE_CHECKING:
    from bas_edge.quantization.job import PrecisionJob

__all__ = ["PrecisionOptions", "precision_job", "seconds"]

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_NAMES = {"eval_data": "--eval"}
_NAMING = ("calib", "eval_data", "eval_split", "background")
_ABOUT_CODES = ("calib_method", "search_budget", "reduce_range")  # void without int8


@dataclass(frozen=True, slots=True)
class PrecisionOptions:
    """As they were typed; defaults stand for what was left out."""

    calib: str | None = None
    calib_method: str | None = None
    calib_limit: int | None = None
    eval_data: str | None = None
    eval_split: str | None = None
    background: str | None = None
    max_drop: float | None = None
    min_agreement: float | None = None
    search_budget: str | None = None
    reduce_range: bool | None = None
    force: bool = False
    threads: int | None = None


def precision_job(
    options: PrecisionOptions, *, precision: str | None, rebuild: bool
) -> PrecisionJob | None:
    """The job that the options describe for a precision; None where nothing asks for one.

    Raises:
        InputError: Options without the images that they are about, or out of range.
    """
    left_out = PrecisionOptions()
    given = [
        field.name
        for field in fields(options)
        if getattr(options, field.name) != getattr(left_out, field.name)
    ]
    if not given:
        return None
    named = _named(given)
    if rebuild:
        raise InputError(
            f"--rebuild builds a plan of the graph that is there, so it takes no {named}.",
            hint="Leave them out, or build a new engine from the exported graph.",
        )
    if precision == "fp16" and (void := [name for name in given if name in _ABOUT_CODES]):
        raise InputError(
            f"{_named(void)} is about int8, and float16 has no codes and no ranges.",
            hint="Leave it out, or build with --precision int8.",
        )
    for name in _NAMING:  # a shell variable that is not set
        if name in given and not str(getattr(options, name)).strip():
            raise InputError(f"{_named([name])} is empty.", hint="Name images, or leave it out.")
    if options.calib is None:
        raise InputError(
            f"{named} needs calibration images.", hint="Add --calib IMAGES, real ones."
        )
    from bas_edge.quantization.job import PrecisionJob
    from bas_edge.quantization.yardstick import Bound

    defaults = Bound()
    return PrecisionJob(
        calibration=options.calib,
        method="auto" if options.calib_method is None else options.calib_method,
        limit=500 if options.calib_limit is None else options.calib_limit,
        evaluation=options.eval_data,
        evaluation_split=options.eval_split,
        background=options.background,
        bound=Bound(
            defaults.max_drop if options.max_drop is None else options.max_drop,
            defaults.min_agreement if options.min_agreement is None else options.min_agreement,
        ),
        search_budget_s=seconds("30m" if options.search_budget is None else options.search_budget),
        reduce_range=options.reduce_range,
        force=options.force,
        threads=options.threads,
        must_apply=tuple(name for name in ("max_drop", "min_agreement") if name in given),
    )


def _named(given: Iterable[str]) -> str:
    return ", ".join(_NAMES.get(name, f"--{name.replace('_', '-')}") for name in given)


def seconds(text: str) -> float:
    """A time such as "90", "90s", "10m" or "1.5h".

    Raises:
        InputError: It is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([smh]?)\s*", text)
    if found is None:
        raise InputError(
            f"--search-budget is '{text}', which is no time.", hint="Write 90s, 10m or 1.5h."
        )
    return float(found[1]) * _UNITS[found[2]]
