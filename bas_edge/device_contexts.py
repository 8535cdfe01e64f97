"""The execution contexts of one slot: one for each batch that its network runs."""

from __future__ import annotations

import logging
from contextlib import ExitStack

from bas_edge.backends.base import DeviceContext, DevicePlan
from bas_edge.errors import BackendError

__all__ = ["BatchContexts"]

_log = logging.getLogger("bas_edge")


class BatchContexts:
    """Contexts by batch.

    A captured run must keep its shape, so each batch has a context of its own; and each context
    holds memory for the largest batch, so there are three batches at most: those of the plan's
    profile. Fewer frames run as the next of them.
    """

    def __init__(self, plan: DevicePlan) -> None:
        self._plan = plan
        self._contexts: dict[int, DeviceContext] = {}
        self._shared = ""
        self.of(1)  # so that a plan that gives none is known now

    @property
    def shared(self) -> str:
        """Why one context serves all batches, so that nothing may be captured; or ""."""
        return self._shared

    def batch_of(self, count: int) -> int:
        """What the network runs for `count` frames."""
        return next(batch for batch in sorted(self._plan.batches) if batch >= count)

    def of(self, count: int) -> DeviceContext:
        """The context for `count` frames."""
        batch = self.batch_of(count)
        context = self._contexts.get(batch)
        if context is None:
            context = self._contexts[batch] = self._new()
        return context

    def _new(self) -> DeviceContext:
        try:
            return self._plan.context()
        except BackendError as error:
            if not self._contexts:
                raise
            if not self._shared:
                _log.warning(f"One execution context runs all batches, which is slower: {error}")
            self._shared = str(error)
            return next(iter(self._contexts.values()))

    def close(self) -> None:
        """Free them."""
        with ExitStack() as stack:
            for context in self._contexts.values():
                stack.callback(context.close)
