"""How a plan is to be built: what the options mean, and what they must not be."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bas_edge.errors import InputError

__all__ = ["PlanOptions", "parse_size", "parse_targets", "plan_options"]

_CHUNK = 8  # frames that Localizer gives to a backend at once
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?\s*", re.IGNORECASE)
_UNITS = {"": 20, "K": 10, "M": 20, "G": 30, "T": 40}
_TARGET = re.compile(r"(?:sm_?(\d{2,3}))|(?:(\d{1,2})\.(\d))")


_MOST_FRAMES = 65535  # of one run, as the CUDA kernels count images along a grid's axis


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """Checked options; see `bas_edge.build_engine` for what each means."""

    min_batch: int
    opt_batch: int
    max_batch: int
    workspace_bytes: int | None
    targets: tuple[str, ...]
    hardware_compat: str
    timing_cache: Path | None

    def as_given(self) -> dict[str, str]:
        """Option of the command line → its value, for those that are not at their default."""
        given = {
            "--min-batch": str(self.min_batch),
            "--opt-batch": str(self.opt_batch),
            "--max-batch": str(self.max_batch),
        }
        usual = {"--min-batch": "1", "--opt-batch": "1", "--max-batch": str(_CHUNK)}
        given = {name: value for name, value in given.items() if value != usual[name]}
        if self.workspace_bytes is not None:
            given["--workspace"] = f"{self.workspace_bytes / 2**20:g}MiB"
        if self.targets:
            given["--target"] = ",".join(self.targets)
        if self.hardware_compat != "none":
            given["--hardware-compat"] = self.hardware_compat
        if self.timing_cache is not None:
            given["--timing-cache"] = str(self.timing_cache)
        return given


def plan_options(
    *,
    min_batch: int | None = None,
    opt_batch: int | None = None,
    max_batch: int | None = None,
    workspace: int | str | None = None,
    targets: str | Sequence[str] = (),
    hardware_compat: str = "none",
    timing_cache: str | os.PathLike[str] | None = None,
) -> PlanOptions:
    """Fill in what is not given: batches of 1 to 8, made fastest for the smallest.

    Raises:
        InputError: Batches that are not ascending, or an option that cannot be read.
    """
    least = 1 if min_batch is None else min_batch
    best = least if opt_batch is None else opt_batch
    most = max(_CHUNK, best) if max_batch is None else max_batch
    if not 1 <= least <= best <= most:
        raise InputError(
            f"The batches are {least} (min), {best} (opt) and {most} (max); they must be at least "
            "1 and ascending.",
            hint="For a static batch of 4: --min-batch 4 --max-batch 4",
        )
    if most > _MOST_FRAMES:
        raise InputError(
            f"The largest batch is {most}, but a plan holds at most {_MOST_FRAMES} frames.",
            hint="A batch of 8 to 64 is where throughput stops growing.",
        )
    return PlanOptions(
        min_batch=least,
        opt_batch=best,
        max_batch=most,
        workspace_bytes=None if workspace is None else parse_size(workspace),
        targets=parse_targets(targets),
        hardware_compat=hardware_compat.replace("-", "_"),
        timing_cache=None if timing_cache is None else Path(timing_cache),
    )


def parse_size(size: int | str) -> int:
    """Bytes, from bytes as an int or from text: "512MiB", "1.5G", and "512" for MiB.

    Raises:
        InputError: No such size, or less than 1 MiB.
    """
    if isinstance(size, int):
        count = size
    else:
        found = _SIZE.fullmatch(size)
        if found is None:
            raise InputError(
                f"'{size}' is not a size.", hint="Give it as 512MiB or 2GiB; a plain 512 is MiB."
            )
        count = int(float(found[1]) * 2 ** _UNITS[(found[2] or "")[:1].upper()])
    if count < 1 << 20:
        raise InputError(
            f"A workspace of {count} bytes is too small; the least is 1 MiB.",
            hint="Give it as 512MiB or 2GiB.",
        )
    return count


def parse_targets(targets: str | Sequence[str]) -> tuple[str, ...]:
    """("sm_86", "sm_89") from "sm_86,sm_89", from such a list, or from "8.6, 8.9".

    Raises:
        InputError: Something that names no architecture.
    """
    words = targets.split(",") if isinstance(targets, str) else list(targets)
    parsed = []
    for word in filter(None, (word.strip().lower() for word in words)):
        found = _TARGET.fullmatch(word)
        if found is None:
            raise InputError(
                f"'{word}' is not a target.", hint="Name architectures: --target sm_86,sm_89"
            )
        parsed.append(f"sm_{found[1] or found[2] + found[3]}")
    return tuple(dict.fromkeys(parsed))
