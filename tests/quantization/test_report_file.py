"""report.json: what is written is read again, and damage is one clear sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bas_edge._require
from bas_edge.engine.bundle import Engine, open_engine, write_bundle
from bas_edge.engine.stages import IouSummary, Stage
from bas_edge.errors import (
    EngineCorruptError,
    EngineSchemaError,
    InputError,
    MissingExtraError,
)
from bas_edge.quantization import report_file
from bas_edge.quantization.report import (
    BoundCheck,
    CalibrationRecord,
    EqualizedTensor,
    ImageComparison,
    KeptNode,
    LayerError,
    MaskComparison,
    MethodResult,
    PrecisionReport,
    SearchStep,
)
from bas_edge.quantization.report_file import decode_report, encode_report, read_report

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
BOXES = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)


def records(kind: type, **fields: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Any `kind`: text and numbers by their type, the fields that are given as they are."""
    plain = {
        "str": st.text(),
        "int": st.integers(0, 1 << 53),
        "float": NUMBERS,
        "bool": st.booleans(),
    }
    plain["float | None"] = st.none() | NUMBERS
    chosen = {
        name: fields[name] if name in fields else plain[annotation]
        for owner in reversed(kind.__mro__)
        for name, annotation in getattr(owner, "__annotations__", {}).items()
    }
    return st.builds(kind, **chosen)


def several(of: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(of, max_size=2).map(tuple)


HEAT = st.binary(min_size=6, max_size=6)
CHECKS = several(records(BoundCheck, unit=st.sampled_from(["percent", "IoU"])))
SUMMARIES = records(IouSummary, histogram=several(st.integers(0, 1000)))
REPORTS = records(
    PrecisionReport,
    schema_version=st.just(1),
    verdict=st.sampled_from(["accepted", "accepted after search", "refused"]),
    checks=CHECKS,
    plan_checks=CHECKS,
    task=st.sampled_from(["localization", "segmentation"]),
    stages=several(records(Stage, box_iou=st.none() | SUMMARIES, mask_iou=st.none() | SUMMARIES)),
    calibration=st.none()
    | records(
        CalibrationRecord,
        equalized=several(records(EqualizedTensor, consumers=several(st.text()))),
    ),
    methods=several(records(MethodResult, checks=CHECKS)),
    layers=several(records(LayerError)),
    kept=several(records(KeptNode)),
    search=several(records(SearchStep, checks=CHECKS)),
    worst=several(
        records(
            ImageComparison,
            box=BOXES,
            box_reference=BOXES,
            heat=HEAT,
            heat_reference=HEAT,
            heat_size=st.sampled_from([(2, 3), (6, 1)]),
            seen=st.binary(max_size=6),
            seen_size=st.tuples(st.integers(0, 9), st.integers(0, 9)),
        )
    ),
    worst_masks=several(
        records(
            MaskComparison,
            mask=st.binary(max_size=6),
            mask_reference=st.binary(max_size=6),
            classes=several(st.text()),
            classes_reference=several(st.text()),
            seen=st.binary(max_size=6),
            seen_size=st.tuples(st.integers(0, 9), st.integers(0, 9)),
        )
    ),
    libraries=st.dictionaries(st.text(), st.text(), max_size=2),
    notes=several(st.text()),
)


@given(REPORTS)
def test_round_trip(report: PrecisionReport) -> None:
    assert decode_report(encode_report(report), source="here") == report


def test_it_is_json_for_people_too(report: PrecisionReport) -> None:
    encoded = encode_report(report)
    assert encoded.decode().startswith('{\n  "schema_version": 1,')
    assert json.loads(encoded)["engine"] == "cub50"


@pytest.mark.parametrize("schema", [0, 2])
def test_another_schema(report: PrecisionReport, schema: int) -> None:
    encoded = msgspec.json.encode({"schema_version": schema, "something": "else"})
    message = f"x.engine has report schema {schema}; this version reads 1"
    with pytest.raises(EngineSchemaError, match=message):
        decode_report(encoded, source="x.engine")


@pytest.mark.parametrize(
    "encoded",
    [b"", b"[]", b"\xff", b'{"schema_version": 1}', b'{"schema_version": 1, "engine": 3}'],
)
def test_what_is_no_report(encoded: bytes) -> None:
    with pytest.raises(EngineCorruptError, match=r"The report of x\.engine cannot be read"):
        decode_report(encoded, source="x.engine")


def test_a_report_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_file, "REPORT_LIMIT_BYTES", 10)
    with pytest.raises(EngineCorruptError, match="has 11 bytes; the limit is 10"):
        decode_report(b" " * 11, source="x")


