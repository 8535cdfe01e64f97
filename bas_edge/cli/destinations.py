"""Files that a verb writes when its work is done: refused before it, where they cannot be."""

from __future__ import annotations

import os
from pathlib import Path

from bas_edge.errors import InputError

__all__ = ["claim_files"]


def claim_files(*files: Path | None, picture: Path | None = None) -> None:
    """Create the folders of the files to come; None stands for a file that is not wanted.

    Raises:
        InputError: A file cannot be written there, or `picture` has no ending of a picture.
    """
    for file in (*files, picture):
        if file is None:
            continue
        if file.is_dir():
            raise InputError(f"{file} is a folder.", hint="Give the name of a file.")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"Cannot create {file.parent}: {error.strerror}.", hint="Choose another output."
            ) from error
        if not os.access(file if file.exists() else file.parent, os.W_OK):
            raise InputError(f"{file} cannot be written here.", hint="Choose another output.")
    if picture is not None:
        from PIL import Image

        if picture.suffix.lower() not in Image.registered_extensions():
            raise InputError(
                f"The picture {picture} has no ending of a picture.",
                hint=f"Write {picture.with_suffix('.png')} instead.",
            )
