"""CPUs that sum products of codes in 16 bits."""

from __future__ import annotations

import logging
import platform
from pathlib import Path

import pytest

from bas_edge.engine.manifest import Quantization
from bas_edge.quantization.saturation import may_saturate, warn_of_saturation

VNNI = ("sse4_1", "avx2", "avx512f", "avx512_vnni")
OLD = ("sse4_1", "avx", "avx2")
ARM = ("asimd", "asimddp")


def made(flavour: str = "onnxruntime", **changes: object) -> Quantization:
    return Quantization(flavour=flavour, method="mse", cpu_features=VNNI, **changes)


@pytest.mark.parametrize(("features", "saturates"), [(VNNI, False), (OLD, True), (ARM, False)])
def test_only_x86_without_vnni_saturates(features: tuple[str, ...], saturates: bool) -> None:
    assert may_saturate(features) is saturates


@pytest.mark.parametrize(
    ("machine", "saturates"),
    [("x86_64", True), ("AMD64", True), ("i386", True), ("arm64", False), ("aarch64", False)],
)
def test_where_the_features_are_not_known_an_x86_may_saturate(
    machine: str, saturates: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert may_saturate(()) is saturates
    warn_of_saturation(Path("x.engine"), made(), ())
    assert ("avx512_vnni" in caplog.text) is saturates


def test_an_engine_measured_on_an_unknown_cpu_may_saturate_here(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unknown = Quantization(flavour="onnxruntime", method="mse")
    warn_of_saturation(Path("x.engine"), unknown, OLD)
    assert "was measured on a CPU with exact sums, which this one lacks" in caplog.text


@pytest.mark.parametrize(
    ("quantization", "features", "warned"),
    [
        (made(), OLD, True),
        (made(), VNNI, False),
        (made(), ARM, False),
        (made(reduce_range=True), OLD, False),
        (made("tensorrt"), OLD, False),
        (Quantization(flavour="onnxruntime", method="mse", cpu_features=OLD), OLD, False),
    ],
)
def test_it_is_said_where_the_measured_accuracy_may_not_hold(
    quantization: Quantization,
    features: tuple[str, ...],
    warned: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "bas_edge"):
        warn_of_saturation(Path("x.engine"), quantization, features)
    assert ("avx512_vnni" in caplog.text) is warned
    assert ("--reduce-range" in caplog.text) is warned
