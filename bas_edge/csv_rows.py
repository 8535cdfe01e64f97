"""The rows of a CSV file, or one sentence on why they cannot be read."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bas_edge.errors import InputError

__all__ = ["read_csv_rows"]


def read_csv_rows(
    path: Path, check_columns: Callable[[Path, Sequence[str]], None]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row's line number and its cells by column, without the spaces around them.

    Args:
        path: UTF-8, with a header.
        check_columns: Called with `path` and the header before the first row; raises InputError
            for columns that it does not take.

    Raises:
        InputError: Not readable, not UTF-8, not well-formed, a row with more or fewer cells than
            the header, or no rows.
    """
    rows = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            check_columns(path, reader.fieldnames or ())
            for row in reader:
                if None in row or None in row.values():
                    raise InputError(
                        f"{path}, line {reader.line_num}: the row does not have as many cells as "
                        "the header.",
                        hint='Put a path or name with a comma in it between quotes: "a, b.jpg"',
                    )
                yield reader.line_num, {name: cell.strip() for name, cell in row.items()}
                rows += 1
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error}.", hint="Save it as UTF-8.") from None
    except csv.Error as error:
        raise InputError(f"{path} is not well-formed CSV: {error}.") from None
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    if not rows:
        raise InputError(
            f"{path} has a header but no rows.", hint="Add one row for each image (or box)."
        )
