"""An engine, and inputs for it, in a working folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bas_edge.cli import main

Invoke = Callable[..., tuple[int, list[Any], str]]


@pytest.fixture
def workplace(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_onnx: Callable[..., Path],
    graphs: ModuleType,
    clips: ModuleType,
) -> Path:
    """The current folder: tiny.onnx, photos/{a,b}.jpg, clip.mp4 with five frames."""
    monkeypatch.chdir(tmp_path)
    tiny_onnx(tmp_path / "tiny.onnx")
    (tmp_path / "photos").mkdir()
    frame = graphs.coloured_frame((64, 96), (24, 16, 56, 48), (0, 255, 0))
    for name in ("a", "b"):
        Image.fromarray(frame).save(tmp_path / "photos" / f"{name}.jpg", quality=95)
    clips.write_clip(tmp_path / "clip.mp4", [np.ascontiguousarray(frame)] * 5)
    return tmp_path


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Invoke:
    """`invoke(*words) → (exit code, JSON objects on stdout, text on stderr)`; adds --json."""

    def run(*words: object) -> tuple[int, list[Any], str]:
        code = main([*map(str, words), "--json"])
        said = capsys.readouterr()
        return code, [json.loads(line) for line in said.out.splitlines()], said.err

    return run


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`say(*words) → (exit code, stdout, stderr)`, without --json."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main([*map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
