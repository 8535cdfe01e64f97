"""Whether the CPU adds products of eight-bit codes without losing any.

x86 CPUs before VNNI add two products of an unsigned and a signed code in 16 bits, which
255 * 127 * 2 does not fit into. Weights of seven bits always fit.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Collection
from pathlib import Path

from bas_edge.conditions import cpu_features
from bas_edge.engine.manifest import Quantization

__all__ = ["may_saturate", "warn_of_saturation"]

_WIDE_SUMS = {"avx_vnni", "avx512_vnni", "amx_int8"}
_X86 = {"sse4_1", "avx", "avx2", "avx512f"}
_X86_NAMES = {"x86_64", "amd64", "x86", "i386", "i486", "i586", "i686"}

_log = logging.getLogger("bas_edge")


def may_saturate(features: Collection[str]) -> bool:
    """Whether a CPU with these features (`bas_edge.conditions.FEATURES`) sums in 16 bits.

    Without any, they are not known (macOS, Windows), and this machine's architecture decides.
    """
    if not features:
        return platform.machine().lower() in _X86_NAMES
    return bool(_X86 & set(features)) and not _WIDE_SUMS & set(features)


def warn_of_saturation(
    engine: Path, quantization: Quantization, features: Collection[str] | None = None
) -> None:
    """Log it when an engine was measured on a CPU that adds exactly, as far as is known, and this
    one may not.
    """
    if quantization.reduce_range or quantization.flavour != "onnxruntime":
        return
    here = cpu_features() if features is None else features
    there = quantization.cpu_features
    if may_saturate(here) and not (there and may_saturate(there)):
        measured = ", ".join(sorted(_WIDE_SUMS & set(there))) or "exact sums"
        _log.warning(
            f"{engine} was measured on a CPU with {measured}, which this one lacks: its sums of "
            "8-bit products may saturate here. Evaluate it here, or build it with --reduce-range."
        )
