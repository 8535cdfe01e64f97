"""The fake cuda-python is like the real one, where that is installed: names, arity, values."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest
from fakes.cuda_errors import CODES
from fakes.cuda_python import CONSTANTS, HANDLES, MEMBERS, SURFACE

SOURCE = Path(__file__).resolve().parents[2] / "bas_edge" / "backends" / "_cuda_python.py"


@pytest.fixture(scope="module")
def real() -> ModuleType:
    reason = "cuda-bindings is not installed: pip install --group dev"
    return pytest.importorskip("cuda.bindings.driver", reason=reason)


@pytest.mark.parametrize("name", SURFACE)
def test_functions_take_as_many_arguments(real: ModuleType, name: str) -> None:
    assert len(inspect.signature(getattr(real, name)).parameters) == SURFACE[name]


@pytest.mark.parametrize("name", MEMBERS)
def test_enumerations_have_these_values(real: ModuleType, name: str) -> None:
    kind = getattr(real, name)
    assert {member: int(getattr(kind, member)) for member in MEMBERS[name]} == MEMBERS[name]


def test_constants(real: ModuleType) -> None:
    assert {name: int(getattr(real, name)) for name in CONSTANTS} == CONSTANTS
    assert real.CUDA_VERSION >= 12000


def test_errors_have_these_numbers(real: ModuleType) -> None:
    assert {int(getattr(real.CUresult, name)): name for name, _ in CODES.values()} == {
        code: name for code, (name, _) in CODES.items()
    }


@pytest.mark.parametrize("name", sorted(set(HANDLES.values())))
def test_handles_are_made_of_integers_and_turned_into_them(real: ModuleType, name: str) -> None:
    assert int(getattr(real, name)(5)) == 5


def test_our_source_uses_nothing_else() -> None:
    used = set(re.findall(r"\b(?:module|self\._cuda|attribute|kinds)\.(\w+)", SOURCE.read_text()))
    members = {member for group in MEMBERS.values() for member in group}
    known = set(SURFACE) | set(MEMBERS) | members | set(CONSTANTS) | {"CUresult", "CUDA_VERSION"}
    assert used <= known
    assert set(SURFACE) <= used
