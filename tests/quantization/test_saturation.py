"""CPUs that sum products of codes in 16 bits."""

from __future__ import annotations

import logging
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
