"""Names of the files that sinks write, from templates and from text that may be anything."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import string
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from bas_edge.errors import BasEdgeError, InputError
from bas_edge.video.frames import utc

__all__ = [
    "NameTemplate",
    "as_template",
    "cannot_write",
    "claim_path",
    "moment_fields",
    "partial",
    "prepare_folder",
    "safe_name",
    "writing",
]

_LONGEST_BYTES = 80  # of one name; a template may hold several, and file systems allow 255
_RESERVED = {"CON", "PRN", "AUX", "NUL"} | {
    f"{port}{number}" for port in ("COM", "LPT") for number in range(10)
}


def safe_name(text: str) -> str:
    """`text` as a part of a file name, the same on every system.

    Letters and digits of any script, `-`, `_`, single dots inside, and spaces inside stay. All else
    becomes `_`; a name that had to change ends in `~` and eight digits of its hash, so that two
    different texts never get one name: "door" stays, "a/b" is "a_b~c14cddc0".
    """
    kept = "".join(one if one.isalnum() or one in "-_. " else "_" for one in text)
    kept = unicodedata.normalize("NFC", kept).strip(". ")
    while ".." in kept:
        kept = kept.replace("..", "._")
    while len(kept.encode("utf-8", "replace")) > _LONGEST_BYTES:
        kept = kept[:-1].rstrip(". ")
    if kept == text and kept.partition(".")[0].upper() not in _RESERVED and kept:
        return kept
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{kept}~{digest}" if kept.partition(".")[0].upper() not in _RESERVED else f"_~{digest}"


class NameTemplate:
    """A path with fields in braces: "clips/{stream}/{date}-{time}.mp4".

    Text that is filled in goes through `safe_name`, so it never adds a folder; numbers take a
    format: "{frame:08d}".

    Attributes:
        text: The template.
        fields: Those that it uses.
        root: The folder before the first field.

    Args:
        text: The template.
        allowed: The fields that it may use.
        required: Fields without which two files would have one name.

    Raises:
        InputError: A field that is not allowed or is missing, a format that does not fit its field,
            or braces that do not match.
    """

    def __init__(
        self, text: str | Path, *, allowed: tuple[str, ...], required: tuple[str, ...] = ()
    ) -> None:
        self.text = str(text)
        try:
            parts = list(string.Formatter().parse(self.text))
        except ValueError as error:
            raise InputError(
                f"The file name {self.text!r} is no template: {error}.",
                hint="Write a field as {stream}, and a brace as {{ or }}.",
            ) from None
        named = [name for _, name, _, _ in parts if name is not None]
        self.fields = frozenset(named)
        for name in named:
            if name not in allowed:
                raise InputError(
                    f"The file name {self.text!r} has the field '{name}', which is none of "
                    f"{', '.join(allowed)}.",
                    hint="Write a brace that is meant as {{ or }}.",
                )
        for name in required:
            if name not in self.fields:
                raise InputError(
                    f"The file name {self.text!r} lacks the field '{name}'.",
                    hint=f"Put {{{name}}} into it, or files of one name would replace each other.",
                )
        fixed = parts[0][0] if parts else ""
        self.root = Path(os.path.dirname(fixed) or ".")  # noqa: PTH120 (text, not yet a path)
        self.fill(**{name: 0 if name == "frame" else "x" for name in named})

    def check_files(self) -> None:
        """Refuse what could not be written. Nothing is made: whoever writes makes the folders.

        Raises:
            InputError: It names no file, or its folder cannot be made or written to.
        """
        name = self.text.rpartition("/")[2]
        if name in ("", ".", "..") or (not self.fields and self.path().is_dir()):
            raise InputError(
                f"{self.text!r} is the name of a folder, not of a file.",
                hint="Add a file name, such as {stream} and a suffix.",
            )
        _check_folder(self.root, hint="Name another folder.")

    def path(self, **values: str | int) -> Path:
        """The path with `values` for its fields; raises what `fill` raises."""
        return Path(self.fill(**values))

    def fill(self, **values: str | int) -> str:
        """The text with `values` for its fields.

        Raises:
            InputError: A value does not fit its format.
        """
        safe = {
            name: safe_name(value) if isinstance(value, str) else value
            for name, value in values.items()
        }
        try:
            return self.text.format(**safe)
        except ValueError as error:
            raise InputError(
                f"The file name {self.text!r} cannot be filled in: {error}.",
                hint="Only numbers take a format such as :08d.",
            ) from None


def as_template(path: str | Path) -> str:
    """A path whose braces are meant as such, for what takes a template."""
    return str(path).replace("{", "{{").replace("}", "}}")


def moment_fields(unix_s: float) -> dict[str, str]:
    """{"date": "2026-11-22", "time": "040506"} of a moment, in UTC."""
    date, _, time = utc(unix_s).partition("T")
    return {"date": date, "time": time[:8].replace(":", "")}


def partial(path: Path) -> Path:
    """What `path` is called until it is whole: `NAME.partial.SUFFIX`."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def claim_path(path: Path, *, also: str | None = None) -> Path:
    """`path`, or with -2, -3 … before its suffix the first that nobody has.

    Its partial file is made, empty, so that nobody else gets the name.

    Args:
        path: In a folder that exists.
        also: The suffix of a second file by the same name, which must be free too.

    Raises:
        OSError: The partial file cannot be made.
    """
    names = (path.with_name(f"{path.stem}-{n}{path.suffix}") for n in itertools.count(2))
    for one in itertools.chain([path], names):
        if one.exists() or (also is not None and one.with_suffix(also).exists()):
            continue
        with contextlib.suppress(FileExistsError):
            partial(one).open("xb").close()
            return one
    raise AssertionError("unreachable: the numbers do not end")


def cannot_write(path: Path, error: Exception) -> BasEdgeError:
    """What a sink raises for `error`, which the system or a library raised."""
    return BasEdgeError(
        f"Cannot write {path}: {getattr(error, 'strerror', None) or error}.",
        hint="Check the folder, its permissions and the space that is left.",
    )


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system raises into an error that names the file."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def prepare_folder(folder: Path, *, hint: str = "Name another folder.") -> None:
    """Make `folder` and those above it; `hint` is that of the errors.

    Raises:
        InputError: It cannot be made, or not be written to.
    """
    _check_folder(folder, hint=hint)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Cannot make the folder {folder}: {error.strerror}.", hint=hint
        ) from error


def _check_folder(folder: Path, *, hint: str) -> None:
    """Look at it, or at the nearest one above it that is there."""
    while not os.access(folder, os.F_OK) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(f"{folder} is a file, so nothing can be written into it.", hint=hint)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            f"The folder {folder} cannot be written to.",
            hint=f"Change its permissions, or: {hint}",
        )
