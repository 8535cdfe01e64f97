"""docs/semantics.md is run: its example shows real numbers, and the reference agrees with them."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from bas_edge import ops
from bas_edge.ops import reference

PAGE = Path(__file__).resolve().parents[2] / "docs" / "semantics.md"


@pytest.mark.parametrize("of", ["native", "reference"])
def test_every_number_on_the_page(of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if of == "reference":
        for name in reference.__all__:
            monkeypatch.setattr(ops, name, getattr(reference, name))
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.failed == 0
    assert result.attempted >= 15
