"""Pretrained files: a path, or a URL whose content is known by its sha256."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from bas_edge.errors import BasEdgeError, InputError

__all__ = ["cache_folder", "fetch_pretrained"]

_MAX_BYTES = 2 << 30
_CHECKPOINT = "checkpoint.safetensors"
_CHUNK_BYTES = 1 << 20
_SCHEMES = ("https", "http", "file")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def cache_folder() -> Path:
    """Where downloads are kept: $XDG_CACHE_HOME/bas-edge, by default ~/.cache/bas-edge."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "bas-edge"


def fetch_pretrained(source: str, *, max_bytes: int = _MAX_BYTES, timeout_s: float = 30.0) -> Path:
    """The local file of `PATH`, `PATH#sha256=HEX` or `URL#sha256=HEX`.

    PATH may be a run folder, which stands for its checkpoint. A URL is downloaded once and kept
    under its hash; a hash that is given is always checked.

    Raises:
        InputError: No such file, a URL without a hash, or content with another hash.
        BasEdgeError: The download failed, or is larger than `max_bytes`.
    """
    location, _, fragment = source.partition("#")
    sha256 = fragment.removeprefix("sha256=").lower()
    if fragment and not (fragment.startswith("sha256=") and _SHA256.fullmatch(sha256)):
        raise InputError(
            f"The part after # in {source} is not sha256= and 64 hexadecimal digits.",
            hint="sha256sum FILE prints them.",
        )
    if "://" not in location:
        path = Path(location)
        if (path / _CHECKPOINT).is_file():  # a run folder, as for every other verb
            path /= _CHECKPOINT
        if not path.is_file():
            fault = "is a folder without a checkpoint" if path.is_dir() else "does not exist"
            raise InputError(f"The pretrained file {path} {fault}.", hint="Check the path.")
        if sha256:
            with path.open("rb") as stream:
                _check(_hash(stream), sha256, str(path))
        return path
    scheme = urlsplit(location).scheme
    if scheme not in _SCHEMES:
        raise InputError(f"{location}: cannot download over {scheme}; use https.")
    if not sha256:
        raise InputError(
            f"{location} has no sha256, so its content could be anything.",
            hint=f"Write {location}#sha256=… with the hash that its publisher states.",
        )
    name = Path(urlsplit(location).path).name or "weights"
    kept = cache_folder() / "pretrained" / sha256 / name
    if kept.is_file():
        with kept.open("rb") as stream:
            if _hash(stream) == sha256:
                return kept
    _download(location, kept, sha256, max_bytes, timeout_s)
    return kept


def _download(url: str, target: Path, sha256: str, max_bytes: int, timeout_s: float) -> None:
    """Fetch into a temporary file beside the target, check it, rename it."""
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(url, timeout=timeout_s) as response,
            tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as stream,
        ):
            temporary = Path(stream.name)
            found, size = hashlib.sha256(), 0
            while chunk := response.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > max_bytes:
                    raise BasEdgeError(f"{url} is larger than {max_bytes} bytes; stopped.")
                found.update(chunk)
                stream.write(chunk)
        _check(found.hexdigest(), sha256, url)
        temporary.replace(target)
    except urllib.error.HTTPError as error:
        raise BasEdgeError(
            f"Cannot download {url}: the server answered {error.code} {error.reason}.",
            hint="Check the address.",
        ) from error
    except OSError as error:  # URLError, timeouts, a full disk
        reason = getattr(error, "reason", None) or error.strerror or error
        raise BasEdgeError(
            f"Cannot download {url}: {reason}.",
            hint="Offline? Fetch the file elsewhere and pass its path to --pretrained.",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _hash(stream: IO[bytes]) -> str:
    found = hashlib.sha256()
    while chunk := stream.read(_CHUNK_BYTES):
        found.update(chunk)
    return found.hexdigest()


def _check(found: str, wanted: str, name: str) -> None:
    if found != wanted:
        raise InputError(
            f"{name} has the sha256 {found}, but {wanted} was expected.",
            hint="The file was changed or cut off; do not use it.",
        )
