"""A page, an API and metrics for a running pipeline. Needs the `[serve]` extra; docs/serve.md."""

from __future__ import annotations

from bas_edge.serve.controls import Controls
from bas_edge.serve.event_log import EventLog
from bas_edge.serve.live_views import LiveViews
from bas_edge.serve.options import ServeOptions
from bas_edge.serve.server import Server
from bas_edge.serve.serving import serve

__all__ = [
    "Controls",
    "EventLog",
    "LiveViews",
    "ServeOptions",
    "Server",
    "serve",
]
