"""The files of the page: the only ones that the server ever reads for a request."""

from __future__ import annotations

from importlib.resources import files

__all__ = ["PAGE_FILES", "page_file"]

# path → file, type
PAGE_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/link.js": ("link.js", "text/javascript; charset=utf-8"),
    "/tiles.js": ("tiles.js", "text/javascript; charset=utf-8"),
    "/controls.js": ("controls.js", "text/javascript; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


def page_file(path: str) -> tuple[bytes, str]:
    """Content and type of one of `PAGE_FILES`."""
    name, kind = PAGE_FILES[path]
    return (files("bas_edge.serve") / "page" / name).read_bytes(), kind
