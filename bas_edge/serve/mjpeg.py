"""A stream as MJPEG over HTTP, for VLC, FFmpeg and <img>."""

from __future__ import annotations

import asyncio
import contextlib

from bas_edge.serve.guard import Receive, Send
from bas_edge.serve.picture import Look
from bas_edge.serve.site import Site
from bas_edge.serve.viewer import Viewer

__all__ = ["send_head", "send_mjpeg"]

_BOUNDARY = "bas-edge-frame"
_CONTENT_TYPE = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
_STUCK_S = 20.0  # a viewer that reads nothing for so long makes room for another
_WAIT_S = 5.0


async def send_mjpeg(
    site: Site, viewer: Viewer, stream: str, look: Look, receive: Receive, send: Send
) -> None:
    """Answer one HTTP request with pictures until either side ends it.

    Where the network or the viewer is slow, sending waits, and the next picture is then the
    newest: nothing piles up.
    """
    viewer.watch([(stream, look)])
    gone = asyncio.ensure_future(_close_when_gone(viewer, receive))
    try:
        await _start(send)
        while not viewer.closed:
            delivery = await viewer.next(_WAIT_S)
            if delivery is None:
                continue
            head = f"--{_BOUNDARY}\r\ncontent-type: image/jpeg\r\n"
            head += f"content-length: {len(delivery.jpeg)}\r\n\r\n"
            body = head.encode() + delivery.jpeg + b"\r\n"
            part = {"type": "http.response.body", "body": body, "more_body": True}
            await asyncio.wait_for(send(part), _STUCK_S)
            viewer.drawn(delivery.id)
        await _end(send)
    except asyncio.TimeoutError:
        pass  # the connection is closed without an end, as it had none
    finally:
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone
        site.leave(viewer)


async def send_head(send: Send) -> None:
    """Answer a request that wants to know what it would get."""
    await _start(send)
    await _end(send)


async def _start(send: Send) -> None:
    headers = [(b"content-type", _CONTENT_TYPE.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _end(send: Send) -> None:
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _close_when_gone(viewer: Viewer, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    viewer.close()
