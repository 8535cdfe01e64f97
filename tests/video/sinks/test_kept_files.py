"""Limits on files: the oldest own ones go, over restarts too, and nobody else's ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from bas_edge.errors import InputError
from bas_edge.video.sinks.kept_files import KeptByStream, KeptFiles


def write(kept: KeptFiles, *names: str, size: int = 10) -> None:
    paths = [kept.root / name for name in names]
    kept.begin(paths)
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(size))
    kept.finished(paths)


def names(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".kept")
    return sorted(path.relative_to(folder).as_posix() for path in files)


def test_the_oldest_goes_and_strangers_stay(tmp_path: Path) -> None:
    (tmp_path / "a0.jpg").write_bytes(bytes(1000))  # older than all, and not ours
    kept = KeptFiles(tmp_path, "t", max_files=2)
    for number in range(1, 5):
        write(kept, f"a{number}.jpg")
    assert names(tmp_path) == ["a0.jpg", "a3.jpg", "a4.jpg"]


def test_bytes_are_limited_but_the_newest_stays(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path, "t", max_bytes=25)
    for number in range(4):
        write(kept, f"a{number}")
    assert names(tmp_path) == ["a2", "a3"]
    write(kept, "big", size=100)
    assert names(tmp_path) == ["big"]


def test_files_of_one_group_go_together(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path, "t", max_files=1)
    write(kept, "x/a.mp4", "x/a.json")
    write(kept, "x/b.mp4", "x/b.json")
    assert names(tmp_path) == ["x/b.json", "x/b.mp4"]


def test_a_restarted_process_goes_on(tmp_path: Path) -> None:
    for number in range(5):
        write(KeptFiles(tmp_path, "t", max_files=2), f"a{number}")
    assert names(tmp_path) == ["a3", "a4"]
    write(KeptFiles(tmp_path, "another sink", max_files=1), "b")
    assert names(tmp_path) == ["a3", "a4", "b"]


def test_what_a_power_cut_left_gets_its_name_and_counts(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path, "t", max_files=2)
    kept.begin([tmp_path / "a.mp4"])
    (tmp_path / "a.partial.mp4").write_bytes(bytes(10))
    kept.begin([tmp_path / "never.mp4"])  # the power went before its first byte
    with kept.list_path.open("a") as lines:
        lines.write('["torn')
    again = KeptFiles(tmp_path, "t", max_files=2)
    assert names(tmp_path) == ["a.mp4"]
    write(again, "b.mp4")
    write(again, "c.mp4")
    assert names(tmp_path) == ["b.mp4", "c.mp4"]


def test_a_file_being_written_is_not_removed(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path, "t", max_files=1)
    kept.begin([tmp_path / "long.mp4"])
    (tmp_path / "long.mp4").touch()
    write(kept, "b.mp4")
    write(kept, "c.mp4")
    assert names(tmp_path) == ["c.mp4", "long.mp4"]


@pytest.mark.parametrize("line", ['["../x"]', '["/x"]', '["a/../../x"]', "[]", "7", "[7]", "{}"])
def test_a_list_that_was_tampered_with_reaches_nothing_outside(tmp_path: Path, line: str) -> None:
    outside = tmp_path / "x"
    outside.touch()
    folder = tmp_path / "in"
    folder.mkdir()
    list_path = KeptFiles(folder, "t", max_files=1).list_path
    list_path.write_text(line.replace('"/x"', f'"{outside.as_posix()}"') + "\n")
    kept = KeptFiles(folder, "t", max_files=1)
    write(kept, "a")
    write(kept, "b")
    assert outside.exists()
    assert names(folder) == ["b"]


def test_the_list_does_not_grow_for_ever(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path, "t", max_files=2)
    for number in range(600):
        write(kept, f"a{number}")
    assert len(kept.list_path.read_text().splitlines()) < 300


def test_without_limits_there_is_no_list(tmp_path: Path) -> None:
    write(KeptFiles(tmp_path, "t"), "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_limit_under_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="max_files is 0: at least 1 is needed"):
        KeptByStream(tmp_path, "t", max_files=0, max_bytes=None)


def test_sinks_of_several_streams_share_a_folder(tmp_path: Path) -> None:
    """As a pipeline has them: one sink a stream, all with the same template."""
    for _ in range(2):  # and after a restart
        sinks = [KeptByStream(tmp_path, "t", max_files=2, max_bytes=None) for _ in range(2)]
        for number in range(3):
            for sink, stream in zip(sinks, ("door", "yard"), strict=True):
                write(sink.of(stream), f"{stream}-{number}")
    assert names(tmp_path) == ["door-1", "door-2", "yard-1", "yard-2"]
