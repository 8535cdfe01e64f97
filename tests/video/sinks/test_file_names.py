"""Names of files: whatever a stream or a class is called, it stays one name in one folder."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from bas_edge.errors import InputError
from bas_edge.video.sinks.file_names import (
    NameTemplate,
    claim_path,
    moment_fields,
    partial,
    prepare_folder,
    safe_name,
)

TEXTS = st.text(st.characters(), max_size=60) | st.text("./\\ ~ab\0", max_size=12)


@given(text=TEXTS)
@example(text="")
@example(text="..")
@example(text="../../etc/passwd")
@example(text="a\\b")
@example(text="C:")
@example(text="con.txt")
@example(text="\udc80")
@example(text="x" * 5000)
@example(text="鳥" * 200)
@example(text="a.\0.b")
def test_a_safe_name_is_one_name(text: str) -> None:
    name = safe_name(text)
    assert name == os.path.basename(name)  # noqa: PTH119 (text is what is tested)
    assert 0 < len(name.encode("utf-8")) <= 100
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert ".." not in name
    assert name[0] not in ". "
    assert name[-1] not in ". "
    assert name.partition(".")[0].upper() not in {"CON", "NUL", "COM1"}
    assert safe_name(text) == name


@given(one=TEXTS, other=TEXTS)
@example(one="a/b", other="a_b")
@example(one="a_b~c14cddc0", other="a/b")
@example(one="é", other="e\u0301")
@example(one="x" * 100, other="x" * 101)
def test_two_texts_never_share_a_name(one: str, other: str) -> None:
    assume(one != other)
    assert safe_name(one) != safe_name(other)


@pytest.mark.parametrize("text", ["door", "front door 2", "кот", "鳥", "a.mp4", "Red-wing_1"])
def test_ordinary_names_stay(text: str) -> None:
    assert safe_name(text) == text


def test_the_documented_name() -> None:
    assert safe_name("a/b") == "a_b~c14cddc0"


def test_a_template_is_filled_in() -> None:
    names = NameTemplate("out/{stream}/{date}-{frame:08d}.jpg", allowed=("stream", "date", "frame"))
    assert names.root == Path("out")
    assert names.fields == {"stream", "date", "frame"}
    moment = moment_fields(1795320306.789)
    assert moment == {"date": "2026-11-22", "time": "040506"}
    assert (
        names.path(stream="../x", frame=7, **moment)
        == Path("out") / safe_name("../x") / "2026-11-22-00000007.jpg"
    )


@pytest.mark.parametrize(
    ("text", "root"),
    [("a.csv", "."), ("x/y/a-{stream}.csv", "x/y"), ("{stream}.csv", "."), ("/t/{stream}/a", "/t")],
)
def test_the_root_is_the_folder_before_the_first_field(text: str, root: str) -> None:
    assert NameTemplate(text, allowed=("stream",)).root == Path(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{camera}.mp4", "the field 'camera', which is none of stream, time"),
        ("{stream.__class__}", "the field 'stream.__class__'"),
        ("{stream[0]}", r"the field 'stream\[0\]'"),
        ("{}-{time}", "the field ''"),
        ("{stream", "is no template"),
        ("{stream}.mp4", "lacks the field 'time'"),
    ],
)
def test_templates_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        NameTemplate(text, allowed=("stream", "time"), required=("time",))


@pytest.mark.parametrize("text", ["{stream:d}", "{frame:zz}", "{frame!x}"])
def test_a_format_that_does_not_fit(text: str) -> None:
    with pytest.raises(InputError, match="cannot be filled in"):
        NameTemplate(text, allowed=("stream", "frame"))


def test_files_are_checked_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder").mkdir()
    for good in ("new.csv", "a/b/{stream}.csv", "folder/{stream}", f"{tmp_path}/c/d", "{stream}"):
        NameTemplate(good, allowed=("stream",)).check_files()
    for bad in ("", "a/", "folder", ".", "a/.", "a/..", "{stream}/"):
        with pytest.raises(InputError, match="is the name of a folder"):
            NameTemplate(bad, allowed=("stream",)).check_files()
    with pytest.raises(InputError, match="file is a file"):
        NameTemplate("file/a/{stream}.csv", allowed=("stream",)).check_files()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for someone who is not root
    with pytest.raises(InputError, match="cannot be written to"):
        NameTemplate("a/b/{stream}.csv", allowed=("stream",)).check_files()


def test_a_taken_name_is_numbered(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    assert claim_path(path) == path
    assert partial(path).read_bytes() == b""
    (tmp_path / "a-2.json").touch()
    assert claim_path(path, also=".json") == tmp_path / "a-3.mp4"
    assert claim_path(path) == tmp_path / "a-2.mp4"
    partial(tmp_path / "a-4.mp4").symlink_to(tmp_path / "nowhere" / "else")
    assert claim_path(path) == tmp_path / "a-5.mp4"


def test_a_name_is_taken_once_however_many_ask(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        names = list(threads.map(claim_path, [tmp_path / "a.mp4"] * 64))
    assert len(set(names)) == 64


def test_folders_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file, so nothing can be written into it"):
        prepare_folder(tmp_path / "file")
    with pytest.raises(InputError, match="file is a file, so nothing can be written into it"):
        prepare_folder(tmp_path / "file" / "below")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"Cannot make the folder .*link: File exists"):
        prepare_folder(tmp_path / "link")
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for someone who is not root
    with pytest.raises(InputError, match="cannot be written to"):
        prepare_folder(tmp_path)
