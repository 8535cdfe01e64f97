"""`bas-edge segment`: the class of each pixel of image files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bas_edge.cli.options import Backend, Engine, Json, Threads
from bas_edge.cli.output import counted, print_json, progress_bar, skipped_text
from bas_edge.errors import InputError, PartialFailureError

__all__ = ["command"]


def command(
    engine: Engine,
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Image files, folders or patterns."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A new folder for NAME.png, class numbers as a palette PNG."
        ),
    ] = None,
    overlays: Annotated[
        bool, typer.Option("--overlays", help="Also NAME.jpg there, with the classes drawn.")
    ] = False,
    threads: Threads = None,
    backend: Backend = "auto",
    json_output: Json = False,
) -> None:
    """Segment images: print the classes found, write masks."""
    from PIL import Image

    from bas_edge import Segmenter
    from bas_edge.finding import summary
    from bas_edge.images import image_files, read_image
    from bas_edge.segmentation import unique_names, write_mask

    if overlays and output is None:
        raise InputError("--overlays has no folder to go to.", hint="Add --output FOLDER.")
    files = [file for source in sources for file in image_files(source)]
    names = unique_names(files)
    if output is not None:
        _claim(output)
    failures: list[str] = []
    with Segmenter(engine, backend=backend, threads=threads) as segmenter, progress_bar() as bar:
        for file, name in bar.track(zip(files, names, strict=True), len(files)):
            try:
                pixels = read_image(file)
            except InputError as error:
                failures.append(str(error))
                continue
            found = segmenter.run(pixels)
            if output is not None:
                write_mask(output / f"{name}.png", found.mask)
                if overlays:
                    Image.fromarray(found.draw(pixels)).save(output / f"{name}.jpg", quality=90)
            if json_output:
                print_json({"path": str(file), **found.to_dict()})
            else:
                print(f"{file}: {summary(found) or 'background'}")
    if output is not None and not json_output:
        print(f"\nWrote {counted(len(files) - len(failures), 'mask')} to {output}")
    if failures:
        raise PartialFailureError(f"{skipped_text(len(failures))}; the first: {failures[0]}")


def _claim(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already.", hint="Choose another output folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot create {folder}: {error.strerror}.") from error
