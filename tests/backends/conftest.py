"""A machine with a GPU, or a fake one: what the tests of the device layer run on."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from fakes.machine import Machine, fake_machine

from bas_edge.backends.device import Device

FAKES = ["fake cuda-python", "fake pycuda"]
REAL = [
    pytest.param("cuda-python", marks=pytest.mark.gpu),
    pytest.param("pycuda", marks=pytest.mark.gpu),
]
MODULES = {"cuda-python": "cuda.bindings.driver", "pycuda": "pycuda.driver"}


@pytest.fixture
def options() -> dict[str, Any]:
    """Of the fake driver; tests override it by parametrization."""
    return {}


@pytest.fixture(params=FAKES)
def faked(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> Iterator[Machine]:
    """A fake machine, once for each library."""
    with fake_machine(request.param.removeprefix("fake "), monkeypatch, **options) as machine:
        yield machine


@pytest.fixture(params=[*FAKES, *REAL])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Every library, on the fake driver and, where there is one, on a GPU."""
    name = request.param
    if name in FAKES:
        with fake_machine(name.removeprefix("fake "), monkeypatch) as machine:
            yield machine
        return
    try:
        importlib.import_module(MODULES[name])
    except ModuleNotFoundError:
        pytest.skip(f"{name} is not installed")
    machine = Machine(name, None)
    yield machine
    for device in machine.opened:
        device.close()
    assert machine.current_context() == 0


@pytest.fixture
def device(machine: Machine) -> Device:
    return machine.open()
