"""The calibration cache: what it gives back, why not, and what it survives."""

from __future__ import annotations

import os
import threading
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bas_edge.quantization import cache as cache_module
from bas_edge.quantization.cache import CalibrationCache, cache_folder
from bas_edge.quantization.cache_key import CacheKey, differences

KEY = CacheKey(
    model="birds.onnx",
    source="photos/",
    structure="s",
    weights="w",
    images=("1", "2", "3", "3"),
    preprocessing="32 × 48, stretch",
    statistics=1,
    versions={"onnxruntime": "1.30", "pillow": "12.0"},
)
ARRAYS = {
    "/features/0/Conv_output_0": np.arange(6, dtype=np.float32).reshape(2, 3),
    "file": np.array(2.5),
    "empty": np.zeros((0, 2048), np.int64),
}


def changed(**fields: object) -> CacheKey:
    return msgspec.structs.replace(KEY, **fields)


@pytest.fixture
def cache(tmp_path: Path) -> CalibrationCache:
    return CalibrationCache(tmp_path / "cache")


def entries(cache: CalibrationCache) -> list[Path]:
    assert cache.folder is not None
    return sorted(cache.folder.iterdir())


def aged(cache: CalibrationCache, key: CacheKey, seconds: int) -> Path:
    """Store an entry that was last used so many seconds after 1970."""
    assert cache.folder is not None
    assert cache.store(key, ARRAYS) == ""
    path = cache.folder / f"{key.digest}.npz"
    os.utime(path, (seconds, seconds))
    return path


def test_what_was_stored_comes_back(cache: CalibrationCache) -> None:
    assert cache.store(KEY, ARRAYS) == ""
    found = cache.load(KEY)
    assert found.reason == "Reused: the same graph, 4 images, input and versions."
    assert found.arrays is not None
    assert list(found.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype


def test_names_of_files_decide_nothing(cache: CalibrationCache) -> None:
    cache.store(KEY, ARRAYS)
    assert cache.load(changed(model="moved.onnx", source="elsewhere/")).arrays is not None


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (changed(structure="t"), "the graph's structure changed"),
        (changed(weights="v"), "the graph's weights changed"),
        (changed(images=("1", "2", "4", "5")), "2 of 4 images changed"),
        (changed(images=("1", "2", "3", "2")), "1 of 4 images changed"),
        (changed(images=("2", "1", "3", "3")), "the order of the 4 images changed"),
        (changed(images=("1", "9")), "there were 4 images and are 2, 1 of them new"),
        (
            changed(preprocessing="32 × 48, letterbox"),
            "the input was 32 × 48, stretch, is 32 × 48, letterbox",
        ),
        (changed(statistics=2), "the statistics were of version 1, are 2"),
        (
            changed(versions={"onnxruntime": "1.31", "numpy": "2.3"}),
            "numpy was absent, is 2.3; onnxruntime was 1.30, is 1.31; pillow was 12.0, is absent",
        ),
        (
            changed(weights="v", statistics=2),
            "the graph's weights changed; the statistics were of version 1, are 2",
        ),
    ],
)
def test_what_differs_is_named(cache: CalibrationCache, key: CacheKey, reason: str) -> None:
    cache.store(KEY, ARRAYS)
    found = cache.load(key)
    assert found.arrays is None
    assert found.reason == f"Not reused: {reason}."


def test_an_empty_cache_has_none_yet(cache: CalibrationCache) -> None:
    assert cache.load(KEY).reason == "Not reused: none yet for birds.onnx."
    cache.store(changed(model="cars.onnx", weights="v"), ARRAYS)
    assert cache.load(KEY).reason == "Not reused: none yet for birds.onnx."


def test_the_comparison_is_with_the_same_images_then_with_the_latest(
    cache: CalibrationCache,
) -> None:
    aged(cache, changed(weights="v"), 100)
    aged(cache, changed(statistics=7), 200)
    aged(cache, changed(source="other/", structure="t"), 300)
    assert "statistics were of version 7" in cache.load(KEY).reason
    assert "structure changed" in cache.load(changed(source="third/")).reason


@given(
    old=st.lists(st.sampled_from("abcd"), max_size=5),
    new=st.lists(st.sampled_from("abcd"), max_size=5),
)
def test_keys_are_equal_exactly_when_nothing_differs(old: list[str], new: list[str]) -> None:
    first, second = changed(images=tuple(old)), changed(images=tuple(new))
    assert (first.digest == second.digest) == (not differences(first, second)) == (old == new)


