"""`bas-edge inspect --report`: why a reduced engine was accepted, in the terminal."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bas_edge.cli.output import print_json, print_rows

if TYPE_CHECKING:
    from bas_edge.quantization.report import PrecisionReport
    from bas_edge.quantization.report_tables import Table

__all__ = ["print_summary", "show_report"]

_LAYERS = 8
_KEPT = 5


def show_report(path: Path, *, as_json: bool, open_page: bool) -> None:
    """Print the report of an engine, or of a refused one, and say where its page is.

    Args:
        path: The engine, or the folder that was written beside it when it was refused.
        as_json: Print `report.json` instead.
        open_page: Open the page in the browser too.

    Raises:
        InputError: The engine has no report.
        EngineError: The engine or its report cannot be read.
    """
    report, page = _found(path)
    if as_json:
        print_json(report)
    else:
        _print(report)
        if page is not None:
            print(f"\nThe whole report, with pictures: {page}")
    if open_page:
        reason = "there is none" if page is None else _why_not(os.environ)
        if not reason and page is not None and not _opened(page):
            reason = "no browser could be started"
        if reason:
            print(f"note: report.html was not opened: {reason}.", file=sys.stderr)


def print_summary(report: PrecisionReport, engine: Path) -> None:
    """The verdict, the bound's figures and the methods tried: what the build of `engine` ends with.

    Of the layers in float, the first few are shown.
    """
    from bas_edge.quantization import report_tables
    from bas_edge.quantization.report_words import verdict_text

    print(f"{report.precision}: {verdict_text(report)}")
    _print_table("The bound", report_tables.bound_table(report))
    _print_table("Calibration methods", report_tables.method_table(report))
    kept = report_tables.kept_table(report)
    if (hidden := len(kept.rows) - _KEPT) > 0:
        command = f"bas-edge inspect {shlex.quote(str(engine))} --report"
        kept = replace(kept, rows=kept.rows[:_KEPT], more=f"… and {hidden} more: {command}")
    _print_table("Kept in float", kept)


def _found(path: Path) -> tuple[PrecisionReport, Path | None]:
    """The report, and its page where there is one."""
    from bas_edge.engine.bundle import open_engine
    from bas_edge.quantization.refused import is_report_folder, read_refused
    from bas_edge.quantization.report_file import page_path, read_report

    if is_report_folder(path):
        return read_refused(path)
    engine = open_engine(path)
    return read_report(engine), page_path(engine)


def _print(report: PrecisionReport) -> None:
    from bas_edge.quantization import report_tables
    from bas_edge.quantization.advice import advice_again
    from bas_edge.quantization.report_words import count_text, verdict_text

    print(f"{report.engine}, {report.precision}: {verdict_text(report)}")
    if report.reason:
        print(report.reason)
    if hint := advice_again(report):
        print(f"hint: {hint}")
    for sentence in report.notes:
        print(f"note: {sentence}")
    _print_table("The bound", report_tables.bound_table(report))
    _print_stages(report_tables.stage_table(report))
    if report.calibration is not None:
        found = report.calibration
        facts = [("images", f"{count_text(found.images)} from {found.source}")]
        facts += [("method", found.method), ("cache", found.cache), ("sha256", found.sha256)]
        print("\nCalibration")
        print_rows([fact for fact in facts if fact[1]])
    _print_table("Calibration methods", report_tables.method_table(report))
    _print_table("What each layer costs", report_tables.layer_table(report, most=_LAYERS))
    _print_table("The search", report_tables.search_table(report))
    _print_table("Kept in float", report_tables.kept_table(report))


def _print_table(title: str, table: Table) -> None:
    """The columns that hold anything, under their headings; nothing for a table without rows."""
    if not table.rows:
        return
    used = [
        at
        for at in range(len(table.columns))
        if at == 0 or any(row[at] not in ("", "–") for row in table.rows)
    ]
    print(f"\n{title}")
    print_rows([[row[at] for at in used] for row in (table.columns, *table.rows)])
    if table.more:
        print(f"  {table.more}")


def _print_stages(table: Table) -> None:
    """One column a stage, as a terminal is narrow; notes on lines of their own."""
    if not table.rows:
        return
    print("\nFrom stage to stage")
    lines = zip(table.columns, *table.rows, strict=True)
    note = table.columns.index("Note")
    print_rows(
        line
        for at, line in enumerate(lines)
        if at != note and any(cell not in ("", "–") for cell in line[1:])
    )
    for row in table.rows:
        if row[note]:
            print(f"  {row[0]}: {row[note]}")


def _why_not(environment: Mapping[str, str]) -> str:
    """Why no browser is started here, or "": somebody must sit before this machine's screen."""
    if not sys.stdout.isatty():
        return "the output goes into a pipe or file"
    if environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"):
        return "this is a session over ssh"
    desktop = environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not desktop:
        return "there is no desktop"
    return ""


def _opened(page: Path) -> bool:
    import webbrowser

    return webbrowser.open(page.resolve().as_uri())
