from __future__ import annotations

import os
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
from bas_edge_training.team import Team


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


def test_several_processes_want_a_device_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    second = Team(rank=3, size=4, local_rank=1, local_size=2)
    assert resolve_device("auto", second) == torch.device("cuda:1")
    assert chosen == [torch.device("cuda:1")]
    with pytest.raises(InputError, match=r"machine\.device is cuda:0, but 4 processes need"):
        resolve_device("cuda:0", second)
    with pytest.raises(InputError, match="3 processes are to train on this machine, but torch"):
        resolve_device("cuda", Team(size=3, local_size=3))
    assert resolve_device("cpu", second).type == "cpu"


def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as torchrun sets it
    with torch_settings(Recipe(), Team(size=2, local_size=2)):
        assert torch.get_num_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # somebody else has
    before = torch.get_num_threads()
    with torch_settings(Recipe(), Team(size=2, local_size=2)):
        assert torch.get_num_threads() == before


@pytest.mark.usefixtures("python_s_own_handler")
def test_sigterm_is_a_request_too_and_in_a_team_the_second_does_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
    with StopRequest(Team(size=2)) as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


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
