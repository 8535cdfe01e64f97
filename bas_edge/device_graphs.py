"""CUDA graphs of one stream, by what they replay."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable

from bas_edge.backends.device import Device, Graph, Stream
from bas_edge.errors import BackendError, KernelError

__all__ = ["GraphCache"]

_log = logging.getLogger("bas_edge")


class GraphCache:
    """Runs work step by step the first time, captures it the second, and then replays it.

    TensorRT wants one run after each change of shape before it can be captured, and so do our
    own tables, which are made on first use.

    Attributes:
        refused: Why nothing is captured any more, as the library said it; empty while it is.
    """

    def __init__(self, device: Device, stream: Stream, *, kept: int) -> None:
        self._device = device
        self._stream = stream
        self._kept = kept
        self._graphs: OrderedDict[Hashable, Graph | None] = OrderedDict()
        self.refused = ""

    def run(self, key: Hashable, enqueue: Callable[[], None]) -> None:
        """Put on the stream what `enqueue` would; the same key always means the same work."""
        if self.refused or key not in self._graphs:
            self._remember(key)
            self._step_by_step(enqueue)
            return
        self._graphs.move_to_end(key)
        graph = self._graphs[key] or self._capture(enqueue)
        if graph is None:
            self._step_by_step(enqueue)
            return
        self._graphs[key] = graph
        graph.launch(self._stream)

    def clear(self) -> None:
        """Forget all of them: an address that they hold is about to change."""
        for graph in self._graphs.values():
            if graph is not None:
                graph.free()
        self._graphs.clear()

    def _step_by_step(self, enqueue: Callable[[], None]) -> None:
        with self._device.current():
            enqueue()

    def _remember(self, key: Hashable) -> None:
        self._graphs[key] = None
        while len(self._graphs) > self._kept:
            _, oldest = self._graphs.popitem(last=False)
            if oldest is not None:
                oldest.free()

    def _capture(self, enqueue: Callable[[], None]) -> Graph | None:
        try:
            with self._stream.capture() as graphs:
                enqueue()
            return graphs[0]
        except (BackendError, KernelError) as error:
            # Some plans hold steps that CUDA cannot capture. They run all the same, slower; any
            # other failure comes again at once, step by step, and is raised.
            self.refused = str(error)
            self.clear()
            _log.warning(f"Running without a CUDA graph, which is slower: {error}")
            return None
