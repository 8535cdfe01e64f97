"""docs/troubleshooting.md is keyed by messages; each must still be in the source."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADINGS = re.findall(r"^### (.+)$", (ROOT / "docs/troubleshooting.md").read_text(), re.M)


@functools.cache
def messages() -> list[str]:
    """Every string of the source, with … where a value is filled in."""
    found = []
    for folder in ("bas_edge", "training/bas_edge_training"):
        for path in (ROOT / folder).rglob("*.py"):
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            found += [rendered for node in nodes if (rendered := render(node))]
    return found


def render(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(render(part) or "…" for part in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ""


@pytest.mark.parametrize("heading", HEADINGS)
def test_every_heading_is_a_message(heading: str) -> None:
    assert any(heading in message for message in messages())


def test_there_are_headings_and_none_twice() -> None:
    assert len(HEADINGS) == len(set(HEADINGS)) > 25
