"""The end of an mp4 file that was not written to its end."""

from __future__ import annotations

import struct
from pathlib import Path

__all__ = ["cut_torn_end"]


def cut_torn_end(path: Path) -> None:
    """Remove what a fragmented mp4 has behind its last whole fragment, if it ends in a torn one.

    A player would stop there with an error. The pictures of a fragment are in its `mdat` box
    (ISO/IEC 14496-12, 4.2 and 8.8). A file of whole boxes stays as it is, and so does one that
    has no whole fragment.

    Raises:
        OSError: The file cannot be read or changed.
    """
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        at = whole = 0
        while at + 16 <= size:
            file.seek(at)
            length, kind, longer = struct.unpack(">I4sQ", file.read(16))
            length = longer if length == 1 else length
            if length < 8 or at + length > size:
                break
            at += length
            if kind == b"mdat":
                whole = at
        if whole and at < size:
            file.truncate(whole)
