"""The script for machines with a GPU, on one without: it says so, and does nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "benchmarks" / "gpu_check.sh"
EVERY = "build tests sanitizer measure"


def run(folder: Path, *, libraries: Path | None = None, **variables: str) -> tuple[int, str, str]:
    """Exit code, output and errors, where only the driver in `libraries` can be found."""
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "VENV": str(folder / "env"),
        "RESULTS": str(folder / "results"),
        "CUDA_VISIBLE_DEVICES": "",
        **variables,
    }
    if libraries is not None:
        environment["LD_LIBRARY_PATH"] = str(libraries)
    done = subprocess.run(
        ["bash", str(SCRIPT)], capture_output=True, text=True, env=environment, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A driver that shows one GPU, of compute capability 9.0, on which nothing runs."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the stub driver")
    folder = tmp_path_factory.mktemp("driver")
    source = REPOSITORY / "tests" / "fakes" / "libcuda_stub.c"
    command = [compiler, "-shared", "-fPIC", "-o", str(folder / "libcuda.so.1"), str(source)]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture
def nvcc(tmp_path: Path) -> Path:
    """A toolkit whose nvcc only says its version; without compute-sanitizer."""
    folder = tmp_path / "toolkit" / "bin"
    folder.mkdir(parents=True)
    path = folder / "nvcc"
    path.write_text("#!/bin/sh\necho toy nvcc\n")
    path.chmod(0o755)
    return path


def test_it_is_bash() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    assert os.access(SCRIPT, os.X_OK)


def test_without_a_gpu_it_says_so_before_anything_is_built(tmp_path: Path) -> None:
    code, out, err = run(tmp_path)  # a machine with a driver is told to show no device
    assert code == 2
    assert out == ""
    (sentence,) = err.splitlines()
    assert sentence.startswith("gpu_check: ")
    assert "no NVIDIA driver here" in sentence or "shows no GPU to this process" in sentence
    assert list(tmp_path.iterdir()) == []


def test_without_the_toolkit_it_says_so(tmp_path: Path, libraries: Path) -> None:
    few = tmp_path / "bin"
    few.mkdir()
    for name in ("bash", "dirname"):
        (few / name).symlink_to(str(shutil.which(name)))
    code, _, err = run(tmp_path, libraries=libraries, PATH=str(few), CUDA_HOME=str(tmp_path))
    assert (code, err.count("\n")) == (2, 1)
    assert "there is no nvcc here" in err


def test_every_step_ends_in_the_summary(tmp_path: Path, libraries: Path, nvcc: Path) -> None:
    """An interpreter that has nothing: each step is not run, and says what it lacks."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    code, out, err = run(
        tmp_path,
        libraries=libraries,
        PYTHON=str(bare),
        NO_INSTALL="1",
        STEPS=EVERY,
        CUDA_HOME=str(nvcc.parents[1]),
        PATH=f"{nvcc.parent}:{os.environ['PATH']}",
    )
    assert (code, err) == (0, "")
    head, summary = out.split("\ngpu_check on Stub GPU (sm_90): ")
    assert head.startswith("gpu_check: Stub GPU (sm_90), toy nvcc")
    steps = dict(line.split("  ", 1) for line in summary.splitlines()[1:] if "  " in line)
    said = {name: text.strip() for name, text in steps.items()}
    assert said["build"].startswith("not run: ")
    assert "lacks torch numpy pytest pybind11" in said["build"]
    assert "lacks pytest hypothesis" in said["tests"]
    assert "lacks numpy msgspec PIL" in said["measure cuda_ops"]
    tools = [text for name, text in said.items() if name.startswith("sanitizer")]
    assert len(tools) == 4
    assert len(said) == 8


def test_a_failed_step_does_not_end_it(tmp_path: Path, libraries: Path, nvcc: Path) -> None:
    """Tests that fail, one case that is skipped and one that hangs."""
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "  *pytest*-m*gpu*) echo one failed; exit 3;;\n"
        '  *run*cuda_ops*) echo "  skipped: it is too cold here."; exit 0;;\n'
        "  *run*frame_to_box*) sleep 60;;\n"
        f'  *) exec "{sys.executable}" "$@";;\n'
        "esac\n"
    )
    python.chmod(0o755)
    code, out, _ = run(
        tmp_path,
        libraries=libraries,
        PYTHON=str(python),
        NO_INSTALL="1",
        STEPS="tests measure",
        STEP_S="2",
        PATH=f"{nvcc.parent}:{os.environ['PATH']}",
    )
    steps = out.rsplit("\ngpu_check on ", 1)[1].splitlines()[1:]
    assert code == 1
    assert re.fullmatch(r"tests +FAILED: exit code 3 after \d+ s, .*tests\.log", steps[0])
    assert re.fullmatch(r"measure cuda_ops +not run: it is too cold here\.", steps[1])
    assert re.match(r"measure frame_to_box_gpu +FAILED: stopped after \d+ s", steps[2])
    assert (tmp_path / "results" / "tests.log").read_text() == "one failed\n"


def test_the_sanitizer_runs_few_examples() -> None:
    """BAS_EDGE_EXAMPLES, also of tests that choose their own number."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += [
        "--hypothesis-show-statistics",
        "-k",
        "emulated",
        "tests/ops/test_cuda_aggregate_maps.py",
    ]
    environment = {**os.environ, "BAS_EDGE_EXAMPLES": "3"}
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout
    stopped = re.findall(r"settings\.max_examples=(\d+)", done.stdout)
    assert stopped
    assert set(stopped) == {"3"}
