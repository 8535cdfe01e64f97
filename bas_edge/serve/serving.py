"""A pipeline and its server, side by side until somebody stops them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from bas_edge.serve.controls import Controls
from bas_edge.serve.live_views import LiveViews
from bas_edge.serve.options import ServeOptions
from bas_edge.serve.server import Server
from bas_edge.serve.site import Site
from bas_edge.signals import asked_to_end

if TYPE_CHECKING:
    from bas_edge.video.pipeline import Pipeline

__all__ = ["PipelineThread", "serve"]

_POLL_S = 0.25


class PipelineThread:
    """Runs a pipeline; `close` waits for its end.

    Attributes:
        error: What it raised; None if nothing.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.error: BaseException | None = None
        self._pipeline = pipeline
        self._thread = threading.Thread(target=self._run, name="bas-edge-pipeline", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def broken(self) -> str:
        """Why it failed, in a sentence; "" if it did not, or ended where its streams end."""
        return "" if self.error is None else f"The pipeline has stopped: {self.error}"

    def close(self) -> None:
        """Finish the frames in flight and close every sink."""
        self._pipeline.stop()
        if self._thread.ident is not None:
            self._thread.join()
        self._pipeline.close()

    def _run(self) -> None:
        try:
            self._pipeline.run()
        except BaseException as error:  # noqa: BLE001  (raised again by serve)
            self.error = error


def serve(
    pipeline: Pipeline,
    views: LiveViews,
    controls: Controls,
    options: ServeOptions,
    *,
    started: Callable[[Server], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> None:
    """Run a pipeline and show it, until a signal or `stop` ends both.

    Streams that end stay on the page as ended; a pipeline whose engine fails ends the server.

    Args:
        pipeline: Not yet started. It is closed at the end.
        views: A sink of each of its streams.
        controls: What the page may change.
        options: Where to listen and whom to let in.
        started: Called once requests are answered.
        stop: Ends it when set; None waits for one of `SIGNALS`, on the main thread. A second does
            not disturb the closing; a third kills.

    Raises:
        InputError: The address cannot be listened on.
        MissingExtraError: The `[serve]` extra is not installed.
        BackendError: The engine failed.
    """
    running = PipelineThread(pipeline)
    server = Server(Site(pipeline, views, controls, options, running.broken))
    ended = threading.Event() if stop is None else stop
    with asked_to_end(ended.set) if stop is None else nullcontext():
        try:
            server.start()
            running.start()
            started(server)
            while not ended.wait(_POLL_S) and running.error is None:
                pass
        finally:
            server.stop()
            running.close()
    if running.error is not None:
        raise running.error
