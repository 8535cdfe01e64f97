"""Builds the CUDA kernels beside the package: emulated on the CPU, or for every GPU with nvcc."""

from __future__ import annotations

import fcntl
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


def configure(folder: Path, **options: str) -> subprocess.CompletedProcess[str]:
    """What CMake says of a configuration of its own."""
    defines = {"pybind11_DIR": pybind11.get_cmake_dir(), "Python_EXECUTABLE": sys.executable}
    command = [program("cmake"), "-S", str(REPOSITORY), "-B", str(folder), "-G", "Ninja"]
    command += [f"-D{key}={value}" for key, value in {**defines, **options}.items()]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())


def program(name: str) -> str:
    found = shutil.which(name, path=_environment()["PATH"])
    assert found, f"no {name}: `make dev` installs cmake and ninja"
    return found


def _environment() -> dict[str, str]:
    search = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", "")))
    return {**os.environ, "PATH": search}


def build(name: str, target: str, **options: str) -> Path:
    """Configure and build `target` in build/<name>, from where it was left; returns the folder."""
    folder = REPOSITORY / "build" / f"{name}-{sys.implementation.cache_tag}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:  # tests run in several processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _built(folder, target, options)


def _built(folder: Path, target: str, options: dict[str, str]) -> Path:
    defines = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_EXPORT_COMPILE_COMMANDS": "ON",
        "BAS_EDGE_WERROR": "ON",
        **options,
    }
    done = configure(folder, **defines)
    if done.returncode == 0:
        command = [program("cmake"), "--build", str(folder), "--target", target]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=_environment()
        )
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
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
