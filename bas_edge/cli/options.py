"""Options that several verbs share, so that they are spelt and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Backend", "Engine", "Json", "Threads"]

Json = Annotated[
    bool, typer.Option("--json", help="Print machine-readable results on stdout instead of text.")
]
Engine = Annotated[
    Path,
    typer.Argument(metavar="ENGINE", help="An engine folder, or an .onnx file from `export`."),
]
Backend = Annotated[
    str, typer.Option("--backend", help="Inference library: auto, or one that `doctor` lists.")
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="CPU threads for inference. Default: one a core."),
]
