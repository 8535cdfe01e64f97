"""The files of an analysis."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bas_edge.errors import InputError
from bas_edge_training.analysis.picture import check_drawable, draw_analysis
from bas_edge_training.analysis.report import Analysis
from bas_edge_training.atomic import replace_atomically

__all__ = ["FILES", "check_output", "write_output"]

_JSON, _CSV, _PICTURE = FILES = ("analysis.json", "analysis.csv", "analysis.png")


def check_output(folder: Path, *, overwrite: bool) -> None:
    """Refuse what would only fail after the work is done.

    Raises:
        InputError: The folder holds an analysis that is not to be replaced, or is no folder.
        MissingExtraError: matplotlib is not installed.
    """
    check_drawable()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder.", hint="Choose another output.")
    taken = [folder / name for name in FILES if (folder / name).exists()]
    if taken and not overwrite:
        raise InputError(
            f"{taken[0]} already exists.",
            hint="Add --overwrite to replace it, or choose another output.",
        )


def write_output(folder: Path, analysis: Analysis) -> None:
    """Write the analysis as JSON, CSV and PNG. Raises BasEdgeError where that is impossible."""
    text = msgspec.json.format(msgspec.json.encode(analysis)).decode() + "\n"
    table = analysis.csv()
    replace_atomically(folder / _JSON, lambda file: file.write_text(text, "utf-8"))
    replace_atomically(folder / _CSV, lambda file: file.write_text(table, "utf-8"))
    draw_analysis(analysis, folder / _PICTURE)
