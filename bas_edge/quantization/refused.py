"""The folder beside a refused engine, `NAME.refused/`: where its report is, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bas_edge.engine.bundle import MANIFEST_NAME, MODEL_NAME
from bas_edge.engine.durable_files import (
    hidden_folder,
    move_into_place,
    sync_folders,
    write_and_sync,
)
from bas_edge.errors import BasEdgeError, InputError
from bas_edge.quantization.report import PrecisionReport
from bas_edge.quantization.report_file import (
    PAGE_NAME,
    REPORT_LIMIT_BYTES,
    REPORT_NAME,
    decode_report,
    read_report_file,
)

__all__ = ["is_report_folder", "read_refused", "refused_folder", "remove_refused", "write_refused"]


def refused_folder(output: Path) -> Path:
    """`birds.refused` for `birds.engine`; for another name, that name with `.refused` behind it."""
    return output.with_name(output.name.removesuffix(".engine") + ".refused")


def write_refused(output: Path, files: Mapping[str, bytes]) -> Path:
    """Write the report of a refused engine, whole or not at all, instead of an older one.

    Returns:
        The folder.

    Raises:
        InputError: Something else has its name.
        OSError: The disk is full or cannot be written. An older report is as it was.
    """
    folder = refused_folder(output)
    with hidden_folder(folder) as new:
        for name, content in files.items():
            write_and_sync(new / name, content)
        sync_folders(new)
        there = os.path.lexists(folder)
        if there and not _is_report(folder):
            raise InputError(f"{folder} is there and is no report of a refused engine")
        move_into_place(new, folder, replace=there)
    return folder


def is_report_folder(folder: Path) -> bool:
    """Whether a report lies there, and nothing of an engine."""
    engine = (MANIFEST_NAME, MODEL_NAME)
    return (folder / REPORT_NAME).is_file() and not any((folder / one).exists() for one in engine)


def read_refused(folder: Path) -> tuple[PrecisionReport, Path | None]:
    """The report of a refused engine, and its page where there is one.

    Raises:
        EngineSchemaError, EngineCorruptError: It is of another version, or damaged.
    """
    report = read_report_file(folder / REPORT_NAME, source=str(folder))
    page = folder / PAGE_NAME
    return report, page if page.is_file() else None


def remove_refused(output: Path) -> str:
    """Remove an older report about `output`, now that it exists; "", or why that failed."""
    folder = refused_folder(output)
    if not _is_report(folder):
        return ""
    try:
        for name in (PAGE_NAME, REPORT_NAME):  # what makes it a report goes last
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
    except OSError as error:
        return f"The report of an earlier refusal stays: cannot remove {folder}: {error.strerror}."
    return ""


def _is_report(folder: Path) -> bool:
    """Whether it holds the report of a refused engine, and nothing else."""
    try:
        if folder.is_symlink() or not folder.is_dir():
            return False
        names = {one.name for one in folder.iterdir() if one.is_file() and not one.is_symlink()}
        if len(names) != len(list(folder.iterdir())) or not names <= {REPORT_NAME, PAGE_NAME}:
            return False
        with (folder / REPORT_NAME).open("rb") as stream:
            encoded = stream.read(REPORT_LIMIT_BYTES + 1)
        return decode_report(encoded, source=str(folder)).verdict == "refused"
    except (OSError, BasEdgeError):
        return False
