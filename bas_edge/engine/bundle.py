"""The engine bundle, a folder `NAME.engine/`: opening, writing and changing it.

Nothing half-written is ever visible: a bundle is completed in a hidden folder beside its
destination, flushed to disk and renamed into place.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from bas_edge.engine import onnx_metadata
from bas_edge.engine.durable_files import (
    hidden_folder,
    move_into_place,
    sync_folder,
    sync_folders,
    write_and_sync,
)
from bas_edge.engine.file_check import check_file, stays_inside
from bas_edge.engine.file_check import sha256 as _sha256
from bas_edge.engine.manifest import (
    MANIFEST_LIMIT_BYTES,
    FileRecord,
    Manifest,
    PlanRecord,
    decode_manifest,
    encode_manifest,
)
from bas_edge.errors import EngineCorruptError, EngineError, InputError

__all__ = [
    "MANIFEST_NAME",
    "MODEL_NAME",
    "Engine",
    "NewPlan",
    "add_plan",
    "check_destination",
    "open_engine",
    "update_manifest",
    "write_bundle",
]

MANIFEST_NAME = "manifest.json"
MODEL_NAME = "model.onnx"

_COPY_HINT = "Copy the engine again from where it came, or build it again."


Files = Mapping[str, bytes]


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


@dataclass(frozen=True, slots=True)
class NewPlan:
    """A plan that is not in a bundle yet. Its record's `file` has no more than the wanted path."""

    record: PlanRecord
    content: bytes


def open_engine(path: str | os.PathLike[str], *, check_plans: bool = True) -> Engine:
    """Open a bundle, or a bare `.onnx` file with bas-edge metadata, and check it.

    Every file that a bundle's manifest lists is checked by size and SHA-256; plans are not where
    `check_plans` is False, because they are to be replaced.

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
    for record in (manifest.model, *manifest.files):
        check_file(place, record, _COPY_HINT)
    if check_plans:
        rebuild = f"Build it again: bas-edge build-engine {shlex.quote(str(place))} --rebuild"
        for plan in manifest.plans:
            check_file(place, plan.file, rebuild)
    return Engine(place, manifest, place / manifest.model.path)


def write_bundle(
    output: str | os.PathLike[str],
    manifest: Manifest,
    model: bytes | os.PathLike[str],
    *,
    files: Files | None = None,
    overwrite: bool = False,
    check: Callable[[Path], None] | None = None,
    plans: Callable[[Path], Sequence[NewPlan]] = lambda _: (),
    finish: Callable[[Engine], tuple[Manifest, Files]] | None = None,
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
        plans: Called like `check`, after it; the plans that it gives go into the bundle.
        finish: Called last, with the bundle as it stands, still hidden, its graph and plans in
            place; gives the manifest to write and further files. What it raises abandons the
            bundle.

    Raises:
        InputError: `output` exists and `overwrite` is False, or is something else than a bundle.
        EngineError: The disk is full or cannot be written.
    """
    destination = check_destination(output, overwrite=overwrite)
    try:
        with hidden_folder(destination) as folder:
            written = _write_file(folder, MODEL_NAME, model)
            if check is not None:
                check(folder / MODEL_NAME)
            records = tuple(_write_plan(folder, plan) for plan in plans(folder / MODEL_NAME))
            manifest = msgspec.structs.replace(manifest, model=written, plans=records)
            named = dict(files or {})
            if finish is not None:
                manifest, more = finish(Engine(folder, manifest, folder / MODEL_NAME))
                named |= more
            further = [_write_file(folder, name, content) for name, content in named.items()]
            manifest = msgspec.structs.replace(manifest, files=tuple(further))
            _write_file(folder, MANIFEST_NAME, encode_manifest(manifest, indent=2))
            sync_folders(folder)
            move_into_place(folder, destination, replace=overwrite)
    except OSError as error:
        raise EngineError(
            f"Could not write {output}: {error.strerror}.",
            hint="Free some space, or choose another output folder. Nothing was left behind.",
        ) from error
    return Engine(Path(output), manifest, Path(output) / MODEL_NAME)


def update_manifest(path: str | os.PathLike[str], **changes: Any) -> Engine:
    """Change fields of a bundle's manifest, atomically: readers see the old one or the new one.

    What others change at the same time, such as its plans, is kept.

    Example:
        update_manifest("birds.engine", threshold=policy, min_score=0.2)

    Raises:
        InputError: `path` is a bare `.onnx`, or a change does not fit the manifest.
        EngineError: See `open_engine`; or the disk is full.
    """
    folder = Path(path)
    if not folder.is_dir():
        open_engine(folder)  # raises where it is no engine at all
        raise InputError(
            f"{path} is a bare ONNX file; only the manifest of a bundle can be changed.",
            hint=f"Make a bundle first: bas-edge build-engine {path} -o NAME.engine",
        )
    with _one_writer(folder):
        engine = open_engine(folder)
        try:
            changed = msgspec.structs.replace(engine.manifest, **changes)
            encoded = encode_manifest(changed, indent=2)
            manifest = msgspec.json.decode(encoded, type=Manifest)  # replace() checks no types
        except (TypeError, ValueError) as error:
            raise InputError(f"The manifest cannot be changed so: {error}.") from None
        return _replace_manifest(engine, manifest, encoded)


