"""The command line: `bas-edge <verb>`. One module a verb; `app` ties them together."""

from __future__ import annotations

from bas_edge.cli.app import main

__all__ = ["main"]
