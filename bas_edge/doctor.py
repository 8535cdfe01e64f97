"""What is installed here, what works, and what to do about the rest."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bas_edge import __version__
from bas_edge._require import require
from bas_edge.conditions import installed_version, machine_conditions
from bas_edge.errors import BasEdgeError, MissingExtraError

__all__ = ["BackendState", "Diagnosis", "Package", "diagnose"]

# Distribution → the extra that brings it; None is the base install.
PACKAGES: dict[str, str | None] = {
    "numpy": None,
    "pillow": None,
    "onnxruntime": None,
    "msgspec": None,
    "typer": None,
    "rich": None,
    "onnx": "build",
    "onnxsim": "build",
    "torch": "train",
    "safetensors": "train",
    "timm": "timm",
    "av": "video",
    "supervision": "tracking",
    "paho-mqtt": "mqtt",
    "urllib3": "webhook",
    "starlette": "serve",
    "uvicorn": "serve",
    "websockets": "serve",
    "prometheus-client": "serve",
    "scipy": "datasets",
    "pycocotools": "segmentation",
    "opencv-python-headless": "wsoleval",
    "matplotlib": "report",
    "jinja2": "report",
    "cuda-bindings": "cuda",
    "pycuda": "pycuda",
    "tensorrt": "tensorrt",
    "tensorrt-rtx": "tensorrt-rtx",
}
# Some also come under other names, with the same module inside.
ALTERNATIVES = {
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
    "opencv-python-headless": (
        "opencv-python",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
}
LOW_DISK_GB = 2.0
_NO_CUDA = "CPU only build"


@dataclass(frozen=True, slots=True)
class Package:
    """One library. `version` is None where it is not installed; `extra` None is the base."""

    name: str
    version: str | None
    extra: str | None


@dataclass(frozen=True, slots=True)
class BackendState:
    """Whether one inference library works here; if not, `reason` says why and what to do."""

    name: str
    available: bool
    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything `bas-edge doctor` shows.

    Attributes:
        version: Of bas-edge.
        python: Version and path of the interpreter.
        packages: The libraries of the base install and of every extra.
        ops: The path that the native operators take here, such as "avx2"; "" if they
            cannot be loaded.
        cuda: What the CUDA kernels were built for, such as "CUDA 13.0.88 for 87-real", or that
            there are none.
        cuda_driver: The CUDA driver and its devices, or why there are none.
        backends: Every backend this version knows.
        video: Encoders for annotated videos; empty without the `[video]` extra.
        opencv: Its version, and whether it has GStreamer and windows; that of JetPack or of a
            distribution is no package of pip's. "" where there is none.
        disk_free_gb: Free space by folder: where you are, and temporary files.
        machine: See `bas_edge.conditions`.
        problems: Sentences on what keeps the base install from working. Empty is healthy.
        notes: Sentences on what could be better.
    """

    version: str
    python: str
    packages: tuple[Package, ...]
    ops: str
    cuda: str
    cuda_driver: str
    backends: tuple[BackendState, ...]
    video: tuple[str, ...]
    opencv: str
    disk_free_gb: dict[str, float]
    machine: dict[str, Any]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def diagnose() -> Diagnosis:
    """Look at this installation. Imports all that backends and video need, never torch."""
    notes: list[str] = []
    packages = tuple(Package(name, _version(name), extra) for name, extra in PACKAGES.items())
    problems = [
        f"{package.name} is not installed."
        for package in packages
        if package.extra is None and package.version is None
    ]
    ops, cuda = _native(problems)
    backends = _backends(problems)
    driver = _cuda_driver()
    if cuda == _NO_CUDA and driver.startswith("works"):
        notes.append(
            "There is a GPU, but this installation has no CUDA kernels, so it runs no TensorRT "
            "plan. Where nvcc is: pip install bas-edge --no-binary bas-edge "
            "-C cmake.define.BAS_EDGE_CUDA=ON"
        )
    if not any(backend.available for backend in backends):
        problems.append("No inference backend works here, so no engine can run.")
    disk = {str(folder): _free_gb(folder) for folder in (Path.cwd(), Path(tempfile.gettempdir()))}
    for folder, free in disk.items():
        if free < LOW_DISK_GB:
            notes.append(f"Only {free:.1f} GB free in {folder}: training may fill it.")
    return Diagnosis(
        version=__version__,
        python=f"{platform.python_version()} ({sys.executable})",
        packages=packages,
        ops=ops,
        cuda=cuda,
        cuda_driver=driver,
        backends=backends,
        video=_encoders(notes),
        opencv=_opencv(notes),
        disk_free_gb=disk,
        machine=machine_conditions(),
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _version(name: str) -> str | None:
    found = (installed_version(each) for each in (name, *ALTERNATIVES.get(name, ())))
    return next((version for version in found if version is not None), None)


def _native(problems: list[str]) -> tuple[str, str]:
    try:
        from bas_edge import ops

        return ops.active_path(), _cuda_build()
    except (BasEdgeError, ImportError) as error:
        hint = getattr(error, "hint", None)
        problems.append(f"The native operators cannot be loaded: {error} {hint or ''}".strip())
        return "", "no native module"


def _cuda_build() -> str:
    from bas_edge.ops.cuda import cuda_build

    build = cuda_build()
    if build is None:
        return _NO_CUDA
    return f"CUDA {build.toolkit} for {', '.join(build.architectures)}"


def _cuda_driver() -> str:
    from bas_edge.backends._cuda import driver_state

    state = driver_state()
    if not state.available or state.cuda is None:
        return f"no: {state.reason} {state.hint}".strip()
    devices = "1 device" if state.devices == 1 else f"{state.devices} devices"
    return f"works (CUDA {state.cuda[0]}.{state.cuda[1]}, {devices})"


def _backends(problems: list[str]) -> tuple[BackendState, ...]:
    try:
        from bas_edge.backends import backend_names, probe
    except ImportError as error:
        problems.append(f"The backends cannot be loaded: {error}")
        return ()
    return tuple(BackendState(name, *probe(name)) for name in backend_names())


def _encoders(notes: list[str]) -> tuple[str, ...]:
    from bas_edge.video.sinks.video_sink import available_encoders

    try:
        found = tuple(available_encoders())
    except (BasEdgeError, ImportError) as error:
        hint = getattr(error, "hint", None)
        notes.append(f"No video files: {error}" + (f" ({hint})" if hint else ""))
        return ()
    if not found:
        notes.append("PyAV has no encoder for mp4, so annotated videos cannot be written.")
    return found


def _opencv(notes: list[str]) -> str:
    from bas_edge.video.sinks.window import has_windows
    from bas_edge.video.sources.gstreamer import has_gstreamer

    try:
        cv2 = require("cv2", extra="wsoleval", purpose="OpenCV")
        parts = {"GStreamer": has_gstreamer(cv2), "windows": has_windows(cv2)}
    except MissingExtraError:
        return ""
    except (ImportError, AttributeError) as error:  # a system library that it needs, such as libGL
        notes.append(f"OpenCV cannot be loaded: {error}")
        return ""
    return ", ".join(
        [
            str(cv2.__version__),
            *(f"{'with' if has else 'no'} {part}" for part, has in parts.items()),
        ]
    )


def _free_gb(folder: Path) -> float:
    return round(shutil.disk_usage(folder).free / 1e9, 1)
