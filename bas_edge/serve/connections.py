"""Connections that ask for nothing: they get little time, and never the place of others."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from bas_edge.serve.guard import App, Receive, Scope, Send

__all__ = ["Connections"]

_Client = tuple[object, ...]  # address and port; empty where it is gone already


class _Waiting(NamedTuple):
    transport: asyncio.Transport
    deadline: asyncio.TimerHandle


class Connections:
    """Goes around an application, and closes connections that wait for too long to use it.

    A connection waits until its first request, and between two of them. Where more than `most`
    wait, the one that has waited longest is closed: whoever opens many and says nothing closes
    only his own, since others ask at once. On the event loop alone.

    Args:
        app: What answers.
        most: Connections that may wait at once, of all addresses.
        patience_s: How long each may wait.
    """

    def __init__(self, app: App, *, most: int, patience_s: float) -> None:
        self._app, self._most, self._patience_s = app, most, patience_s
        self._waiting: dict[_Client, _Waiting] = {}  # longest first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        waiting = self._waiting.pop(tuple(scope.get("client") or ()), None)
        if waiting is not None:
            waiting.deadline.cancel()
        try:
            await self._app(scope, receive, send)
        finally:
            if waiting is not None and not waiting.transport.is_closing():
                self.wait(waiting.transport)

    def wait(self, transport: asyncio.Transport) -> None:
        """A connection is there, and has asked for nothing yet."""
        client = tuple(transport.get_extra_info("peername") or ())[:2]
        former = self._waiting.pop(client, None)
        if former is not None:  # it ended, and the next has its number
            former.deadline.cancel()
        if len(self._waiting) >= self._most:
            self._close(next(iter(self._waiting)))
        deadline = asyncio.get_running_loop().call_later(self._patience_s, self._close, client)
        self._waiting[client] = _Waiting(transport, deadline)

    def _close(self, client: _Client) -> None:
        waiting = self._waiting.pop(client)
        waiting.deadline.cancel()
        waiting.transport.abort()  # also where it does not read what it was sent
