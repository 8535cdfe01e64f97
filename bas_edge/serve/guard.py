"""What every request passes before anything else sees it. Plain ASGI."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from bas_edge.serve.access import Access
from bas_edge.serve.buckets import Buckets
from bas_edge.serve.options import ServeOptions
from bas_edge.serve.page_files import PAGE_FILES
from bas_edge.serve.schema import Problem

__all__ = ["OPEN_PATHS", "Guard"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# The page itself holds no secrets, and health is asked for by what starts the server.
_HEALTH = "/healthz"
OPEN_PATHS = frozenset({*PAGE_FILES, _HEALTH})
_READS = ("GET", "HEAD")
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Refuses what must not come in, and puts the same headers on every answer.

    Args:
        app: What it guards.
        access: Who may come in.
        options: Limits.

    Attributes:
        refused: How many requests were refused, by the reason in a word.
    """

    def __init__(self, app: App, access: Access, options: ServeOptions) -> None:
        self.refused: Counter[str] = Counter()
        self._app, self._access, self._options = app, access, options
        self._reads = Buckets(options.reads_per_s, 2 * options.reads_per_s)
        self._changes = Buckets(options.changes_per_s, 2 * options.changes_per_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        if scope["type"] not in ("http", "websocket"):
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                given = list(message.get("headers", ()))
                names = {name for name, _ in given}
                ours = ((name.encode(), value.encode()) for name, value in _HEADERS.items())
                message["headers"] = given + [each for each in ours if each[0] not in names]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send_guarded)
            return
        reason, status, problem, headers = refusal
        self.refused[reason] += 1
        await _refuse(scope, send_guarded, status, problem, headers)

    def _refusal(self, scope: Scope) -> tuple[str, int, Problem, dict[str, str]] | None:
        """Why a request is refused: a word, the status, a sentence, and headers."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        host, origin = headers.get("host", ""), headers.get("origin", "")
        changes = scope["type"] == "websocket" or scope["method"] not in _READS
        if not self._access.host(host):
            return "host", 400, _WRONG_HOST, {}
        if changes and not self._access.origin(origin, host):
            return "origin", 403, _WRONG_ORIGIN, {}
        if scope["path"] == _HEALTH and not changes:
            return None  # has no limit: a device is not restarted because others ask too much
        address = scope["client"][0] if scope.get("client") else ""
        bucket = (self._changes if changes else self._reads).of(address)
        if not bucket.take():
            return "rate", 429, _TOO_FAST, {"retry-after": str(bucket.wait_s())}
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._options.max_body_bytes:
            return "body", 413, _too_large(self._options.max_body_bytes), {}
        if scope["path"] in OPEN_PATHS and not changes:
            return None
        if scope["path"] == "/metrics" and self._options.open_metrics:
            return None
        return self._without_token(scope, headers, address)

    def _without_token(
        self, scope: Scope, headers: dict[str, str], address: str
    ) -> tuple[str, int, Problem, dict[str, str]] | None:
        simple = scope["type"] == "http" and scope["method"] in _READS
        basic = simple and scope["path"].startswith(("/streams/", "/metrics"))
        verdict = self._access.token(
            address, headers.get("authorization", ""), scope.get("subprotocols", ()), basic=basic
        )
        if verdict == "welcome":
            return None
        if verdict == "too many":
            wait_s = self._access.wait_s(address)
            return "lockout", 429, _TOO_MANY_TOKENS, {"retry-after": str(wait_s)}
        challenge = 'Basic realm="bas-edge", charset="UTF-8"' if basic else "Bearer"
        return "token", 401, _NO_TOKEN, {"www-authenticate": challenge}


async def _refuse(
    scope: Scope, send: Send, status: int, problem: Problem, headers: dict[str, str]
) -> None:
    prefix = "websocket.http" if scope["type"] == "websocket" else "http"
    told = {"content-type": "application/json", **headers}
    await send(
        {
            "type": f"{prefix}.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in told.items()],
        }
    )
    await send({"type": f"{prefix}.response.body", "body": msgspec.json.encode(problem)})


def _too_large(most: int) -> Problem:
    return Problem(f"The body is larger than {most} bytes, or does not say how large it is.")


_NO_TOKEN = Problem(
    "This needs the token, which is missing or wrong.",
    "Open the address that the server printed when it started, or send Authorization: Bearer.",
)
_TOO_MANY_TOKENS = Problem("There were too many wrong tokens from this address.", "Wait a little.")
_TOO_FAST = Problem("There were too many requests from this address.", "Wait a little.")
_WRONG_HOST = Problem(
    "The server does not go by the name in this address.",
    "Use its IP address, or add the name to allowed_hosts in the configuration.",
)
_WRONG_ORIGIN = Problem(
    "The page that asks for this is not a page of this server.",
    "A reverse proxy must pass the header Host on unchanged.",
)
