"""What a page and the server say to each other over a WebSocket.

The page sends JSON: `{"watch": [{"stream": …, "width": …, "overlay": …}]}` says what it wants to
see, `{"drawn": 7}` that it is through with picture 7. The server sends a binary message for each
picture (length of the header in 4 bytes, big-endian; the header in JSON; a JPEG), and a text
message with every stream, the tuning and new events once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from typing import Any, Protocol

import msgspec
from msgspec import UNSET

from bas_edge.finding import summary
from bas_edge.serve.buckets import Bucket
from bas_edge.serve.picture import nearest_look
from bas_edge.serve.schema import Event, PageMessage, StreamList, Tuning
from bas_edge.serve.site import Site
from bas_edge.serve.viewer import Delivery, Viewer

__all__ = ["GOING_AWAY", "POLICY", "Socket", "converse"]

GOING_AWAY, POLICY = 1001, 1008  # why a WebSocket is closed, as RFC 6455 numbers it
_NEWS_S = 1.0
_MESSAGES_PER_S = 40.0  # beyond acknowledgements, which pictures limit


class Socket(Protocol):
    """A WebSocket that was accepted."""

    async def receive(self) -> Any: ...
    async def send_text(self, data: str) -> None: ...
    async def send_bytes(self, data: bytes) -> None: ...


class News(msgspec.Struct, frozen=True):
    """The text message of the server."""

    streams: StreamList
    tuning: Tuning
    events: tuple[Event, ...]
    now_ms: float


async def converse(site: Site, viewer: Viewer, socket: Socket) -> int | None:
    """Serve one page until either side ends it, and close its viewer.

    Returns:
        Why the server ends it; None where the page did.
    """
    listening = asyncio.ensure_future(_listen(viewer, socket))
    talking = asyncio.ensure_future(_talk(site, viewer, socket))
    try:
        done, _ = await asyncio.wait((listening, talking), return_when=asyncio.FIRST_COMPLETED)
        if listening in done:
            return listening.result()
        talking.result()
        return GOING_AWAY
    finally:
        viewer.close()  # asyncio.wait_for loses a cancellation now and then, before Python 3.12
        for task in (listening, talking):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


async def _listen(viewer: Viewer, socket: Socket) -> int | None:
    allowed = Bucket(_MESSAGES_PER_S, 2 * _MESSAGES_PER_S)
    while True:
        message = await socket.receive()
        if message["type"] != "websocket.receive":
            return None
        try:
            said = msgspec.json.decode(message.get("text") or b"", type=PageMessage)
        except msgspec.DecodeError:
            return POLICY
        if said.watch is not UNSET:
            viewer.watch((one.stream, nearest_look(one.width, one.overlay)) for one in said.watch)
        known = said.drawn is not UNSET and viewer.drawn(said.drawn)
        if not known and not allowed.take():
            return POLICY


async def _talk(site: Site, viewer: Viewer, socket: Socket) -> None:
    loop = asyncio.get_running_loop()
    told, due = 0, 0.0
    while not viewer.closed:
        now = time.monotonic()
        if now >= due:
            due = now + _NEWS_S
            news = await loop.run_in_executor(site.workers, _news, site, told)
            if news.events:
                told = news.events[-1].id
            await socket.send_text(msgspec.json.encode(news).decode())
            continue
        delivery = await viewer.next(due - now)
        if delivery is not None:
            await socket.send_bytes(_packed(delivery))


def _news(site: Site, told: int) -> News:
    return News(
        site.board.streams(),
        site.controls.tuning(),
        tuple(site.views.log.after(told)),
        1000 * time.time(),
    )


def _packed(delivery: Delivery) -> bytes:
    result = delivery.seen.result
    header = msgspec.json.encode(
        {
            "id": delivery.id,
            "stream": result.stream,
            "frame": result.index,
            "captured_ms": 1000 * result.frame.captured_at,
            "age_ms": max(0.0, 1000 * (time.time() - result.frame.captured_at)),
            "found": result.finding.found,
            "text": summary(result.finding),
        }
    )
    return struct.pack(">I", len(header)) + header + delivery.jpeg
