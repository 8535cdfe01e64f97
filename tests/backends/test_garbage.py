"""No collection runs inside TensorRT's callbacks, and errors keep none of its objects."""

from __future__ import annotations

import gc
import threading
import weakref
from types import ModuleType
from typing import Any

import pytest

from bas_edge.backends._garbage import forget_frames, no_collection
from bas_edge.backends._tensorrt_build import BuildRequest, build_plan
from bas_edge.errors import BackendError

REQUEST = BuildRequest("m.onnx", "frames", (8, 8, 3))


def test_blocks_may_be_nested_and_side_by_side() -> None:
    assert gc.isenabled()
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with no_collection():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with no_collection():
        thread.start()
        inside.wait(10)
        with no_collection():
            assert not gc.isenabled()
    assert not gc.isenabled()  # the other thread is still in its block
    leave.set()
    thread.join()
    assert gc.isenabled()


def test_who_had_switched_it_off_finds_it_off() -> None:
    gc.disable()
    try:
        with no_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_nothing_is_collected_while_tensorrt_builds(fakes: ModuleType) -> None:
    script = fakes.Script(phases=[("Building", None, 3)])
    seen: list[bool] = []
    trt = fakes.make("10.3.0", script)
    build_plan(trt, REQUEST, on_progress=lambda *_: seen.append(gc.isenabled()))
    assert seen
    assert not any(seen)
    assert gc.isenabled()


def test_a_kept_error_keeps_no_object_of_tensorrt(fakes: ModuleType) -> None:
    """As pytest.raises and many programs do: the error, its frames and itself are one cycle."""
    script = fakes.Script(outcomes=[["2: no"]])
    trt = fakes.make("10.3.0", script)
    made: list[weakref.ref[Any]] = []
    create = trt.Builder

    def builder(logger: Any) -> Any:
        one = create(logger)
        made.append(weakref.ref(one))
        return one

    trt.Builder = builder
    gc.disable()
    try:
        with pytest.raises(BackendError) as caught:
            build_plan(trt, REQUEST)
        script.network = script.config = None
        assert made[0]() is None
        assert caught.value.__traceback__ is not None
    finally:
        gc.enable()


def test_errors_behind_an_error_are_forgotten_too() -> None:
    class Held:
        pass

    def fail() -> None:
        held = Held()
        kept.append(weakref.ref(held))
        raise KeyError("first")

    kept: list[weakref.ref[Held]] = []
    try:
        try:
            fail()
        except KeyError as first:
            raise ValueError("second") from first
    except ValueError as second:
        error = second
    assert kept[0]() is not None
    forget_frames(error)
    assert kept[0]() is None
