"""A pipeline on the page: a tiny real engine that looks for green, on frames with a green glow."""

from __future__ import annotations

import base64
import http.client
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scripted_source
from graphs import save as save_model
from graphs import tiny_manifest, tiny_model
from numpy.typing import NDArray
from PIL import Image

from bas_edge import build_engine
from bas_edge.serve import Controls, LiveViews, ServeOptions, Server
from bas_edge.serve.serving import PipelineThread
from bas_edge.serve.site import Site
from bas_edge.video import Pipeline, Stream, open_source
from bas_edge.video.pipeline_engine import open_frame_engine
from bas_edge.video.steady.smoothing import Smoothing

TOKEN = "the-token-of-the-tests"
LONG_S = 60.0  # no test needs it; one that hangs ends here
SIZE = (96, 128)


def glow(number: int) -> NDArray[np.uint8]:
    """[96, 128, 3]: a green glow that moves with `number`; a higher threshold sees less of it."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    centre = 40 + 30 * np.sin(number / 10)
    level = np.exp(-(((x - 20 - centre) / 24) ** 2 + ((y - 48) / 20) ** 2))
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[..., 1] = np.rint(255 * level)
    return pixels


def glowing(period_s: float = 0.02, moves: bool = True) -> Iterator[NDArray[np.uint8]]:
    number = 0
    while True:
        yield glow(number)
        number += moves
        time.sleep(period_s)


def a_camera(name: str = "door", *, moves: bool = True, period_s: float = 0.02) -> Stream:
    return open_source(glowing(period_s, moves), name=name, policy="newest")


def tiny_engine(folder: Path, **options: Any) -> Path:
    """A bundle whose overrides can be saved: classes "red", "green", "blue", three maps."""
    manifest = tiny_manifest(classes=("red", "green", "blue"), size=SIZE, **options)
    onnx = save_model(folder / "tiny.onnx", tiny_model(manifest), manifest)
    engine = folder / "tiny.engine"
    build_engine(onnx, engine)
    return engine


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class Shown(NamedTuple):
    """A picture that came over a WebSocket."""

    header: dict[str, Any]
    jpeg: bytes

    @property
    def pixels(self) -> NDArray[np.uint8]:
        return pixels_of(self.jpeg)


def pixels_of(jpeg: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(jpeg)))


class Served:
    """What a test needs of a running server."""

    def __init__(self, server: Server, site: Site, pipeline: Pipeline) -> None:
        self.server, self.site, self.pipeline = server, site, pipeline
        self.views, self.port = site.views, server.port

    @contextmanager
    def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = TOKEN,
        headers: dict[str, str] | None = None,
        body: Any = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """One request, its answer not yet read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG_S)
        told = {} if token is None else {"Authorization": f"Bearer {token}"}
        raw = isinstance(body, bytes) or body is None or hasattr(body, "__next__")
        content = body if raw else json.dumps(body).encode()
        try:
            connection.request(method, path, content, {**told, **(headers or {})})
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def ask(self, method: str, path: str, **options: Any) -> Answer:
        with self.request(method, path, **options) as response:
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())

    @contextmanager
    def page(self, token: str | None = TOKEN, **options: Any) -> Iterator[PageEnd]:
        """The WebSocket of a page."""
        import websockets.sync.client

        protocols = ["bas-edge.v1"]
        if token is not None:
            encoded = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
            protocols.append(f"bas-edge.token.{encoded}")
        address = f"ws://127.0.0.1:{self.port}/api/live"
        with websockets.sync.client.connect(
            address, subprotocols=protocols, max_size=None, open_timeout=LONG_S, **options
        ) as socket:
            yield PageEnd(socket)


class PageEnd:
    """A page's end of its WebSocket."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.news: list[dict[str, Any]] = []

    def watch(self, stream: str = "door", width: float = 128, overlay: float | None = None) -> None:
        wanted = {"stream": stream, "width": width, "overlay": overlay}
        self.socket.send(json.dumps({"watch": [wanted]}))

    def drawn(self, shown: Shown) -> None:
        self.socket.send(json.dumps({"drawn": shown.header["id"]}))

    def picture(self, *, draw: bool = True, timeout_s: float = LONG_S) -> Shown:
        """The next picture; news that come before it are kept."""
        deadline = time.monotonic() + timeout_s
        while True:
            message = self.socket.recv(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(message, str):
                self.news.append(json.loads(message))
                continue
            (length,) = struct.unpack(">I", message[:4])
            shown = Shown(json.loads(message[4 : 4 + length]), message[4 + length :])
            if draw:
                self.drawn(shown)
            return shown


@contextmanager
def served(
    engine: Path, *streams: Stream, smooth: Smoothing | None = None, **options: Any
) -> Iterator[Served]:
    """Run streams through an engine, and serve them on a free port of the loopback."""
    views = LiveViews()
    with open_frame_engine(engine, spin=False, threads=1) as opened:
        pipeline = Pipeline(opened)
        for stream in streams:
            pipeline.add(stream, sinks=[views], smooth=smooth or Smoothing.named("off"))
        running = PipelineThread(pipeline)
        controls = Controls(pipeline, engine, views.log)
        site = Site(
            pipeline,
            views,
            controls,
            ServeOptions(**{"token": TOKEN, "port": 0, **options}),
            running.broken,
        )
        server = Server(site)
        try:
            server.start()
            running.start()
            yield Served(server, site, pipeline)
        finally:
            server.stop()
            running.close()


def until(condition: Callable[[], bool]) -> None:
    """As that of `scripted_source`, at a pace that the server's limit on reads allows."""
    scripted_source.until(condition, every_s=0.05)


def our_threads() -> set[str]:
    return {one.name for one in threading.enumerate() if one.name.startswith("bas-edge")}
