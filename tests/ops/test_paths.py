from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

import bas_edge.errors
from bas_edge.errors import InputError
from bas_edge.ops import _native, active_path
from bas_edge.ops.paths import _forced_path


def test_the_first_path_is_in_use() -> None:
    assert active_path() == _native.available_paths()[0]


def test_every_machine_has_the_scalar_path() -> None:
    assert _native.available_paths()[-1] == "scalar"


def test_this_processor_has_its_vectors() -> None:
    flags = Path("/proc/cpuinfo")
    if platform.machine() == "x86_64" and flags.is_file():
        words = flags.read_text().split()
        assert ("avx2" in words) == ("avx2" in _native.available_paths())
        assert ("sse4_1" in words) == ("sse4.1" in _native.available_paths())
    else:
        assert ("neon" in _native.available_paths()) == (platform.machine() in ("aarch64", "arm64"))


def test_a_path_can_be_forced_and_comes_back() -> None:
    before = active_path()
    with _forced_path("scalar"):
        assert active_path() == "scalar"
    assert active_path() == before


def test_an_unknown_path_is_an_error() -> None:
    with pytest.raises(InputError, match="this processor has no path 'mmx'"):
        _native.set_path("mmx")


def test_without_the_native_module_the_error_says_how_to_build(tmp_path: Path) -> None:
    package = Path(bas_edge.errors.__file__).parent
    for source in [package / "errors.py", *(package / "ops").glob("*.py")]:
        copy = tmp_path / "bas_edge" / source.relative_to(package)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    (tmp_path / "bas_edge" / "__init__.py").touch()
    program = """
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
sys.meta_path[:] = [BuiltinImporter, FrozenImporter, PathFinder]  # not an editable install's
from bas_edge.errors import KernelError
try:
    import bas_edge.ops
except KernelError as error:
    print(error, error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "bas_edge/ops/_native was not built for this Python" in done.stdout
    assert "pip install ." in done.stdout
