"""The ASGI server on a thread of its own: the only file that knows uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

from bas_edge._require import require
from bas_edge.errors import BasEdgeError, InputError
from bas_edge.serve.app import build_app
from bas_edge.serve.connections import Connections
from bas_edge.serve.guard import App
from bas_edge.serve.site import Site

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Server"]

_START_S = 20.0
_GRACE_S = 3  # for answers in progress; viewers are let go before
_MOST_WAITING = 128  # connections without a request, of everybody together
_PATIENCE_S = 10.0  # with one of them


class Server:
    """Serves a site from `start` to `stop`.

    Args:
        site: What it serves. The server closes it.

    Attributes:
        port: The TCP port, once it is started.

    Raises:
        MissingExtraError: The `[serve]` extra is not installed.
    """

    def __init__(self, site: Site) -> None:
        self._uvicorn: ModuleType = require("uvicorn", extra="serve", purpose="The server")
        require("websockets", extra="serve", purpose="The server")
        self._site = site
        app = _behind(site.options.trusted_proxies, build_app(site))
        self._connections = Connections(app, most=_MOST_WAITING, patience_s=_PATIENCE_S)
        self._server: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._error: BaseException | None = None
        self.port = site.options.port

    @property
    def address(self) -> str:
        """Where a browser finds it: "http://127.0.0.1:8765"."""
        host = self._site.options.host
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}"

    @property
    def url(self) -> str:
        """The address with the token. A browser keeps what follows # to itself."""
        token = self._site.options.token
        return f"{self.address}/" + ("" if token is None else f"#token={token}")

    def start(self) -> None:
        """Listen, and return once requests are answered.

        Raises:
            InputError: The address cannot be listened on.
        """
        listening = _listen(self._site.options.host, self._site.options.port)
        self.port = listening.getsockname()[1]
        options = self._site.options
        config = self._uvicorn.Config(
            self._connections,
            loop="asyncio",
            http=_watched(self._connections),
            ws="websockets-sansio",
            ws_max_size=options.max_body_bytes,
            ws_per_message_deflate=False,  # JPEG does not get smaller
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,  # of trusted proxies alone: see _behind
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = self._uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._run, args=(listening,), name="bas-edge-serve", daemon=True
        )
        self._thread.start()
        if not self._started.wait(_START_S) or self._error is not None:
            raise BasEdgeError(f"The server did not start: {self._error or 'it takes too long'}.")

    def stop(self) -> None:
        """Let every viewer go, end the thread, close the site. Safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it ended by itself
                self._loop.call_soon_threadsafe(self._end)
            thread.join()
        self._site.close()

    def _end(self) -> None:
        self._site.end()
        self._server.should_exit = True

    def _run(self, listening: socket.socket) -> None:
        log = logging.getLogger("uvicorn.error")
        log.addFilter(_meant)
        try:
            asyncio.run(self._serve(listening))
        except BaseException as error:  # noqa: BLE001  (handed to the thread that waits)
            self._error = error
        finally:
            log.removeFilter(_meant)
            listening.close()
            self._started.set()

    async def _serve(self, listening: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        serving = asyncio.ensure_future(self._server.serve(sockets=[listening]))
        while not (self._server.started or serving.done()):
            await asyncio.sleep(0.005)
        self._started.set()
        await serving


def _behind(proxies: tuple[str, ...], app: App) -> App:
    """`app`, told whom these proxies act for. Others could choose for whom they are taken."""
    if not proxies:
        return app
    middleware: Any = require("uvicorn.middleware.proxy_headers", extra="serve", purpose="Proxies")
    behind: App = middleware.ProxyHeadersMiddleware(app, trusted_hosts=list(proxies))
    return behind


def _watched(connections: Connections) -> type[asyncio.Protocol]:
    """Uvicorn's protocol, which begins with telling `connections` about each one."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Watched(H11Protocol):
        # asyncio's own signature has the base of all transports; TCP gives this one.
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            connections.wait(transport)

    return Watched


def _meant(record: logging.LogRecord) -> bool:
    """Uvicorn takes a WebSocket that was refused, with an answer, for a mistake."""
    return "without completing handshake" not in str(record.msg)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"Port {port} of {host} is in use by another program.",
                hint="Give another one with --port, or --port 0 for a free one.",
            ) from None
        raise InputError(
            f"Cannot listen on port {port} of '{host}': {error.strerror or error}.",
            hint="--host takes an address of this machine, or 0.0.0.0 for all of them.",
        ) from None
    return listening
