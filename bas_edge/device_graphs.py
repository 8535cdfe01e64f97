"""CUDA graphs of one stream, by what they replay."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable

from bas_edge.backends.device import Graph, Stream
from bas_edge.errors import BackendError, KernelError

__all__ = ["GraphCache"]

_log = logging.getLogger("bas_edge")
_REFUSALS = 3  # different kinds of work that cannot be captured, before nothing is tried any more


class GraphCache:
    """Work is enqueued step by step until its kind was seen twice, and replayed from then on.

    The second time it is captured right after it ran, when TensorRT has nothing left to do for
    its shape, and our own tables exist.
    """

    def __init__(self, stream: Stream, *, kept: int) -> None:
        self._stream = stream
        self._kept = kept
        self._graphs: OrderedDict[Hashable, Graph | None] = OrderedDict()
        self._refused: set[Hashable] = set()
        self._refusal = ""

    @property
    def refusal(self) -> str:
        """Why some work is not captured, as the library said it; empty where all is."""
        return self._refusal

    def launch(self, key: Hashable) -> bool:
        """Replay the work of this kind; False where it has to be enqueued step by step."""
        graph = self._graphs.get(key)
        if graph is None:
            return False
        self._graphs.move_to_end(key)
        graph.launch(self._stream)
        return True

    def ran(self, key: Hashable, enqueue: Callable[[], None], refuses: Callable[[], str]) -> None:
        """Say that work of this kind was just enqueued step by step, by `enqueue`.

        `refuses` says why it cannot be captured, as far as that is known before; or "".
        """
        if key in self._refused or len(self._refused) >= _REFUSALS:
            return
        if key in self._graphs:
            self._graphs[key] = self._capture(key, enqueue, refuses)
            return
        self._graphs[key] = None
        while len(self._graphs) > self._kept:
            _, oldest = self._graphs.popitem(last=False)
            if oldest is not None:
                oldest.free()

    def clear(self) -> None:
        """Forget all of them: an address that they hold is about to change."""
        for graph in self._graphs.values():
            if graph is not None:
                graph.free()
        self._graphs.clear()

    def _capture(
        self, key: Hashable, enqueue: Callable[[], None], refuses: Callable[[], str]
    ) -> Graph | None:
        try:
            if reason := refuses():
                raise BackendError(reason)
            with self._stream.capture() as graphs:
                enqueue()
            return graphs[0]
        except (BackendError, KernelError) as error:
            # Some plans hold steps that CUDA cannot capture. They run all the same, slower; any
            # other failure comes again step by step, and is raised there.
            self._refused.add(key)
            if not self._refusal:
                _log.warning(f"Running without a CUDA graph, which is slower: {error}")
            self._refusal = str(error)
            return None
