from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bas_edge.backends._plan_header import HEADER_BYTES, PlanHeader, check_header, read_header
from bas_edge.errors import EngineCorruptError, EngineMismatchError


def plan(magic: bytes = b"vtrt", version: tuple[int, ...] = (1, 7, 1, 116)) -> bytes:
    """The start of a plan, as TensorRT for RTX 1.7.1.116 writes it, and some content."""
    start = bytearray(HEADER_BYTES)
    start[0:4], start[8], start[24:28] = magic, 2, bytes(version)
    return bytes(start) + b"content"


@pytest.mark.parametrize(
    ("start", "header"),
    [
        (plan(), PlanHeader("tensorrt_rtx", "1.7.1.116")),
        (plan(b"ftrt", (10, 3, 0, 26)), PlanHeader("tensorrt", "10.3.0.26")),
        (plan(b"ftrt", (8, 6, 1, 6)), PlanHeader("tensorrt", "8.6.1.6")),
        (plan(b"xtrt"), PlanHeader("", "")),
        (plan()[:40], PlanHeader("tensorrt_rtx", "")),
        (b"vtrt\x01" + plan()[5:], PlanHeader("tensorrt_rtx", "")),  # another layout
        (plan(version=(0, 0, 0, 0)), PlanHeader("tensorrt_rtx", "")),
        (b"", PlanHeader("", "")),
    ],
)
def test_what_a_header_says(start: bytes, header: PlanHeader) -> None:
    assert read_header(start) == header


@given(start=st.binary(max_size=80))
def test_any_bytes_give_a_header(start: bytes) -> None:
    header = read_header(start)
    assert header.backend in {"", "tensorrt", "tensorrt_rtx"}
    assert bool(header.version) <= bool(header.backend)


def checked(tmp_path: Path, content: bytes, *, version: str = "1.7.1.116") -> PlanHeader:
    path = tmp_path / "x.plan"
    path.write_bytes(content)
    return check_header(
        path, backend="tensorrt_rtx", library_version=version, rebuild="bas-edge build-engine …"
    )


@pytest.mark.parametrize("version", ["1.7.1.116", "1.7.1.200", "1.7.1"])
def test_the_same_release_is_taken(tmp_path: Path, version: str) -> None:
    assert checked(tmp_path, plan(), version=version).version == "1.7.1.116"


@pytest.mark.parametrize("version", ["1.7.2.0", "1.6.1.116", "2.7.1.116"])
def test_another_release_names_both(tmp_path: Path, version: str) -> None:
    with pytest.raises(EngineMismatchError) as caught:
        checked(tmp_path, plan(), version=version)
    assert str(caught.value) == (
        f"{tmp_path / 'x.plan'} was built for TensorRT-RTX 1.7.1.116; "
        f"this machine is running TensorRT-RTX {version}."
    )
    assert caught.value.hint == "Rebuild it here: bas-edge build-engine …"


def test_a_plan_of_the_other_library(tmp_path: Path) -> None:
    with pytest.raises(EngineMismatchError, match=r"was built for TensorRT; .* with TensorRT-RTX"):
        checked(tmp_path, plan(b"ftrt", (10, 3, 0, 26)))


def test_an_unknown_layout_is_no_error(tmp_path: Path) -> None:
    assert checked(tmp_path, plan(b"new!")) == PlanHeader("", "")


@pytest.mark.parametrize("size", [0, 3, 63])
def test_a_plan_cut_inside_its_header(tmp_path: Path, size: int) -> None:
    with pytest.raises(EngineCorruptError, match=f"has {size} bytes; its header alone has 64"):
        checked(tmp_path, plan()[:size])


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EngineCorruptError, match="cannot be read: No such file"):
        check_header(tmp_path / "x", backend="tensorrt", library_version="1", rebuild="")
