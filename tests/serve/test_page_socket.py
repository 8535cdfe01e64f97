"""What a page may say, on an event loop without a network."""

from __future__ import annotations

import asyncio
from typing import Any

from served import LONG_S, Served

from bas_edge.serve.page_socket import POLICY, converse
from bas_edge.serve.viewer import Viewer


class Rude:
    """A page that asks for something, and says nonsense before anybody has looked at it."""

    def __init__(self) -> None:
        self.greeted = asyncio.Event()
        self.says = iter(['{"watch": [{"stream": "nothing", "width": 1, "overlay": 0}]}', "hm?"])

    async def receive(self) -> Any:
        await self.greeted.wait()
        return {"type": "websocket.receive", "text": next(self.says)}

    async def send_text(self, data: str) -> None:  # noqa: ARG002  (a WebSocket's)
        self.greeted.set()

    async def send_bytes(self, data: bytes) -> None:  # noqa: ARG002  (a WebSocket's)
        raise AssertionError("there is no picture of nothing")


def test_nonsense_right_behind_a_wish_ends_it(shared: Served) -> None:
    async def talk() -> int | None:
        viewer = Viewer(shared.views, shared.site.pictures, max_fps=10.0)
        talking = asyncio.ensure_future(converse(shared.site, viewer, Rude()))
        ended, _ = await asyncio.wait({talking}, timeout=LONG_S)
        viewer.close()
        assert ended, "it goes on talking"
        return talking.result()

    assert asyncio.run(talk()) == POLICY