def test_numbers_that_json_has_not_are_refused_where_they_arise() -> None:
    with pytest.raises(ValueError, match=r"LayerError\.sqnr_db is inf, but must be finite"):
        LayerError(node="n", operator="Conv", error=0.1, sqnr_db=math.inf)


def test_heat_must_have_its_size(report: PrecisionReport) -> None:
    with pytest.raises(ValueError, match=r"heat_size is \(28, 28\)"):
        msgspec.convert(msgspec.to_builtins(report.worst[0]) | {"heat": "AAAA"}, ImageComparison)


@pytest.fixture
def make_engine(tmp_path: Path, graphs: ModuleType) -> Callable[..., Engine]:
    def make(**files: bytes) -> Engine:
        model = graphs.tiny_onnx(tmp_path / "m.onnx")
        named = {name.replace("_", "."): content for name, content in files.items()}
        return write_bundle(
            tmp_path / "e.engine", graphs.tiny_manifest(), model, files=named, overwrite=True
        )

    return make


def test_a_bundle_keeps_and_guards_both_files(
    make_engine: Callable[..., Engine], report: PrecisionReport
) -> None:
    files = report_file.report_files(report)
    assert set(files) == {"report.json", "report.html"}
    engine = make_engine(report_json=files["report.json"], report_html=files["report.html"])
    assert read_report(open_engine(engine.path)) == report
    page = report_file.page_path(engine)
    assert page == engine.path / "report.html"
    page.write_bytes(page.read_bytes() + b" ")
    with pytest.raises(EngineCorruptError, match=r"report\.html"):
        open_engine(engine.path)


def test_an_engine_without_a_report(make_engine: Callable[..., Engine], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"e\.engine has no report") as caught:
        read_report(make_engine())
    assert "--calib" in str(caught.value.hint)
    with pytest.raises(InputError, match=r"m\.onnx is a bare ONNX file"):
        read_report(open_engine(tmp_path / "m.onnx"))
    assert report_file.page_path(open_engine(tmp_path / "m.onnx")) is None


@pytest.mark.parametrize(("precision", "hinted"), [("fp32", "int8"), ("fp16", "fp16")])
def test_the_hint_keeps_the_precision(
    tmp_path: Path, graphs: ModuleType, precision: str, hinted: str
) -> None:
    manifest = msgspec.structs.replace(graphs.tiny_manifest(), precision=precision)
    engine = write_bundle(tmp_path / "e.engine", manifest, graphs.tiny_onnx(tmp_path / "m.onnx"))
    with pytest.raises(InputError) as caught:
        read_report(engine)
    assert f"--precision {hinted} --calib" in str(caught.value.hint)


def test_without_jinja2_the_figures_are_written_and_a_note_says_so(
    report: PrecisionReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> object:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(bas_edge._require.importlib, "import_module", absent)
    notes: list[str] = []
    assert set(report_file.report_files(report, note=notes.append)) == {"report.json"}
    (sentence,) = notes
    assert sentence.startswith("report.html is left out; report.json says the same.")
    assert "bas-edge[report]" in sentence
    with pytest.raises(MissingExtraError):
        report_file.report_files(report)