def test_the_order_of_versions_decides_nothing() -> None:
    turned = changed(versions=dict(reversed(KEY.versions.items())))
    assert turned.digest == KEY.digest


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    cache = CalibrationCache(tmp_path_factory.mktemp("damaged"))
    cache.store(KEY, ARRAYS)
    (path,) = entries(cache)
    return path, path.read_bytes()


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_entry_is_said_and_rewritten(
    stored: tuple[Path, bytes], data: st.DataObject
) -> None:
    path, content = stored
    at = data.draw(st.integers(0, len(content) - 1))
    damaged = bytearray(content)
    if data.draw(st.booleans()):
        damaged[at] ^= data.draw(st.integers(1, 255))
    else:
        del damaged[at:]
    path.write_bytes(damaged)
    cache = CalibrationCache(path.parent)
    found = cache.load(KEY)
    if found.arrays is None:
        assert found.reason.startswith("Not reused: ")
        assert "damaged" in found.reason
    else:  # a byte that says nothing, such as a date
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(found.arrays[name], array)
    cache.load(changed(weights="v"))  # neither does it stop the search for a reason
    assert cache.store(KEY, ARRAYS) == ""
    assert cache.load(KEY).arrays is not None


def test_an_entry_is_not_believed_by_its_name(cache: CalibrationCache) -> None:
    path = aged(cache, changed(weights="v"), 100)
    path.rename(path.with_name(f"{KEY.digest}.npz"))
    assert cache.load(KEY).reason.endswith("holds other statistics.")


def test_a_small_file_that_unpacks_to_much_is_not_unpacked(
    cache: CalibrationCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = aged(cache, KEY, 100)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert "it is compressed" in cache.load(KEY).reason
    monkeypatch.setattr(cache_module, "MOST_BYTES", -cache_module._ENTRY_LIMIT_BYTES)
    assert "it claims" in cache.load(KEY).reason


def test_arrays_of_objects_are_neither_written_nor_read(cache: CalibrationCache) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        cache.store(KEY, {"x": np.array([{}])})
    assert entries(cache) == []  # not even a temporary file


def test_at_most_eight_entries_and_the_one_used_last_stays(cache: CalibrationCache) -> None:
    keys = [changed(weights=str(n)) for n in range(8)]
    for n, key in enumerate(keys):
        aged(cache, key, 100 + n)
    assert cache.load(keys[0]).arrays is not None  # used now, so it is not the oldest
    cache.store(KEY, ARRAYS)
    kept = [key for key in keys if cache.load(key).arrays is not None]
    assert kept == [keys[0], *keys[2:]]
    assert len(entries(cache)) == 8


def test_the_cache_stays_within_its_bytes(
    cache: CalibrationCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [aged(cache, changed(weights=str(n)), 100 + n).stat().st_size for n in range(3)]
    monkeypatch.setattr(cache_module, "MOST_BYTES", int(2.5 * sizes[0]))
    assert cache.store(KEY, ARRAYS) == ""
    assert cache.load(KEY).arrays is not None
    assert len(entries(cache)) == 2
    monkeypatch.setattr(cache_module, "MOST_BYTES", 8)
    assert "they take 0 MiB, and the cache holds 0 MiB" in cache.store(KEY, ARRAYS)


def test_what_a_killed_build_left_goes_after_an_hour(cache: CalibrationCache) -> None:
    aged(cache, KEY, 100)
    assert cache.folder is not None
    old, fresh = cache.folder / ".old.tmp", cache.folder / ".fresh.tmp"
    old.touch()
    fresh.touch()
    os.utime(old, (100, 100))
    cache.store(changed(weights="v"), ARRAYS)
    assert (old.exists(), fresh.exists()) == (False, True)


def test_without_write_permission_it_works_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = CalibrationCache(tmp_path / "file" / "cache")
    assert cache.load(KEY).arrays is None
    said = cache.store(KEY, ARRAYS)
    assert said.startswith("The statistics were not kept: cannot write")
    assert "Not a directory" in said


def test_a_read_only_cache_is_still_read(
    cache: CalibrationCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied", "cache")

    aged(cache, KEY, 100)
    monkeypatch.setattr(cache_module.tempfile, "mkstemp", refuse)
    monkeypatch.setattr(cache_module.os, "utime", refuse)
    said = cache.store(changed(weights="v"), ARRAYS)
    assert said == "The statistics were not kept: cannot write cache: Permission denied."
    assert cache.load(KEY).arrays is not None


def test_builds_side_by_side_see_whole_entries(cache: CalibrationCache) -> None:
    cache.store(KEY, ARRAYS)
    said: list[str] = []

    def build(n: int) -> None:
        for turn in range(10):
            said.append(cache.store(KEY, ARRAYS))
            said.append(cache.store(changed(weights=f"{n} {turn}"), ARRAYS))
            if cache.load(KEY).arrays is None:
                said.append("lost")

    threads = [threading.Thread(target=build, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(said) == {""}
    assert len(entries(cache)) == 8


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BAS_EDGE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "calibration"
    monkeypatch.delenv("BAS_EDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "bas_edge" / "calibration"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "bas_edge" / "calibration"


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("BAS_EDGE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    cache = CalibrationCache()
    assert "no home folder" in cache.load(KEY).reason
    assert "no home folder" in cache.store(KEY, ARRAYS)
