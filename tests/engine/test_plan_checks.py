"""Plans are checked before they are loaded: planted versions, magics, targets and damage."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

import bas_edge
from bas_edge.backends import tensorrt_backend
from bas_edge.backends._driver import Gpu
from bas_edge.engine.bundle import Engine
from bas_edge.engine.manifest import FileRecord, PlanRecord
from bas_edge.engine.plans import check_plan, find_plan, rebuild_command, runs_on
from bas_edge.errors import EngineCorruptError, EngineError, EngineMismatchError


def planted(magic: bytes = b"ftrt", version: tuple[int, int, int, int] = (10, 3, 0, 26)) -> bytes:
    start = bytearray(64)
    start[0:4], start[24:28] = magic, bytes(version)
    return bytes(start) + b"the engine itself"


@pytest.fixture
def engine(
    tmp_path: Path,
    fakes: ModuleType,
    tiny_onnx: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Engine:
    """A bundle with a plan of TensorRT 10.3 for sm_87."""
    script = fakes.Script(outcomes=[planted()])
    monkeypatch.setitem(sys.modules, "tensorrt", fakes.make("10.3.0", script))
    gpu = Gpu("NVIDIA Orin", (8, 7), "", "12.6")
    monkeypatch.setattr(tensorrt_backend, "require_gpu", lambda *_, **__: gpu)
    model = tiny_onnx(tmp_path / "m.onnx")
    return bas_edge.build_engine(model, tmp_path / "my birds.engine", backend="tensorrt")


def check(engine: Engine, version: str = "10.3.0", gpu: tuple[int, int] = (8, 7)) -> Path:
    (record,) = engine.manifest.plans
    return check_plan(engine, record, library_version=version, compute_capability=gpu)


def replant(engine: Engine, content: bytes) -> None:
    (engine.path / engine.manifest.plans[0].file.path).write_bytes(content)


def test_a_plan_that_fits(engine: Engine) -> None:
    assert check(engine) == engine.path / "plans/tensorrt-10.3.0-sm_87.plan"
    assert find_plan(engine, "tensorrt", (8, 7)) == engine.manifest.plans[0]


def mismatch(engine: Engine, **here: Any) -> str:
    with pytest.raises(EngineMismatchError) as caught:
        check(engine, **here)
    hint = f"Rebuild it here: {rebuild_command(engine, 'tensorrt')}"
    assert caught.value.hint == hint
    assert f"'{engine.path}' --rebuild --backend tensorrt" in hint  # quoted: it holds a space
    return str(caught.value).rpartition("/")[2]


def test_each_mismatch_is_one_sentence_with_both_values(engine: Engine) -> None:
    name = "tensorrt-10.3.0-sm_87.plan was built for"
    assert mismatch(engine, version="10.7.0") == (
        f"{name} TensorRT 10.3.0.26; this machine is running TensorRT 10.7.0."
    )
    assert mismatch(engine, gpu=(8, 9)) == f"{name} sm_87; this machine is sm_89."
    replant(engine, planted(b"vtrt", (1, 7, 1, 116)))
    assert mismatch(engine) == f"{name} TensorRT-RTX; this machine is loading it with TensorRT."


@pytest.mark.parametrize(
    "content", [planted(b"xtrt"), b"\x00" * 200, planted(version=(0, 0, 0, 0))]
)
def test_a_layout_that_nobody_knows_is_left_to_the_library(engine: Engine, content: bytes) -> None:
    replant(engine, content)
    assert check(engine).read_bytes() == content


def test_a_plan_cut_inside_its_header(engine: Engine) -> None:
    replant(engine, planted()[:20])
    with pytest.raises(EngineCorruptError, match="has 20 bytes; its header alone has 64"):
        check(engine)


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (planted()[:-1], "has 80 bytes; the manifest records 81"),
        (b"", "has 0 bytes; the manifest records 81"),
        (flipped(planted(), 0), "is damaged: its SHA-256 is"),
        (flipped(planted(), 26), "is damaged: its SHA-256 is"),
        (flipped(planted(), 80), "is damaged: its SHA-256 is"),
    ],
)
def test_truncated_and_flipped_plans_are_found_by_their_hash(
    engine: Engine, content: bytes, message: str
) -> None:
    replant(engine, content)
    with pytest.raises(EngineCorruptError, match=message) as caught:
        bas_edge.open_engine(engine.path)
    assert caught.value.hint == (f"Build it again: bas-edge build-engine '{engine.path}' --rebuild")
    bas_edge.Localizer(engine.model_path).close()  # the graph is as good as before


def record(**fields: Any) -> PlanRecord:
    file = FileRecord(path="p", sha256="", size_bytes=0)
    return PlanRecord(backend="tensorrt_rtx", file=file, library_version="1", **fields)


@pytest.mark.parametrize(
    ("fields", "runs", "does_not"),
    [
        ({"targets": ("sm_86", "sm_120")}, [(8, 6), (12, 0)], [(8, 9), (12, 1), (9, 0)]),
        ({"targets": ("sm_80+",)}, [(8, 0), (9, 0), (12, 1)], [(7, 5)]),
        ({"targets": ("sm_87",), "hardware_compat": "ampere_plus"}, [(8, 0), (12, 0)], [(7, 5)]),
        ({"targets": ("sm_87",), "hardware_compat": "same_compute_capability"}, [(8, 7)], [(8, 6)]),
        ({"compute_capability": "8.7"}, [(8, 7)], [(8, 6)]),
        ({}, [(7, 5), (12, 0)], []),
    ],
)
def test_what_runs_where(
    fields: dict[str, Any], runs: list[tuple[int, int]], does_not: list[tuple[int, int]]
) -> None:
    assert all(runs_on(record(**fields), gpu) for gpu in runs)
    assert not any(runs_on(record(**fields), gpu) for gpu in does_not)


def test_the_plan_for_a_gpu(engine: Engine) -> None:
    plans = (record(targets=("sm_86",)), record(targets=("sm_80+",)), record(targets=("sm_75",)))
    manifest = msgspec.structs.replace(engine.manifest, plans=plans)
    several = Engine(engine.path, manifest, engine.model_path)
    assert find_plan(several, "tensorrt_rtx", (8, 6)) == plans[1]  # the last that fits
    assert find_plan(several, "tensorrt_rtx", (7, 5)) == plans[2]
    with pytest.raises(EngineMismatchError, match=r"for sm_86, sm_80\+, sm_75; .* is sm_72"):
        find_plan(several, "tensorrt_rtx", (7, 2))
    with pytest.raises(
        EngineError, match="has no plan for the backend 'tensorrt'; it was built"
    ) as e:
        find_plan(several, "tensorrt", (8, 6))
    assert str(e.value.hint).endswith("--rebuild --backend tensorrt")
