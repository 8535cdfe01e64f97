"""The wall time of `python -c "import bas_edge"`, beside an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..harness import Answer, Comparison, Session, WrongAnswerError

__all__ = ["CASE"]

HEAVY = ("torch", "onnxruntime", "onnx", "av", "cv2", "matplotlib")


def _process(code: str) -> Callable[[Path], Session]:
    def open_session(work: Path) -> Session:
        command = [sys.executable, "-c", code]

        def call(_: int) -> Answer:
            done = subprocess.run(command, check=True, capture_output=True, cwd=work)
            return Answer(np.array(len(done.stdout)))

        return call

    return open_session


def _agree(answers: Mapping[str, NDArray[Any]]) -> str:
    if any(values.any() for values in answers.values()):
        raise WrongAnswerError("importing bas_edge prints something")
    code = f"import bas_edge, sys; print(*(m for m in {HEAVY} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    if done.stdout.strip():
        raise WrongAnswerError(f"importing bas_edge also imports {done.stdout.strip()}")
    return f"none of {', '.join(HEAVY)} is imported"


CASE = Comparison(
    name="import_time",
    summary='python -c "import bas_edge", start of the interpreter included',
    variants={"ours": _process("import bas_edge"), "python -c pass": _process("pass")},
    agree=_agree,
    inputs=1,
    threads=1,
    limit_ms=150.0,
    block_s=1.0,
)
