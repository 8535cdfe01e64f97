"""Everything that answers requests, tied together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bas_edge.serve.access import Access
from bas_edge.serve.controls import Controls
from bas_edge.serve.live_views import LiveViews
from bas_edge.serve.options import ServeOptions
from bas_edge.serve.shared_pictures import SharedPictures
from bas_edge.serve.status_board import StatusBoard
from bas_edge.serve.viewer import Viewer

if TYPE_CHECKING:
    from bas_edge.video.pipeline import Pipeline

__all__ = ["Site"]

_ENCODERS = 2  # threads; inference needs the processor more


class Site:
    """What the server shows, and who looks at it.

    Args:
        pipeline: What runs.
        views: Its sink; every stream has it.
        controls: What can be changed.
        options: Limits.
        broken: Says why the pipeline does not run any more; "" while it does.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        views: LiveViews,
        controls: Controls,
        options: ServeOptions,
        broken: Callable[[], str],
    ) -> None:
        self.options, self.views, self.controls = options, views, controls
        self.access = Access(options)
        self.encoders = ThreadPoolExecutor(_ENCODERS, "bas-edge-serve-encode")
        self.workers = ThreadPoolExecutor(1, "bas-edge-serve-work")  # one change after another
        self.pictures = SharedPictures(views, self.encoders)
        self.board = StatusBoard(
            pipeline, views, controls, broken=broken, viewers=lambda: len(self._viewers)
        )
        self._viewers: set[Viewer] = set()
        self._closing = False

    def enter(self) -> Viewer | None:
        """A new viewer, or None where there are as many as there may be. On the event loop."""
        if self._closing or len(self._viewers) >= self.options.max_clients:
            return None
        viewer = Viewer(self.views, self.pictures, self.options.max_view_fps)
        self._viewers.add(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """The viewer is gone. On the event loop."""
        viewer.close()
        self._viewers.discard(viewer)

    def end(self) -> None:
        """Let every viewer go, and no other in. On the event loop."""
        self._closing = True
        for viewer in self._viewers:
            viewer.close()

    def close(self) -> None:
        """End the threads. After the event loop has ended."""
        self.encoders.shutdown()
        self.workers.shutdown()
