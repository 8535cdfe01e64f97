from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bas_edge.engine.plan_options import parse_size, parse_targets, plan_options
from bas_edge.errors import InputError


@pytest.mark.parametrize(
    ("given", "batches"),
    [
        ({}, (1, 1, 8)),
        ({"max_batch": 4}, (1, 1, 4)),
        ({"min_batch": 4}, (4, 4, 8)),
        ({"opt_batch": 12}, (1, 12, 12)),
        ({"min_batch": 2, "max_batch": 2}, (2, 2, 2)),
    ],
)
def test_batches_that_are_not_given(given: dict[str, int], batches: tuple[int, ...]) -> None:
    options = plan_options(**given)
    assert (options.min_batch, options.opt_batch, options.max_batch) == batches


@pytest.mark.parametrize(
    "given",
    [{"min_batch": 0}, {"max_batch": 0}, {"min_batch": 4, "max_batch": 2}, {"opt_batch": -1}],
)
def test_batches_must_ascend(given: dict[str, int]) -> None:
    with pytest.raises(InputError, match="they must be at least 1 and ascending"):
        plan_options(**given)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512MiB", 512 << 20),
        ("512", 512 << 20),
        ("512 M", 512 << 20),
        ("1.5GiB", 3 << 29),
        ("2g", 2 << 30),
        ("2048KiB", 2 << 20),
        (1 << 20, 1 << 20),
    ],
)
def test_sizes(text: int | str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "12 parsecs", "1e3"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize("size", [0, 1000, "1KiB", "0"])
def test_a_workspace_that_is_too_small(size: int | str) -> None:
    with pytest.raises(InputError, match="the least is 1 MiB"):
        parse_size(size)


@pytest.mark.parametrize(
    ("given", "targets"),
    [
        ("", ()),
        ("sm_86", ("sm_86",)),
        ("sm_86, SM89,sm_86", ("sm_86", "sm_89")),
        (["8.6", "12.0"], ("sm_86", "sm_120")),
    ],
)
def test_targets(given: Any, targets: tuple[str, ...]) -> None:
    assert parse_targets(given) == targets


@pytest.mark.parametrize("word", ["ampere", "86", "sm_", "sm_8x", "8"])
def test_what_is_no_target(word: str) -> None:
    with pytest.raises(InputError, match=f"'{word}' is not a target"):
        parse_targets(word)


def test_the_command_line_is_given_back() -> None:
    assert plan_options().as_given() == {}
    options = plan_options(
        max_batch=4,
        workspace="1.5MiB",
        targets="sm_86,sm_89",
        hardware_compat="ampere-plus",
        timing_cache="a b",
    )
    assert options.as_given() == {
        "--max-batch": "4",
        "--workspace": "1.5MiB",
        "--target": "sm_86,sm_89",
        "--hardware-compat": "ampere_plus",
        "--timing-cache": "a b",
    }
    assert options.timing_cache == Path("a b")
