"""A bound is not measured on calibration images, whatever they are called."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bas_edge.engine.manifest import InputPolicy
from bas_edge.errors import InputError
from bas_edge.quantization import overlap
from bas_edge.quantization.frames import CalibrationFrames, calibration_frames
from bas_edge.quantization.overlap import check_overlap


@pytest.fixture
def frames(photos: Path, policy: InputPolicy) -> Iterator[CalibrationFrames]:
    """Every second image of the folder."""
    with calibration_frames(photos, policy, limit=50, force=True) as made:
        yield made


def test_different_images_pass_and_are_hardly_read(
    frames: CalibrationFrames,
    photos: Path,
    tmp_path: Path,
    write_photos: Callable[..., list[Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = {item.path for item in frames.items}
    sizes = {item.size_bytes for item in frames.items}
    others = sorted(set(photos.rglob("*.png")) - used) + write_photos(tmp_path, 5, seed=9)
    others.append(tmp_path / "missing.png")
    hashed: list[Path] = []
    real = overlap.sha256
    monkeypatch.setattr(overlap, "sha256", lambda path: hashed.append(path) or real(path))
    check_overlap(frames, others)
    assert hashed == [path for path in others[:-1] if path.stat().st_size in sizes]


def test_the_same_file_by_another_way(frames: CalibrationFrames, tmp_path: Path) -> None:
    item = frames.items[3]
    link = tmp_path / "link.png"
    link.symlink_to(item.path)
    roundabout = item.path.parent / ".." / item.path.parent.name / item.path.name
    with pytest.raises(InputError, match="2 of 2 evaluation images are also") as error:
        check_overlap(frames, [link, roundabout])
    assert f"the first: {link}, for calibration {item.path}." in str(error.value)
    with pytest.raises(InputError, match=rf"1 of 1 .* the first: {item.path}\.$"):
        check_overlap(frames, [item.path])


def test_a_copy_under_another_name(
    frames: CalibrationFrames, tmp_path: Path, write_photos: Callable[..., list[Path]]
) -> None:
    others = write_photos(tmp_path, 3, seed=9)
    shutil.copy(frames.items[7].path, others[1])
    with pytest.raises(InputError, match=rf"1 of 3 evaluation .* the first: {others[1]}") as error:
        check_overlap(frames, others)
    assert error.value.hint is not None
    assert "--force does not lift this" in error.value.hint
