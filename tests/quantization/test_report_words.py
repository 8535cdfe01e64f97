"""Figures as people read them."""

from __future__ import annotations

import msgspec
import pytest
from sample_report import check

from bas_edge.quantization import report_words as words
from bas_edge.quantization.reduce import figures_text
from bas_edge.quantization.report import (
    BoundCheck,
    KeptNode,
    LayerError,
    PrecisionReport,
    Unit,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.0345, "0.035"), (0.001, "0.001"), (2.14e-6, "2.1 × 10⁻⁶"), (1.5, "1.500")],
)
def test_errors(value: float, text: str) -> None:
    assert words.error_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1.000"), (0.99999, "0.999"), (0.9876, "0.988"), (0.0, "0.000")]
)
def test_an_iou_is_1_only_where_it_is_1(value: float, text: str) -> None:
    assert words.iou_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "–"), (812, "812 B"), (14_240, "14.2 kB"), (3_504_877, "3.5 MB"), (2.5e9, "2.5 GB")],
)
def test_sizes(value: int, text: str) -> None:
    assert words.bytes_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.44, "0.4 s"), (41.5, "42 s"), (185.2, "3 min 05 s"), (59.9, "60 s")]
)
def test_seconds(value: float, text: str) -> None:
    assert words.seconds_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0 %"), (0.0004, "< 0.1 %"), (0.3799, "38.0 %"), (1.0, "100.0 %")]
)
def test_shares(value: float, text: str) -> None:
    assert words.share_text(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (3.214, "3.21 ms"), (41.27, "41.3 ms")])
def test_latency(value: float | None, text: str) -> None:
    assert words.latency_text(value) == text


def test_losses() -> None:
    assert words.loss_text(check("a", 71.34, 70.92, 1, 0.31)) == "0.42 ± 0.31 points"
    assert words.loss_text(check("a", 58.2, 58.35, 1, 0.2)) == "−0.15 ± 0.20 points"
    assert words.loss_text(check("a", 58.2, 58.2001, 1, 0.2)) == "0.00 ± 0.20 points"
    plain = BoundCheck(metric="a", reference=None, value=0.9, loss=0.1, limit=0.05, unit="IoU")
    assert words.loss_text(plain) == "0.100"
    assert words.value_text(plain.reference, "IoU") == "–"
    assert not plain.held


def test_one_layer_is_singular() -> None:
    report = PrecisionReport(
        engine="e",
        precision="int8",
        verdict="accepted after search",
        kept=(KeptNode(node="n", reason="r"),),
    )
    assert words.verdict_text(report) == "Accepted after 1 layer was kept in float"


def test_layers_are_beside_all_layers() -> None:
    layers = tuple(LayerError(node=str(n), operator="Conv", error=0.1) for n in range(28))
    kept = tuple(KeptNode(node=str(n), reason="r") for n in range(24))
    report = PrecisionReport(
        engine="e", precision="int8", verdict="accepted after search", layers=layers, kept=kept
    )
    assert words.verdict_text(report) == "Accepted after 24 of 28 layers were kept in float"
    one = msgspec.structs.replace(report, kept=kept[:1])
    assert words.verdict_text(one) == "Accepted after 1 of 28 layers was kept in float"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 images"), (1, "1 image"), (1450, "1,450 images")]
)
def test_counts_with_their_noun(count: int, text: str) -> None:
    assert words.counted(count, "image") == text


@pytest.mark.parametrize(
    ("loss", "limit", "unit", "text"),
    [
        (0.831, 0.5, "percent", "m loses 0.83 (at most 0.50)"),
        (-0.831, 0.5, "percent", "m gains 0.83 (may lose 0.50)"),
        (0.0, 0.0, "percent", "m loses 0.00 (at most 0.00)"),
        (0.03, 0.0001, "IoU", "m loses 0.030 (at most 0.0001)"),
        (0.00012, 0.03, "IoU", "m loses 0.0001 (at most 0.030)"),
        (-0.004, 0.5, "percent", "m gains 0.004 (may lose 0.50)"),
        (-1e-15, 0.5, "percent", "m loses 0.00 (at most 0.50)"),
    ],
)
def test_what_decides_a_verdict(loss: float, limit: float, unit: Unit, text: str) -> None:
    found = BoundCheck(metric="m", reference=None, value=0.9, loss=loss, limit=limit, unit=unit)
    assert figures_text([found, found]) == f"{text}, {text}"
