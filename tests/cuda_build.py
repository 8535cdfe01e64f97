"""Builds the CUDA kernels beside the package: emulated on the CPU, or for every GPU with nvcc."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pybind11

REPOSITORY = Path(__file__).resolve().parent.parent


def build(name: str, target: str, **options: str) -> Path:
    """Configure and build `target` in build/<name>, from where it was left; returns the folder."""
    folder = REPOSITORY / "build" / f"{name}-{sys.implementation.cache_tag}"
    search = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", "")))
    cmake = shutil.which("cmake", path=search)
    assert cmake, "no cmake: `make dev` installs it"
    defines = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_EXPORT_COMPILE_COMMANDS": "ON",
        "BAS_EDGE_WERROR": "ON",
        "pybind11_DIR": pybind11.get_cmake_dir(),
        "Python_EXECUTABLE": sys.executable,
        **options,
    }
    environment = {**os.environ, "PATH": search}
    for command in (
        [cmake, "-S", str(REPOSITORY), "-B", str(folder), "-G", "Ninja"]
        + [f"-D{key}={value}" for key, value in defines.items()],
        [cmake, "--build", str(folder), "--target", target],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return folder


def load(folder: Path, name: str) -> ModuleType:
    """The extension module `name` of a build folder."""
    path = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
