"""The engine bundle, a folder `NAME.engine/`: opening, writing and changing it.

Nothing half-written is ever visible: a bundle is completed in a hidden folder beside its
destination, flushed to disk and renamed into place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from bas_edge.engine import onnx_metadata
from bas_edge.engine.manifest import (
    MANIFEST_LIMIT_BYTES,
    FileRecord,
    Manifest,
    decode_manifest,
    encode_manifest,
)
from bas_edge.errors import EngineCorruptError, EngineError, InputError

__all__ = [
    "MANIFEST_NAME",
    "MODEL_NAME",
    "Engine",
    "open_engine",
    "update_manifest",
    "write_bundle",
]

MANIFEST_NAME = "manifest.json"
MODEL_NAME = "model.onnx"

_COPY_HINT = "Copy the engine again from where it came, or build it again."


@dataclass(frozen=True, slots=True)
class Engine:
    """A checked engine on disk.

    Attributes:
        path: What was opened: the bundle's folder, or a bare `.onnx` file.
        manifest: What it says about itself.
        model_path: The ONNX graph.
    """

    path: Path
    manifest: Manifest
    model_path: Path

    @property
    def is_bundle(self) -> bool:
        """False for a bare `.onnx` file."""
        return self.path != self.model_path


def open_engine(path: str | os.PathLike[str]) -> Engine:
    """Open a bundle, or a bare `.onnx` file with bas-edge metadata, and check it.

    Every file that a bundle's manifest lists is checked by size and SHA-256.

    Raises:
        InputError: Nothing is there, or it is neither a bundle nor an ONNX file.
        EngineError: The ONNX file has no bas-edge metadata.
        EngineCorruptError: A file is missing, or its size or hash is not the recorded one.
        EngineSchemaError: The manifest has a schema version that this version cannot read.
    """
    place = Path(path)
    if place.is_file():
        if place.name == MANIFEST_NAME:
            raise InputError(
                f"{place} is the manifest of an engine, not the engine.",
                hint=f"Pass the folder: {place.parent}",
            )
        return Engine(place, onnx_metadata.read_manifest(place), place)
    if not place.is_dir():
        raise InputError(f"No such engine: {place}.", hint="Check the path.")
    manifest = _read_manifest(place)
    assert manifest.model is not None  # _read_manifest refuses a manifest without one
    for record in _records(manifest):
        _check_file(place, record)
    return Engine(place, manifest, place / manifest.model.path)


def write_bundle(
    output: str | os.PathLike[str],
    manifest: Manifest,
    model: bytes | os.PathLike[str],
    *,
    files: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
    check: Callable[[Path], None] | None = None,
) -> Engine:
    """Write a whole bundle, or nothing.

    Args:
        output: The folder to make.
        manifest: Its `model` and `files` records are filled in here.
        model: The ONNX graph, as bytes or as the file to copy.
        files: Further files by their path inside the bundle.
        overwrite: Replace a bundle that is there; it stays until the new one is complete.
        check: Called with the path of the written model before the bundle becomes visible;
            what it raises abandons the bundle.

    Raises:
        InputError: `output` exists and `overwrite` is False, or is something else than a bundle.
        EngineError: The disk is full or cannot be written.
    """
    destination = Path(os.path.abspath(output))  # noqa: PTH100  (keeps symlinks as typed)
    _check_destination(destination, overwrite=overwrite)
    try:
        with _hidden_folder(destination) as folder:
            records = [_write_file(folder, MODEL_NAME, model)]
            for name, content in (files or {}).items():
                records.append(_write_file(folder, name, content))
            if check is not None:
                check(folder / MODEL_NAME)
            manifest = msgspec.structs.replace(manifest, model=records[0], files=tuple(records[1:]))
            _write_file(folder, MANIFEST_NAME, encode_manifest(manifest, indent=2))
            _sync_folders(folder)
            _move_into_place(folder, destination, overwrite=overwrite)
    except OSError as error:
        raise EngineError(
            f"Could not write {output}: {error.strerror}.",
            hint="Free some space, or choose another output folder. Nothing was left behind.",
        ) from error
    return Engine(Path(output), manifest, Path(output) / MODEL_NAME)


def update_manifest(path: str | os.PathLike[str], **changes: Any) -> Engine:
    """Change fields of a bundle's manifest, atomically: readers see the old one or the new one.

    Example:
        update_manifest("birds.engine", threshold=policy, min_score=0.2)

    Raises:
        InputError: `path` is a bare `.onnx`, or a change does not fit the manifest.
        EngineError: See `open_engine`; or the disk is full.
    """
    engine = open_engine(path)
    if not engine.is_bundle:
        raise InputError(
            f"{path} is a bare ONNX file; only the manifest of a bundle can be changed.",
            hint=f"Make a bundle first: bas-edge build-engine {path} -o NAME.engine",
        )
    try:
        changed = msgspec.structs.replace(engine.manifest, **changes)
        encoded = encode_manifest(changed, indent=2)
        manifest = msgspec.json.decode(encoded, type=Manifest)  # replace() checks no types
    except (TypeError, ValueError) as error:
        raise InputError(f"The manifest cannot be changed so: {error}.") from None
    temporary = engine.path / f".{MANIFEST_NAME}.{os.getpid()}"
    try:
        _write_and_sync(temporary, encoded)
        temporary.replace(engine.path / MANIFEST_NAME)
        _sync_folder(engine.path)
    except OSError as error:
        raise EngineError(
            f"Could not write {engine.path}: {error.strerror}.",
            hint="Free some space, or make the folder writable. The engine is as it was.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return Engine(engine.path, manifest, engine.model_path)


# Reading


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_NAME
    try:
        with path.open("rb") as stream:
            encoded = stream.read(MANIFEST_LIMIT_BYTES + 1)
    except FileNotFoundError:
        raise InputError(
            f"{folder} is not an engine: it has no {MANIFEST_NAME}.",
            hint="Build one: bas-edge build-engine model.onnx -o NAME.engine",
        ) from None
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    manifest = decode_manifest(encoded, source=str(folder))
    if manifest.model is None:
        raise EngineCorruptError(f"The manifest of {folder} names no model.", hint=_COPY_HINT)
    return manifest


def _records(manifest: Manifest) -> Iterator[FileRecord]:
    if manifest.model is not None:
        yield manifest.model
    yield from (plan.file for plan in manifest.plans)
    yield from manifest.files


def _check_file(folder: Path, record: FileRecord) -> None:
    relative = PurePosixPath(record.path)
    if not _stays_inside(record.path):
        raise EngineCorruptError(
            f"The manifest of {folder} lists '{record.path}', which is outside the engine.",
            hint="Do not use this engine: it was not written by bas-edge.",
        )
    path = folder / relative
    try:
        size = path.stat().st_size
    except OSError:
        raise EngineCorruptError(
            f"{folder} is incomplete: {record.path} is missing.", hint=_COPY_HINT
        ) from None
    if size != record.size_bytes:
        raise EngineCorruptError(
            f"{path} has {size} bytes; the manifest records {record.size_bytes}.", hint=_COPY_HINT
        )
    digest = _sha256(path)
    if digest != record.sha256:
        raise EngineCorruptError(
            f"{path} is damaged: its SHA-256 is {digest[:12]}…; "
            f"the manifest records {record.sha256[:12]}….",
            hint=_COPY_HINT,
        )


def _stays_inside(path: str) -> bool:
    relative = PurePosixPath(path)
    unsafe = relative.is_absolute() or ".." in relative.parts or "\\" in path or ":" in path
    return bool(relative.parts) and not unsafe


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# Writing


def _check_destination(destination: Path, *, overwrite: bool) -> None:
    """Refuse an output that is taken, before any work is done for it."""
    if not destination.parent.is_dir():
        raise InputError(
            f"Cannot write {destination}: the folder {destination.parent} does not exist.",
            hint=f"mkdir -p {destination.parent}",
        )
    if not os.path.lexists(destination):
        return
    if not (destination / MANIFEST_NAME).is_file():
        raise InputError(
            f"{destination} exists and is not an engine; it will not be replaced.",
            hint="Choose another output.",
        )
    if not overwrite:
        raise InputError(
            f"{destination} already exists.",
            hint="Add --overwrite to replace it, or choose another output.",
        )


@contextlib.contextmanager
def _hidden_folder(destination: Path) -> Iterator[Path]:
    """A new folder beside `destination`, gone at the end whatever happens (Ctrl-C too)."""
    folder = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        folder.chmod(0o755)  # mkdtemp makes it private
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_file(folder: Path, name: str, content: bytes | os.PathLike[str]) -> FileRecord:
    if not _stays_inside(name):
        raise InputError(f"'{name}' is not a path inside a bundle.")
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        _write_and_sync(path, content)
    else:
        shutil.copyfile(content, path)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    return FileRecord(path=name, sha256=_sha256(path), size_bytes=path.stat().st_size)


def _write_and_sync(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _move_into_place(folder: Path, destination: Path, *, overwrite: bool) -> None:
    if not (overwrite and destination.exists()):
        folder.rename(destination)
        _sync_folder(destination.parent)
        return
    with _hidden_folder(destination) as shelf:
        old = shelf / "old"
        destination.rename(old)
        try:
            folder.rename(destination)
        except BaseException:
            old.rename(destination)
            raise
        _sync_folder(destination.parent)


def _sync_folders(folder: Path) -> None:
    for place, _, _ in os.walk(folder):
        _sync_folder(Path(place))


def _sync_folder(folder: Path) -> None:
    """Flush a folder's entries, where the system can (Windows cannot open a folder)."""
    with contextlib.suppress(PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
