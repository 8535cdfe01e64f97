"""What a measurement depends on: the machine, its state, and the versions in use.

Everything is read from files and from installed metadata; what this machine does not
show is left out rather than guessed.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bas_edge import __version__

__all__ = ["cpu_features", "installed_version", "machine_conditions"]

# The CPU features that decide which of our code paths and ONNX Runtime's are taken.
FEATURES = (
    *("sse4_1", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "sve"),
)
LIBRARIES = ("numpy", "onnxruntime", "pillow")


def machine_conditions(root: str | Path = "/") -> dict[str, Any]:
    """CPU, clocks, power mode, temperature, load, and library versions; JSON-ready.

    Args:
        root: Where `/proc` and `/sys` are looked for.
    """
    root = Path(root)
    conditions = {
        "cpu": _cpu_model(root),
        "cpu_features": cpu_features(root),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        **_clocks(root),
        "power_mode": _power_mode(),
        "temperature_c": _temperatures(root),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {
            "bas-edge": __version__,
            **{name: installed_version(name) for name in LIBRARIES},
        },
        "commit": _commit(),
    }
    return {key: value for key, value in conditions.items() if value not in (None, "", {}, [])}


def installed_version(distribution: str) -> str | None:
    """The installed version of a distribution, without importing it; None if absent."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip("\x00\n ")
    except OSError:
        return None


def _cpu_model(root: Path) -> str | None:
    found = re.search(r"^model name\s*:\s*(.+)$", _read(root / "proc/cpuinfo") or "", re.M)
    return found[1] if found else _read(root / "proc/device-tree/model") or platform.processor()


def cpu_features(root: str | Path = "/") -> list[str]:
    """Which of FEATURES the CPU has; empty where that cannot be read."""
    text = _read(Path(root) / "proc/cpuinfo") or ""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.M)
    flags = set(found[1].split()) if found else set()
    return [feature for feature in FEATURES if feature in flags]


def _clocks(root: Path) -> dict[str, Any]:
    scaling = root / "sys/devices/system/cpu/cpu0/cpufreq"
    clocks: dict[str, Any] = {"governor": _read(scaling / "scaling_governor")}
    for key, name in (("clock_mhz", "scaling_cur_freq"), ("clock_max_mhz", "cpuinfo_max_freq")):
        khz = _read(scaling / name)
        if khz is not None and khz.isdigit():
            clocks[key] = int(khz) // 1000
    if "clock_mhz" not in clocks:
        found = re.search(r"^cpu MHz\s*:\s*([\d.]+)", _read(root / "proc/cpuinfo") or "", re.M)
        clocks["clock_mhz"] = round(float(found[1])) if found else None
    return clocks


def _power_mode() -> str | None:
    """Jetson's power mode, as `nvpmodel -q` names it."""
    if shutil.which("nvpmodel") is None:
        return None
    found = re.search(r"NV Power Mode: (\S+)", _output_of(["nvpmodel", "-q"]))
    return found[1] if found else None


def _temperatures(root: Path) -> dict[str, float]:
    found = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        name, millidegrees = _read(zone / "type"), _read(zone / "temp")
        if name and millidegrees and re.fullmatch(r"-?\d+", millidegrees):
            found[name] = int(millidegrees) / 1000
    return found


def _commit() -> str | None:
    """The commit of a source checkout; None for an installed package."""
    checkout = Path(__file__).resolve().parent.parent
    if not (checkout / ".git").exists() or shutil.which("git") is None:
        return None
    return _output_of(["git", "-C", str(checkout), "describe", "--always", "--dirty"]) or None


def _output_of(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
