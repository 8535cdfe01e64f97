from __future__ import annotations

import errno
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bas_edge.engine import bundle
from bas_edge.engine.bundle import (
    Engine,
    check_destination,
    open_engine,
    update_manifest,
    write_bundle,
)
from bas_edge.engine.manifest import Accuracy, ThresholdPolicy
from bas_edge.errors import EngineError, InputError


@pytest.fixture
def engine(tmp_path: Path, graphs: ModuleType) -> Engine:
    return write_bundle(
        tmp_path / "birds.engine",
        graphs.tiny_manifest(),
        b"not really a graph",
        files={"report.json": b"{}", "pictures/worst.png": b"png"},
    )


def listing(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def edit_manifest(engine: Engine, change: Callable[[dict[str, Any]], None]) -> None:
    path = engine.path / "manifest.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    change(fields)
    path.write_text(json.dumps(fields), encoding="utf-8")


def test_an_engine_is_not_replaced_unasked(engine: Engine, graphs: ModuleType) -> None:
    with pytest.raises(InputError, match="already exists") as caught:
        write_bundle(engine.path, graphs.tiny_manifest(), b"other")
    assert "--overwrite" in str(caught.value.hint)
    assert open_engine(engine.path) == engine


def test_overwrite_replaces_the_whole_engine(engine: Engine, graphs: ModuleType) -> None:
    written = write_bundle(engine.path, graphs.tiny_manifest(), b"other", overwrite=True)
    assert open_engine(engine.path) == written
    assert listing(engine.path) == ["manifest.json", "model.onnx"]
    assert listing(engine.path.parent)[0] == "birds.engine", "nothing hidden is left"


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_engine_is_never_replaced(
    tmp_path: Path, graphs: ModuleType, overwrite: bool
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years", encoding="utf-8")
    with pytest.raises(InputError, match="is not an engine; it will not be replaced"):
        write_bundle(tmp_path / "thesis", graphs.tiny_manifest(), b"x", overwrite=overwrite)
    assert (tmp_path / "thesis" / "chapter.txt").read_text(encoding="utf-8") == "years"


def test_the_parent_folder_must_exist(tmp_path: Path, graphs: ModuleType) -> None:
    with pytest.raises(InputError, match="does not exist"):
        write_bundle(tmp_path / "a" / "b.engine", graphs.tiny_manifest(), b"x")


def test_a_relative_output_is_opened_where_it_was_asked_for(
    tmp_path: Path, graphs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written = write_bundle("x.engine", graphs.tiny_manifest(), b"x")
    assert written.path == Path("x.engine")
    assert open_engine("x.engine/") == written


def test_an_extra_file_must_stay_inside(tmp_path: Path, graphs: ModuleType) -> None:
    with pytest.raises(InputError, match="not a path inside a bundle"):
        write_bundle(tmp_path / "x.engine", graphs.tiny_manifest(), b"x", files={"../y": b""})
    assert listing(tmp_path) == []


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def ctrl_c(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


FAILURES = [
    pytest.param(full_disk, EngineError, id="disk full"),
    pytest.param(ctrl_c, KeyboardInterrupt, id="Ctrl-C"),
]
# Where a build can stop: flushing any of its files, hashing them, checking the graph, flushing
# folders, and renaming.
STAGES = ["fsync", "_sha256", "check", "sync_folders", "move_into_place"]


@pytest.mark.parametrize(("failure", "error"), FAILURES)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_build_that_stops_leaves_nothing_and_spoils_nothing(
    tmp_path: Path,
    graphs: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    failure: Callable[..., None],
    error: type[BaseException],
    stage: str,
    overwrite: bool,
) -> None:
    output = tmp_path / "birds.engine"
    before = write_bundle(output, graphs.tiny_manifest(), b"old") if overwrite else None
    names = listing(tmp_path)
    with monkeypatch.context() as patch:
        if stage == "fsync":
            patch.setattr(bundle.os, "fsync", failure)
        elif stage != "check":
            patch.setattr(bundle, stage, failure)
        with pytest.raises(error) as caught:
            write_bundle(
                output,
                graphs.tiny_manifest(),
                b"new",
                overwrite=overwrite,
                check=failure if stage == "check" else None,
            )
    if error is EngineError:
        assert "Could not write" in str(caught.value)
        assert "No space left on device" in str(caught.value)
    assert listing(tmp_path) == names
    if before is not None:
        assert open_engine(output) == before


@pytest.mark.parametrize(("failure", "error"), FAILURES)
def test_the_old_engine_returns_when_the_last_rename_fails(
    engine: Engine,
    graphs: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    failure: Callable[..., None],
    error: type[BaseException],
) -> None:
    rename = Path.rename

    def rename_or_fail(source: Path, target: Path) -> Path:
        if target == engine.path and source.name != "old":
            failure()
        return rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename_or_fail)
        with pytest.raises(error):
            write_bundle(engine.path, graphs.tiny_manifest(), b"new", overwrite=True)
    assert open_engine(engine.path) == engine
    assert [p.name for p in engine.path.parent.iterdir()] == ["birds.engine"]


def test_a_source_that_vanishes_is_reported(tmp_path: Path, graphs: ModuleType) -> None:
    with pytest.raises(EngineError, match="No such file"):
        write_bundle(tmp_path / "x.engine", graphs.tiny_manifest(), tmp_path / "gone.onnx")
    assert listing(tmp_path) == []


# Changing the manifest


def test_update_changes_only_what_was_asked(engine: Engine) -> None:
    policy = ThresholdPolicy(rule="mean", value=1.5, chosen_by="half of val.csv")
    accuracy = Accuracy(data="val.csv", images=10, protocol="bas", metrics={"gt_known": 90.0})
    updated = update_manifest(engine.path, threshold=policy, min_score=0.2, accuracy=(accuracy,))
    assert updated == open_engine(engine.path)
    assert updated.manifest.threshold == policy
    assert updated.manifest.accuracy == (accuracy,)
    assert updated.manifest.model == engine.manifest.model
    assert ".manifest.json" not in " ".join(listing(engine.path))


@pytest.mark.parametrize(
    "changes", [{"min_score": 2.0}, {"top_k": "two"}, {"top_k": 9}, {"colour": 1}]
)
def test_a_change_that_does_not_fit_is_refused(engine: Engine, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="The manifest cannot be changed so"):
        update_manifest(engine.path, **changes)
    assert open_engine(engine.path) == engine


@pytest.mark.parametrize(("failure", "error"), FAILURES)
def test_an_update_that_stops_keeps_the_old_manifest(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    failure: Callable[..., None],
    error: type[BaseException],
) -> None:
    names = listing(engine.path)
    with monkeypatch.context() as patch:
        patch.setattr(bundle.os, "fsync", failure)
        with pytest.raises(error):
            update_manifest(engine.path, min_score=0.5)
    assert open_engine(engine.path) == engine
    assert listing(engine.path) == names


def test_a_bare_onnx_file_has_no_manifest_to_update(
    tmp_path: Path, tiny_onnx: Callable[..., Path]
) -> None:
    with pytest.raises(InputError, match="is a bare ONNX file"):
        update_manifest(tiny_onnx(tmp_path / "m.onnx"), min_score=0.5)


def test_a_read_only_folder_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _mode: path != tmp_path)  # root may write all
    with pytest.raises(InputError, match=r"a\.engine: the folder .* is read-only"):
        check_destination(tmp_path / "a.engine", overwrite=False)


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked there")
def test_two_changes_at_once_are_both_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    lock, replace = fcntl.flock, bundle._replace_manifest
    came = threading.Event()  # the second change waits for the first, or is through

    def second() -> None:
        update_manifest(engine.path, min_score=0.5)
        came.set()

    thread = threading.Thread(target=second)

    def watched_lock(handle: int, kind: int) -> None:
        if threading.current_thread() is thread:
            came.set()
        lock(handle, kind)

    def replace_late(*args: Any) -> Engine:
        if threading.current_thread() is not thread:
            thread.start()
            assert came.wait(20)
        return replace(*args)

    monkeypatch.setattr(fcntl, "flock", watched_lock)
    monkeypatch.setattr(bundle, "_replace_manifest", replace_late)
    update_manifest(engine.path, threshold=ThresholdPolicy(rule="fixed", value=0.25))
    thread.join()
    kept = open_engine(engine.path).manifest
    assert (kept.threshold.value, kept.min_score) == (0.25, 0.5)


def test_a_folder_that_is_not_there_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such engine"):
        update_manifest(tmp_path / "none.engine", min_score=0.5)
