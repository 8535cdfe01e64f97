"""Which engines the Pareto picture compares: a TOML plan, or a folder of what is there.

    baseline = "paper"           # the run whose eager model every time is set against

    [[model]]
    run = "edge"                 # a run folder below --runs
    sizes = [160, 192, 224]      # of the network's input, in pixels
    precisions = ["fp32"]        # each with each size

A run may stand in several tables, for precisions that only some sizes shall have.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from bas_edge.engine.manifest import Precision
from bas_edge.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Plan", "PlannedEngine", "read_plan"]


class _Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    run: str
    sizes: Annotated[tuple[int, ...], msgspec.Meta(min_length=1)]
    precisions: Annotated[tuple[Precision, ...], msgspec.Meta(min_length=1)] = ("fp32",)


class _PlanFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    baseline: str
    model: Annotated[tuple[_Model, ...], msgspec.Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class PlannedEngine:
    """An engine to measure: one that is there, or one to be made of a run.

    Attributes:
        name: Of the run, or of the file without its ending.
        run: The run folder; None where the engine is there already.
        size, precision: How to export and build `run`; 0 and "fp32" where the engine says it.
        path: The engine that is there; None where it is to be made.
    """

    name: str
    run: Path | None = None
    size: int = 0
    precision: Precision = "fp32"
    path: Path | None = None

    @property
    def title(self) -> str:
        """Such as "w050 160 fp32"; of an engine that is there, its name."""
        return self.name if self.run is None else f"{self.name} {self.size} {self.precision}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All engines, in order, and the run of the baseline (None where nobody said)."""

    engines: tuple[PlannedEngine, ...]
    baseline: Path | None


def read_plan(source: Path, *, runs: Path, baseline: Path | None = None) -> Plan:
    """A plan file; or a folder, whose `.engine` folders and other `.onnx` files are measured.

    Args:
        source: The TOML file or the folder.
        runs: Where the plan's runs are.
        baseline: A run folder, instead of the plan's own baseline.

    Raises:
        InputError: No such file, not a plan, or a folder without engines.
    """
    if source.is_dir():
        found = {path.stem: path for path in [*source.glob("*.onnx"), *source.glob("*.engine")]}
        if not found:
            raise InputError(f"{source} holds neither an .engine folder nor an .onnx file.")
        engines = [PlannedEngine(name, path=path) for name, path in sorted(found.items())]
        return Plan(tuple(engines), baseline)
    try:
        content = tomllib.loads(source.read_text(encoding="utf-8"))
        plan = msgspec.convert(content, _PlanFile)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InputError(
            f"{source} is no plan of engines: {error}.", hint="benchmarks/pareto.toml is one."
        ) from None
    planned = dict.fromkeys(
        PlannedEngine(model.run, runs / model.run, size, precision)
        for model in plan.model
        for precision in model.precisions
        for size in model.sizes
    )
    return Plan(tuple(planned), baseline or runs / plan.baseline)
