"""A stream as MJPEG over HTTP, for VLC, FFmpeg and <img>."""

from __future__ import annotations

import asyncio
import contextlib

from bas_edge.serve.guard import Receive, Send
from bas_edge.serve.picture import Look
from bas_edge.serve.site import Site
from bas_edge.serve.viewer import Viewer

__all__ = ["send_mjpeg"]

_BOUNDARY = "bas-edge-frame"
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
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}".encode()
        headers = [(b"content-type", kind)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
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
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except asyncio.TimeoutError:
        pass  # the connection is closed without an end, as it had none
    finally:
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone
        site.leave(viewer)


async def _close_when_gone(viewer: Viewer, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    viewer.close()
