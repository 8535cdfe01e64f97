"""Frames on disk: what was put in comes out, and nothing stays behind."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bas_edge.engine.manifest import InputPolicy
from bas_edge.errors import BasEdgeError, InputError
from bas_edge.framing import frame_to_input, place
from bas_edge.images import read_image
from bas_edge.quantization.frame_store import FrameStore, InputFrame, store_images


def test_frames_come_out_as_they_went_in(policy: InputPolicy) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, 16, 24, 3), dtype=np.uint8)
    with FrameStore(policy) as store:
        assert list(store.batches(2)) == []
        for n, one in enumerate(pixels):
            store.append(InputFrame(one[::-1][::-1], (n + 1, 7)))  # views need not be contiguous
            np.testing.assert_array_equal(store.read(n, n + 1), pixels[n : n + 1])
        np.testing.assert_array_equal(store.read(1, 99), pixels[1:])
        np.testing.assert_array_equal(np.concatenate(list(store.batches(2))), pixels)
        assert store.read(3, 2).shape == (0, 16, 24, 3)
        assert store.frame_sizes == [(n, 7) for n in range(1, 6)]
        with pytest.raises(ValueError, match=r"\(16, 25, 3\)"):
            store.append(InputFrame(np.zeros((16, 25, 3), np.uint8), (1, 1)))
        with pytest.raises(ValueError, match="batch size is 0"):
            next(store.batches(0))


def test_images_once_each_with_those_that_were_skipped(
    tmp_path: Path, write_photos: Callable[..., list[Path]], policy: InputPolicy
) -> None:
    paths = write_photos(tmp_path, 12)
    paths[4].write_bytes(b"no image")
    calls: list[tuple[int, int]] = []
    stored = store_images(
        paths,
        policy,
        unusable=lambda index, size: f"{size} is too small" if index == 7 else None,
        progress=lambda *call: calls.append(call),
    )
    with stored.frames as store:
        assert stored.kept.tolist() == [n for n in range(12) if n not in {4, 7}]
        assert [one.path for one in stored.skipped] == [str(paths[4]), str(paths[7])]
        assert stored.skipped[1].reason == "(20, 30) is too small"
        assert calls == [(n, 12) for n in range(1, 13)]
        for n, index in enumerate(stored.kept):
            frame = frame_to_input(read_image(paths[index]), place((20, 30), policy))
            np.testing.assert_array_equal(store.read(n, n + 1)[0], frame)


def test_no_image_at_all(tmp_path: Path, policy: InputPolicy) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"None of the 1 images can be used: .*a\.png is not"):
        store_images([tmp_path / "a.png"], policy)
    with pytest.raises(InputError, match="None of the 0 images can be used: there are none"):
        store_images([], policy)
    gc.collect()  # an open file that was forgotten is a warning, and warnings are errors


def test_a_full_disk_is_said(policy: InputPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object, **named: object) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(BasEdgeError, match=r"Cannot write frames to .*: No space left") as error:
        FrameStore(policy)
    assert error.value.hint is not None
    assert "TMPDIR" in error.value.hint


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX systems")
def test_a_killed_process_leaves_no_file(tmp_path: Path) -> None:
    code = (
        "import os, numpy as np\n"
        "from bas_edge.engine.manifest import InputPolicy\n"
        "from bas_edge.quantization.frame_store import FrameStore, InputFrame\n"
        "store = FrameStore(InputPolicy(height=64, width=64))\n"
        "store.append(InputFrame(np.ones((64, 64, 3), np.uint8), (1, 1)))\n"
        "assert store.read(0, 1).all()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == -9
    assert list(tmp_path.iterdir()) == []
