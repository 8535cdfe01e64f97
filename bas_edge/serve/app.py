"""Routes: the only file that knows the web framework."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from bas_edge._require import require
from bas_edge.errors import BasEdgeError, InputError
from bas_edge.serve.access import PROTOCOL
from bas_edge.serve.guard import Guard, Receive, Scope, Send
from bas_edge.serve.metrics import Metrics
from bas_edge.serve.mjpeg import send_head, send_mjpeg
from bas_edge.serve.openapi import openapi
from bas_edge.serve.operations import OPERATIONS, Asked, NotThereError, Operation
from bas_edge.serve.page_files import PAGE_FILES, page_file
from bas_edge.serve.page_socket import converse
from bas_edge.serve.picture import Look, nearest_look
from bas_edge.serve.schema import Problem
from bas_edge.serve.site import Site

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

__all__ = ["build_app"]

_FULL = Problem("As many viewers as this server allows look already.", "Try again later.")
_RETRY_S = "5"


class _TooLargeError(Exception):
    pass


def build_app(site: Site) -> Guard:
    """The ASGI application.

    Raises:
        MissingExtraError: The `[serve]` extra is not installed.
    """
    web: Any = require("starlette.applications", extra="serve", purpose="The server")
    routing: Any = require("starlette.routing", extra="serve", purpose="The server")
    routes = [
        *(routing.Route(path, _page(path), methods=["GET"]) for path in PAGE_FILES),
        # A stream's name may hold a slash; what follows it is then tried first.
        *(
            routing.Route(
                each.path.replace("{name}", "{name:path}"),
                _operation(site, each),
                methods=[each.method],
            )
            for each in sorted(OPERATIONS, key=lambda each: each.path.endswith("}"))
        ),
        routing.Route("/api/openapi.json", _document(), methods=["GET"]),
        routing.Route("/healthz", _health(site), methods=["GET"]),
        routing.Route("/streams/{name:path}.mjpeg", _Mjpeg(site), methods=["GET"]),
        routing.WebSocketRoute("/api/live", _live(site)),
    ]
    app = web.Starlette(routes=routes, exception_handlers={404: _refusal, 405: _refusal})
    guard = Guard(app, site.access, site.options)
    metrics = Metrics(
        site.board.numbers,
        site.controls.tuning,
        lambda: site.pictures.encoded,
        lambda: guard.refused,
    )
    app.router.routes.append(routing.Route("/metrics", _metrics(site, metrics), methods=["GET"]))
    return guard


Endpoint = Callable[["Request"], Awaitable["Response"]]


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    from starlette.responses import Response

    body = msgspec.json.encode(value)
    return Response(body, status, headers, media_type="application/json")


async def _refusal(request: Request, error: Exception) -> Response:
    """Of what no route takes; `error` is Starlette's HTTPException."""
    path, status = request.url.path, getattr(error, "status_code", 404)
    if status == 405:
        allowed = getattr(error, "headers", None) or {}
        problem = Problem(f"{path} does not take {request.method}.")
        return _json(problem, status, dict(allowed))
    return _json(Problem(f"There is no {path}.", "GET /api/openapi.json lists what there is."), 404)


def _page(path: str) -> Endpoint:
    async def answer(_: Request) -> Response:
        from starlette.responses import Response

        content, kind = page_file(path)
        return Response(content, headers={"content-type": kind, "cache-control": "no-cache"})

    return answer


def _operation(site: Site, operation: Operation) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            content = await _body(request, site.options.max_body_bytes)
            kind = operation.body
            body = None if kind is None else msgspec.json.decode(content, type=kind)
        except _TooLargeError:
            return _json(Problem("The body is too large."), 413)
        except msgspec.ValidationError as error:
            return _json(Problem(f"The body does not fit: {error}."), 422)
        except msgspec.DecodeError as error:
            return _json(Problem(f"The body is no JSON: {error}."), 400)
        asked = Asked(request.path_params.get("name", ""), body, request.query_params)
        loop = asyncio.get_running_loop()
        try:
            value = await loop.run_in_executor(site.workers, operation.call, site, asked)
        except NotThereError as error:
            return _json(Problem(str(error), error.hint), 404)
        except InputError as error:
            return _json(Problem(str(error), error.hint), 422)
        except BasEdgeError as error:
            return _json(Problem(str(error), error.hint), 500)
        return _json(value)

    return answer


async def _body(request: Request, most: int) -> bytes:
    """The whole body; one that does not say its length is stopped at the limit too."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > most:
            raise _TooLargeError
    return bytes(content)


def _document() -> Endpoint:
    document = openapi()

    async def answer(_: Request) -> Response:
        return _json(document)

    return answer


def _health(site: Site) -> Endpoint:
    async def answer(_: Request) -> Response:
        health = site.board.health()
        return _json(health, 200 if health.status == "ok" else 503)

    return answer


def _metrics(site: Site, metrics: Metrics) -> Endpoint:
    async def answer(_: Request) -> Response:
        from starlette.responses import Response

        loop = asyncio.get_running_loop()
        content, kind = await loop.run_in_executor(site.workers, metrics.text)
        return Response(content, headers={"content-type": kind})

    return answer


class _Mjpeg:
    """Plain ASGI, because it must notice that its viewer is gone and let go of it."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.requests import Request

        site, query = self._site, Request(scope).query_params
        name = scope["path_params"]["name"]
        look = _look(query.get("width", "640"), query.get("overlay"))
        if look is None:
            problem = Problem("width must be a number of pixels, and overlay one of 0 to 1.")
            await _json(problem, 422)(scope, receive, send)
            return
        if site.board.stream(name) is None:
            await _json(Problem(f"There is no stream '{name}'."), 404)(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # nobody looks
            await send_head(send)
            return
        viewer = site.enter()
        if viewer is None:
            await _json(_FULL, 503, {"retry-after": _RETRY_S})(scope, receive, send)
            return
        await send_mjpeg(site, viewer, name, look, receive, send)


def _look(width: str, overlay: str | None) -> Look | None:
    try:
        wide, share = float(width), None if overlay is None else float(overlay)
    except ValueError:
        return None
    fits = 1 <= wide <= 10_000 and (share is None or 0 <= share <= 1)  # NaN does not
    return nearest_look(wide, share) if fits else None


def _live(site: Site) -> Callable[[WebSocket], Awaitable[None]]:
    async def talk(socket: WebSocket) -> None:
        viewer = site.enter()
        if viewer is None:
            await socket.send_denial_response(_json(_FULL, 503, {"retry-after": _RETRY_S}))
            return
        try:
            offered = socket.scope.get("subprotocols", ())
            await socket.accept(PROTOCOL if PROTOCOL in offered else None)
            code = await converse(site, viewer, socket)
            if code is not None:
                await socket.close(code)
        except (OSError, RuntimeError):  # the other side is gone in the middle of a message
            pass
        finally:
            site.leave(viewer)

    return talk
