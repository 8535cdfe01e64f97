"""The CUDA kernels compile for every chip, and their module loads where there is no driver."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bas_edge.errors import KernelError
from bas_edge.ops import cuda, cuda_module

NVCC = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
CHIPS = ["75", "80", "86", "87", "89", "90", "100", "110", "120"]
NO_NVCC = "no nvcc: the CUDA kernels were not compiled here"


@pytest.fixture(scope="module")
def built(cuda_build: ModuleType) -> Path:
    """The folder with `_cuda`, for every chip that nvcc knows; a minute the first time."""
    if NVCC is None:
        pytest.skip(NO_NVCC)
    folder: Path = cuda_build.build("cuda", "_cuda", BAS_EDGE_CUDA="ON")
    return folder


def in_child(folder: Path, code: str) -> dict[str, str]:
    """What `code` prints as JSON in a new interpreter that sees `_cuda` as part of the package."""
    prelude = (
        "import importlib.util, json, sys\n"
        "import bas_edge.ops\n"
        f"path = {str(next(folder.glob('_cuda.*')))!r}\n"
        "spec = importlib.util.spec_from_file_location('bas_edge.ops._cuda', path)\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "from bas_edge.ops import cuda, cuda_module\n"
        "cuda_module._module = module\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", prelude + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


def test_it_is_built_for_every_chip_that_nvcc_knows(built: Path) -> None:
    assert NVCC is not None
    listed = subprocess.run([NVCC, "--list-gpu-arch"], capture_output=True, text=True, check=True)
    known = set(re.findall(r"compute_(\d+)\b", listed.stdout))
    wanted = [
        chip for chip in ["75", "80", "86", "87", "89", "90", "100", "110", "120"] if chip in known
    ]
    assert {"80", "86", "87", "89", "90"} <= set(wanted)
    answer = in_child(
        built,
        "build = cuda.cuda_build()\n"
        "print(json.dumps({'chips': ' '.join(build.architectures), 'toolkit': build.toolkit}))",
    )
    ptx = [f"{chip}-virtual" for chip in ("90", "120") if chip in known]
    assert answer["chips"].split() == [f"{chip}-real" for chip in wanted] + ptx
    assert re.fullmatch(r"\d+\.\d+\.\d+", answer["toolkit"])


OPS = {
    "AggregateMaps": "cuda.AggregateMaps(max_images=1, classes=2, cells=4, k=1)",
    "MapsToBoxes": "cuda.MapsToBoxes(max_images=1, map_size=(2, 2), size=(8, 8))",
    "LocalizeMaps": (
        "cuda.LocalizeMaps(form='all', classes=2, maps=2, top_k=1, threshold=0.5, max_images=1, "
        "map_size=(2, 2), size=(8, 8))"
    ),
    "ResizeFrame": (
        "cuda.ResizeFrame(frame_size=(4, 4), shown=(0, 0, 4, 4), size=(2, 2), target=(0, 0, 2, 2))"
    ),
}


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_without_a_driver_each_op_gives_one_clear_error(built: Path, op: str) -> None:
    """A machine with a driver is told to show no device, which is the same to the runtime."""
    answer = in_child(
        built,
        "import os\nos.environ['CUDA_VISIBLE_DEVICES'] = ''\n"
        f"try:\n    {op}\n    answer = ['', '']\n"
        "except Exception as error:\n    answer = [type(error).__name__, str(error)]\n"
        "print(json.dumps(dict(zip(('type', 'text'), answer))))",
    )
    assert answer["type"] == "KernelError"
    assert answer["text"].startswith("CUDA: ")
    assert "there is no NVIDIA GPU here, or its driver is missing or too old" in answer["text"]


def test_no_product_is_fused_with_a_sum_where_bits_are_defined(built: Path, tmp_path: Path) -> None:
    """PTX with the very flags of the build: `fma` may stand only in expf, for the score."""
    commands = json.loads((built / "compile_commands.json").read_text())
    fused = {}
    for entry in commands:
        if not entry["file"].endswith(".cu"):
            continue
        assert "-fmad=false" in entry["command"]
        assert NVCC is not None
        out = tmp_path / (Path(entry["file"]).stem + ".ptx")
        includes = re.findall(r"-I\S+", entry["command"])
        flags = ["-ptx", "-arch=compute_90", "-std=c++17", "-O3", "-fmad=false", *includes]
        subprocess.run([NVCC, *flags, entry["file"], "-o", str(out)], check=True)
        for function in out.read_text().split(".entry ")[1:]:
            name = re.search(r"\d([a-z]+_kernel)", function.split("(")[0])
            assert name is not None
            fused[name.group(1)] = len(re.findall(r"\bfma\.", function))
    rank = fused.pop("rank_kernel")
    assert rank > 0  # so the search does find them
    assert {"mean_kernel", "threshold_kernel", "upsample_kernel", "resize_kernel"} <= set(fused)
    assert set(fused.values()) == {0}


def test_auto_leaves_cuda_out_where_there_is_no_driver_and_says_why(
    cuda_build: ModuleType, tmp_path: Path
) -> None:
    """The test names a driver that is not there, so it holds on machines with one too."""
    done = cuda_build.configure(
        tmp_path,
        BAS_EDGE_CUDA="AUTO",
        BAS_EDGE_CUDA_DRIVER="BAS_EDGE_CUDA_DRIVER-NOTFOUND",
        CMAKE_DISABLE_FIND_PACKAGE_CUDA="ON",
        CMAKE_FIND_LIBRARY_PREFIXES="none",
    )
    assert done.returncode == 0, done.stderr
    assert "bas_edge: CUDA OFF (AUTO needs nvcc and a driver;" in done.stdout


def test_an_unknown_choice_is_said(cuda_build: ModuleType, tmp_path: Path) -> None:
    done = cuda_build.configure(tmp_path, BAS_EDGE_CUDA="MAYBE")
    assert done.returncode != 0
    assert "BAS_EDGE_CUDA is 'MAYBE'; it must be AUTO, ON or OFF" in " ".join(done.stderr.split())


def test_cuda_without_nvcc_is_said(cuda_build: ModuleType, tmp_path: Path) -> None:
    """CMake is told to look for programs in an empty folder only."""
    done = cuda_build.configure(
        tmp_path,
        BAS_EDGE_CUDA="ON",
        CMAKE_FIND_ROOT_PATH=str(tmp_path / "empty"),
        CMAKE_FIND_ROOT_PATH_MODE_PROGRAM="ONLY",
        CMAKE_MAKE_PROGRAM=cuda_build.program("ninja"),
        CMAKE_CXX_COMPILER=cuda_build.program("c++"),
    )
    assert done.returncode != 0
    assert "BAS_EDGE_CUDA=ON, but nvcc was not found" in " ".join(done.stderr.split())


def test_cudacxx_names_the_compiler(
    cuda_build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other-nvcc"
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    monkeypatch.setenv("CUDACXX", str(other))
    done = cuda_build.configure(tmp_path / "build", BAS_EDGE_CUDA="ON")
    assert done.returncode != 0
    assert f"'{other} --list-gpu-arch' failed" in done.stderr.replace("\n  ", " ")


def test_one_chip_alone_as_for_a_jetson(cuda_build: ModuleType, tmp_path: Path) -> None:
    if NVCC is None:
        pytest.skip(NO_NVCC)
    done = cuda_build.configure(tmp_path, BAS_EDGE_CUDA="ON", CMAKE_CUDA_ARCHITECTURES="87")
    assert done.returncode == 0, done.stderr
    assert re.search(r"bas_edge: CUDA \d+\.\d+\.\d+ for 87\n", done.stdout)


def test_a_build_without_cuda_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_module, "_module", None)
    monkeypatch.setitem(sys.modules, "bas_edge.ops._cuda", None)
    assert cuda.cuda_build() is None
    with pytest.raises(KernelError, match="has no CUDA kernels") as caught:
        cuda.AggregateMaps(max_images=1, classes=2, cells=4, k=1)
    assert "BAS_EDGE_CUDA=ON" in str(caught.value.hint)
