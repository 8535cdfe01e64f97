from __future__ import annotations

import platform
import signal
from collections.abc import Iterator

import pytest
import torch

from bas_edge.errors import InputError
from bas_edge_training.machine import (
    StopRequest,
    keep_freed_memory,
    resolve_device,
    torch_settings,
)
from bas_edge_training.recipe import Recipe, apply_overrides


def test_glibc_is_told_and_others_are_left_alone() -> None:
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


def test_settings_are_restored_and_the_seed_is_set() -> None:
    threads = torch.get_num_threads()
    recipe = apply_overrides(
        Recipe(), ["machine.threads=1", "training.deterministic=true", "training.seed=4"]
    )
    with torch_settings(recipe):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
        first = torch.rand(3)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    with torch_settings(recipe):
        assert torch.equal(torch.rand(3), first)


def test_device_that_is_not_there() -> None:
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(InputError, match=r"machine\.device is cuda:63, but torch sees \d+ CUDA"):
        resolve_device("cuda:63")


@pytest.fixture
def python_s_own_handler() -> Iterator[None]:
    """Of SIGINT, which is ignored where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("python_s_own_handler")
def test_first_interrupt_is_a_request_and_the_second_interrupts() -> None:
    with StopRequest() as stop:
        assert not stop.requested
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
