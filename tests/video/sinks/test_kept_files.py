"""Limits on files: the oldest own ones go, over restarts too, and nobody else's ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from full_disk import full_disk

from bas_edge.errors import BasEdgeError, InputError
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
    list_path = kept.list_path
    kept.begin([tmp_path / "a.mp4"])
    (tmp_path / "a.partial.mp4").write_bytes(bytes(10))
    kept.begin([tmp_path / "never.mp4"])
    kept.claim(tmp_path / "empty.mp4")  # the power went before its first byte
    kept.begin([tmp_path / "torn.jpg"])
    (tmp_path / "torn.partial.jpg").write_bytes(bytes(10))  # half a picture shows nothing
    del kept  # the process is gone
    with list_path.open("a") as lines:
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
    list_path = KeptFiles(folder, "t", max_files=1).list_path  # and is gone
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
    with pytest.raises(InputError, match="max_files is 0, but must be 1 or more"):
        KeptByStream(tmp_path, "t", max_files=0, max_bytes=None)


def test_sinks_of_several_streams_share_a_folder(tmp_path: Path) -> None:
    """As a pipeline has them: one sink a stream, all with the same template."""
    for _ in range(2):  # and after a restart
        sinks = [KeptByStream(tmp_path, "t", max_files=2, max_bytes=None) for _ in range(2)]
        for number in range(3):
            for sink, stream in zip(sinks, ("door", "yard"), strict=True):
                write(sink.of(stream), f"{stream}-{number}")
    assert names(tmp_path) == ["door-1", "door-2", "yard-1", "yard-2"]


def test_sinks_of_one_stream_share_its_list(tmp_path: Path) -> None:
    """As one [[sink]] of all cameras and one of a camera, with the same template."""
    many, few = (KeptByStream(tmp_path, "t", max_files=n, max_bytes=None) for n in (4, 3))
    for number in range(3):
        write(many.of("door"), f"many-{number}")
        write(few.of("door"), f"few-{number}")
    assert names(tmp_path) == ["few-1", "few-2", "many-2"]
    del many, few
    write(KeptFiles(tmp_path, "t\0door", max_files=2), "again")
    assert names(tmp_path) == ["again", "few-2"]


def test_what_another_sink_is_writing_is_left_alone(tmp_path: Path) -> None:
    first = KeptFiles(tmp_path, "t", max_files=1)
    path = first.claim(tmp_path / "a.mp4")
    (tmp_path / "a.partial.mp4").write_bytes(bytes(10))
    second = KeptFiles(tmp_path, "t", max_files=1)
    assert (path, second.claim(path)) == (tmp_path / "a.mp4", tmp_path / "a-2.mp4")
    assert names(tmp_path) == ["a-2.partial.mp4", "a.partial.mp4"]


def test_what_was_given_up_does_not_count(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path, "t", max_files=2)
    for name in ("a.jpg", "b.jpg"):
        write(kept, name)
    for _ in range(5):
        path = kept.claim(tmp_path / "c.jpg")
        kept.abandon([path])
    assert names(tmp_path) == ["a.jpg", "b.jpg"]


def test_a_full_disk_is_named_and_costs_no_line_of_the_list(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path, "t", max_files=2)
    write(kept, "a.jpg")
    with full_disk(kept.list_path.stat().st_size + 4):  # a torn line remains
        with pytest.raises(BasEdgeError, match=r"Cannot write .*\.kept: File too large"):
            kept.claim(tmp_path / "b.jpg")
        assert names(tmp_path) == ["a.jpg"]
    write(kept, "c.jpg")
    del kept
    write(KeptFiles(tmp_path, "t", max_files=2), "d.jpg")
    assert names(tmp_path) == ["c.jpg", "d.jpg"]


def test_an_old_file_that_cannot_be_removed_is_named(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path, "t", max_files=1)
    write(kept, "a.jpg")
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(BasEdgeError, match=r"Cannot write .*a.jpg: "):
        write(kept, "b.jpg")
