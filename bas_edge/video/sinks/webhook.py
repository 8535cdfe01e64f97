"""Results, states and events posted to a web address as JSON."""

from __future__ import annotations

import base64
import os
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from bas_edge._require import require
from bas_edge.errors import InputError
from bas_edge.video.frames import FrameResult, StreamEvent
from bas_edge.video.sinks.certificates import tls_context
from bas_edge.video.sinks.event_rules import RuleEvent
from bas_edge.video.sinks.json_lines import json_bytes
from bas_edge.video.sinks.outbox import Outbox, Refused, TryAgain
from bas_edge.video.sinks.result_filter import Every, ResultFilter

__all__ = ["Webhook"]

_MOST_ANSWER_BYTES = 1 << 16
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")  # is sent in Latin-1


class Webhook:
    """A sink that POSTs JSON: an object each, or with `batch` over 1 an array of them.

    The objects are those of docs/jsonl.md. Posting happens on a thread of its own: a server that is
    away holds nothing up. It is tried again after 0.5 s, 1 s, 2 s … up to a minute, the messages
    wait, and beyond `queue_size` of them the oldest are dropped and counted. So are those that
    the server refuses (any answer but 2xx, 408, 425, 429 and 5xx), or answers eight times with
    an error. A message may arrive twice, where its answer was lost.

    Args:
        url: http or https; a user and a password in it are sent as basic authentication, instead
            of a token. No error ever shows more of it than the server's name.
        every: "change" posts when something is found, lost, or another class; "result" posts every
            frame; "event" posts no results.
        states: Post changes of the streams' states.
        token_env: The environment variable that holds a bearer token, where it is set.
        headers: More headers.
        timeout_s: For connecting, and again for the answer.
        queue_size: How many messages may wait.
        batch: How many messages one POST may hold.
        batch_s: How long the first message waits for others.
        close_s: How long closing may take to post what waits.
        ca_file: Certificates to trust instead of the system's.

    Raises:
        InputError: An address, a header, a file or a number that cannot be used.
        MissingExtraError: urllib3 is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        every: Every = "change",
        states: bool = True,
        token_env: str = "BAS_EDGE_WEBHOOK_TOKEN",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        queue_size: int = 1000,
        batch: int = 1,
        batch_s: float = 1.0,
        close_s: float = 5.0,
        ca_file: str | None = None,
    ) -> None:
        self._urllib3: Any = require("urllib3", extra="webhook", purpose="Posting to a webhook")
        longest_s = threading.TIMEOUT_MAX
        if not 0 < timeout_s < longest_s or not 0 <= close_s < longest_s:
            raise InputError(
                f"The webhook's timeout_s is {timeout_s:g} and its close_s {close_s:g}, but both "
                "are seconds, and timeout_s is over 0.",
                hint="Leave them out for 10 and 5 seconds.",
            )
        self._filter = ResultFilter(every)
        self._states, self._batch, self._close_s = states, batch, close_s
        self._url, self.server, auth = self._parse(url)
        self._headers = _checked(
            {
                "Content-Type": "application/json",
                "User-Agent": "bas-edge",
                **_authorization(auth, os.environ.get(token_env, "").strip()),
                **(headers or {}),
            }
        )
        self._pool = self._urllib3.PoolManager(
            num_pools=1,
            retries=False,
            timeout=self._urllib3.Timeout(connect=timeout_s, read=timeout_s),
            ssl_context=None if ca_file is None else tls_context(ca_file),
        )
        self._outbox = Outbox(self._post, capacity=queue_size, batch=batch, batch_s=batch_s)

    @property
    def sent(self) -> int:
        """Messages that the server took."""
        return self._outbox.sent

    @property
    def dropped(self) -> int:
        """Messages that never arrived and are not tried again."""
        return self._outbox.dropped

    @property
    def problem(self) -> str:
        """What went wrong last, in a sentence; "" while messages arrive."""
        return self._outbox.problem

    def write(self, result: FrameResult) -> None:
        """Queue the result, where `every` asks for it."""
        if self._filter.passes(result):
            self._outbox.put(json_bytes(result.to_dict()))

    def event(self, event: StreamEvent) -> None:
        """Queue the change of state."""
        if self._states:
            self._outbox.put(json_bytes(event.to_dict()))

    def notify(self, event: RuleEvent) -> None:
        """Queue the event of a rule: `Clips(…, on_event=webhook.notify)`."""
        self._outbox.put(json_bytes(event.to_dict()))

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 (messages have no end)
        """Post what waits, for at most `close_s`; the rest is dropped and counted."""
        self._outbox.close(self._close_s)
        self._pool.clear()

    def _post(self, messages: list[bytes]) -> None:
        body = messages[0] if self._batch == 1 else b"[" + b",".join(messages) + b"]"
        try:
            answer = self._pool.request(
                "POST",
                self._url,
                body=body,
                headers=self._headers,
                redirect=False,
                preload_content=False,
            )
            try:
                answer.read(_MOST_ANSWER_BYTES)
            finally:
                answer.close() if answer.length_remaining else answer.release_conn()
        except (self._urllib3.exceptions.HTTPError, OSError) as error:
            # Its text may hold the path, and in it a secret.
            raise TryAgain(f"{self.server} cannot be reached ({type(error).__name__}).") from None
        status = answer.status
        if status in (408, 425, 429) or status >= 500:
            raise TryAgain(f"{self.server} answers {status}.", answered=True)
        if not 200 <= status < 300:
            raise Refused(f"{self.server} refuses the message with {status}.")

    def _parse(self, url: str) -> tuple[str, str, str | None]:
        """The address without credentials, what errors may show of it, and "user:password"."""
        try:
            parsed = self._urllib3.util.parse_url(url)
        except self._urllib3.exceptions.LocationParseError:
            parsed = None
        if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host:
            raise InputError(
                "The address of the webhook is no http or https address (it is not shown here, "
                "as it may hold a secret).",
                hint="Write it as https://example.org/path.",
            )
        server = f"{parsed.scheme}://{parsed.host}" + (f":{parsed.port}" if parsed.port else "")
        return parsed._replace(auth=None).url, server, parsed.auth


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers without white space around their values."""
    stripped = {name: value.strip() for name, value in headers.items()}
    for name, value in stripped.items():
        if not _HEADER_NAME.fullmatch(name):
            raise InputError(
                "The name of a header of the webhook has characters that no name may have (it is "
                "not shown here, as it may hold a secret).",
                hint='Names have letters, digits and -: headers = { X-Device = "door" }.',
            )
        if not _HEADER_VALUE.fullmatch(value):
            raise InputError(
                f"The header {name} of the webhook has a character that cannot be sent (its value "
                "is not shown here, as it may hold a secret).",
                hint="Authorization is made of the token: check its environment variable for line "
                "breaks and other characters than letters, digits and signs.",
            )
    return stripped


def _authorization(credentials: str | None, token: str) -> dict[str, str]:
    if credentials is not None:
        plain = unquote(credentials).encode()
        return {"Authorization": f"Basic {base64.b64encode(plain).decode()}"}
    return {"Authorization": f"Bearer {token}"} if token else {}