def add_plan(
    engine: Engine, plan: NewPlan, *, replaces: Callable[[PlanRecord], bool], **changes: Any
) -> Engine:
    """Put a plan into a bundle, instead of those that `replaces` names; no other file changes.

    The manifest is the last to change, so readers see the old plans or the new one, whole.

    Args:
        engine: A bundle; its plans need not be in order.
        plan: The new plan. Where its path is taken, it gets another one.
        replaces: Whether a plan of the bundle goes.
        changes: Further fields of the manifest.

    Raises:
        EngineError: The disk is full or cannot be written. The engine is as it was.
    """
    with _one_writer(engine.path):
        # Somebody else may have changed it while the plan was built.
        return _add_plan(open_engine(engine.path, check_plans=False), plan, replaces, changes)


def _add_plan(
    engine: Engine, plan: NewPlan, replaces: Callable[[PlanRecord], bool], changes: dict[str, Any]
) -> Engine:
    old = [record for record in engine.manifest.plans if replaces(record)]
    kept = [record for record in engine.manifest.plans if not replaces(record)]
    written: Path | None = None
    try:
        path = _free_path(engine.path, plan.record.file.path)
        written = engine.path / path
        file = _write_file(engine.path, path, plan.content)
        record = msgspec.structs.replace(plan.record, file=file)
        sync_folder(written.parent)
        changed = msgspec.structs.replace(engine.manifest, plans=(*kept, record), **changes)
        added = _replace_manifest(engine, changed, encode_manifest(changed, indent=2))
    except BaseException as error:
        if written is not None:
            written.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(engine.path, error) from error
        raise
    for record in old:
        if stays_inside(record.file.path) and record.file.path != file.path:
            # The bundle is complete; an old plan that cannot be removed only takes space.
            with contextlib.suppress(OSError):
                (engine.path / record.file.path).unlink(missing_ok=True)
    return added


@contextlib.contextmanager
def _one_writer(folder: Path) -> Iterator[None]:
    """Other processes and threads that change this bundle wait until the block is left.

    Raises:
        EngineError: The folder cannot be read.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where plans are not built and nobody else writes
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise EngineError(f"Cannot read {folder}: {error.strerror}.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace_manifest(engine: Engine, manifest: Manifest, encoded: bytes) -> Engine:
    temporary = engine.path / f".{MANIFEST_NAME}.{os.getpid()}"
    try:
        write_and_sync(temporary, encoded)
        temporary.replace(engine.path / MANIFEST_NAME)
        sync_folder(engine.path)
    except OSError as error:
        raise _unwritable(engine.path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return Engine(engine.path, manifest, engine.model_path)


def _unwritable(folder: Path, error: OSError) -> EngineError:
    return EngineError(
        f"Could not write {folder}: {error.strerror}.",
        hint="Free some space, or make the folder writable. The engine is as it was.",
    )


def _free_path(folder: Path, wanted: str) -> str:
    """`wanted`, or the same with a number where a file of that name is there."""
    relative = PurePosixPath(wanted)
    names = (wanted, *(str(relative.with_stem(f"{relative.stem}-{n}")) for n in range(2, 1000)))
    return next(name for name in names if not os.path.lexists(folder / name))


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


# Writing


def check_destination(output: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Refuse an output that is taken, before any work is done for it.

    Returns:
        Its absolute path.

    Raises:
        InputError: See `write_bundle`.
    """
    destination = Path(os.path.abspath(output))  # noqa: PTH100  (keeps symlinks as typed)
    if not destination.parent.is_dir():
        raise InputError(
            f"Cannot write {destination}: the folder {destination.parent} does not exist.",
            hint=f"mkdir -p {destination.parent}",
        )
    if not os.access(destination.parent, os.W_OK):
        raise InputError(
            f"Cannot write {destination}: the folder {destination.parent} is read-only.",
            hint="Choose another output, or make the folder writable.",
        )
    if not os.path.lexists(destination):
        return destination
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
    return destination


def _write_file(folder: Path, name: str, content: bytes | os.PathLike[str]) -> FileRecord:
    if not stays_inside(name):
        raise InputError(f"'{name}' is not a path inside a bundle.")
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        write_and_sync(path, content)
    else:
        shutil.copyfile(content, path)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    return FileRecord(path=name, sha256=_sha256(path), size_bytes=path.stat().st_size)


def _write_plan(folder: Path, plan: NewPlan) -> PlanRecord:
    file = _write_file(folder, plan.record.file.path, plan.content)
    return msgspec.structs.replace(plan.record, file=file)
