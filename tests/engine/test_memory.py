from __future__ import annotations

from pathlib import Path

import pytest

from bas_edge.engine import memory
from bas_edge.engine.memory import available_bytes, check_memory, shares_memory_with_gpu
from bas_edge.errors import InputError

MIB = 1 << 20


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A desktop with 1 GiB free; write `model` to make it another board."""
    (tmp_path / "meminfo").write_text(f"MemFree: 1 kB\nMemAvailable:  {1024 * 1024} kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_BOARD", tmp_path / "model")
    return tmp_path


@pytest.fixture
def jetson(machine: Path) -> Path:
    (machine / "model").write_bytes(b"NVIDIA Jetson Orin Nano Developer Kit\0")
    return machine


def test_what_the_kernel_says(machine: Path) -> None:
    assert available_bytes() == 1024 * MIB
    assert not shares_memory_with_gpu()
    (machine / "meminfo").unlink()
    assert available_bytes() is None
    assert check_memory(10**12, None, pytest.fail) is None


@pytest.mark.parametrize("workspace", [None, 64 * MIB, 4096 * MIB])
def test_a_desktop_has_its_workspace_on_the_gpu(machine: Path, workspace: int | None) -> None:
    assert check_memory(100 * MIB, workspace, pytest.fail) == workspace


def test_a_model_too_large_for_the_memory_is_noted(machine: Path) -> None:
    notes: list[str] = []
    assert check_memory(300 * MIB, None, notes.append) is None
    assert notes == [
        "The build may need 1800 MiB, and 1024 MiB are free: it may swap, or be killed."
    ]


def test_a_jetson_gets_half_of_what_is_free(jetson: Path) -> None:
    notes: list[str] = []
    assert check_memory(10 * MIB, None, notes.append) == 512 * MIB
    assert notes == [
        "1024 MiB are free, which the GPU shares: building with a workspace of 512 MiB."
    ]


def test_a_jetson_refuses_a_workspace_that_does_not_fit(jetson: Path) -> None:
    assert check_memory(4 * MIB, 700 * MIB, pytest.fail) == 700 * MIB
    with pytest.raises(InputError, match="1100 MiB does not fit: 1024 MiB are free") as caught:
        check_memory(10 * MIB, 1100 * MIB, pytest.fail)
    assert caught.value.hint == "--workspace 512MiB, or close other programs."
