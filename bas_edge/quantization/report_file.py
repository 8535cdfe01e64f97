"""`report.json` and `report.html` of a bundle: written, found and read."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import msgspec

from bas_edge.engine.bundle import Engine
from bas_edge.engine.versioned_json import decode_versioned
from bas_edge.errors import EngineCorruptError, InputError, MissingExtraError
from bas_edge.quantization.report import REPORT_SCHEMA, PrecisionReport
from bas_edge.quantization.report_page import render_page

__all__ = [
    "PAGE_NAME",
    "REPORT_LIMIT_BYTES",
    "REPORT_NAME",
    "decode_report",
    "encode_report",
    "page_path",
    "read_report",
    "read_report_file",
    "report_files",
]

REPORT_NAME = "report.json"
PAGE_NAME = "report.html"
REPORT_LIMIT_BYTES = 32 << 20


def encode_report(report: PrecisionReport) -> bytes:
    """UTF-8 JSON, indented; bytes are base64."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def decode_report(encoded: bytes, *, source: str) -> PrecisionReport:
    """Decode and check UTF-8 JSON from `source`, which error messages name.

    Raises:
        EngineSchemaError: Another schema version.
        EngineCorruptError: Too large, not JSON, or not a report.
    """
    return decode_versioned(
        encoded,
        PrecisionReport,
        what="report",
        source=source,
        schema=REPORT_SCHEMA,
        limit_bytes=REPORT_LIMIT_BYTES,
    )


def report_files(
    report: PrecisionReport, *, note: Callable[[str], None] | None = None
) -> dict[str, bytes]:
    """The report as files of a bundle, for `write_bundle(files=…)`.

    Args:
        report: What is written.
        note: Called with a sentence where the page is left out, because jinja2 is missing: a
            build of many minutes is not lost for it. Without `note`, that is an error.

    Raises:
        MissingExtraError: jinja2 is not installed, and there is no `note`.
    """
    files = {REPORT_NAME: encode_report(report)}
    try:
        files[PAGE_NAME] = render_page(report).encode()
    except MissingExtraError as error:
        if note is None:
            raise
        note(f"{PAGE_NAME} is left out; {REPORT_NAME} says the same. {error} {error.hint}")
    return files


def read_report(engine: Engine) -> PrecisionReport:
    """The report of an opened engine, whose files are checked already.

    Raises:
        InputError: It has none.
        EngineSchemaError, EngineCorruptError: It is of another version, or damaged.
    """
    path = _recorded(engine, REPORT_NAME)
    if path is None:
        raise _no_report(engine)
    return read_report_file(path, source=os.fspath(engine.path))


def read_report_file(path: Path, *, source: str) -> PrecisionReport:
    """Read `report.json` of `source`, which error messages name.

    Raises:
        EngineSchemaError, EngineCorruptError: It is of another version, or damaged.
    """
    try:
        with path.open("rb") as stream:
            encoded = stream.read(REPORT_LIMIT_BYTES + 1)
    except OSError as error:
        raise EngineCorruptError(f"Cannot read {path}: {error.strerror}.") from None
    return decode_report(encoded, source=source)


def page_path(engine: Engine) -> Path | None:
    """Where `report.html` of an opened engine is; None where there is none."""
    return _recorded(engine, PAGE_NAME)


def _recorded(engine: Engine, name: str) -> Path | None:
    recorded = engine.is_bundle and any(file.path == name for file in engine.manifest.files)
    return engine.path / name if recorded else None


def _no_report(engine: Engine) -> InputError:
    if not engine.is_bundle:
        return InputError(
            f"{engine.path} is a bare ONNX file; only an engine folder has a report.",
            hint=f"bas-edge build-engine {shlex.quote(str(engine.path))} -o NAME.engine "
            "--precision int8 --calib IMAGES",
        )
    precision = "fp16" if engine.manifest.precision == "fp16" else "int8"
    return InputError(
        f"{engine.path} has no report: none was made when it was built "
        f"({engine.manifest.precision}).",
        hint="A build with calibration images makes one: "
        f"bas-edge build-engine model.onnx --precision {precision} --calib IMAGES",
    )
