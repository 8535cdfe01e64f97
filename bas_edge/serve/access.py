"""Who may come in: token, name of the server, origin of the page."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

from bas_edge.serve.buckets import Buckets
from bas_edge.serve.options import ServeOptions, is_loopback

__all__ = ["PROTOCOL", "Access", "Verdict"]

PROTOCOL = "bas-edge.v1"  # of the page's WebSocket
_TOKEN_PROTOCOL = "bas-edge.token."
Verdict = Literal["welcome", "missing", "wrong", "too many"]
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Access:
    """Decides on each request. On the event loop alone.

    Args:
        options: Token, host and limits.
    """

    def __init__(self, options: ServeOptions) -> None:
        self._token = None if options.token is None else _digest(options.token)
        self._beyond_loopback = not is_loopback(options.host)
        names = ("localhost", options.host, *options.allowed_hosts)
        self._names = {name.strip("[]").lower() for name in names}
        a_minute = options.wrong_tokens_per_minute
        self._failures = Buckets(a_minute / 60, a_minute)

    def token(
        self, address: str, authorization: str, protocols: Sequence[str], *, basic: bool
    ) -> Verdict:
        """Whether a request shows the token.

        Args:
            address: Whose attempts are counted.
            authorization: The header of this name, or "".
            protocols: What Sec-WebSocket-Protocol offers.
            basic: The token may come as the password of HTTP's basic scheme.
        """
        if self._token is None:
            return "welcome"
        failures = self._failures.of(address)
        if failures.wait_s() > 0:
            return "too many"
        shown = _shown(authorization, protocols, basic)
        if shown is None:
            return "missing"
        if hmac.compare_digest(_digest(shown), self._token):
            return "welcome"
        failures.take()
        return "wrong"

    def wait_s(self, address: str) -> int:
        """Seconds until `address` may try again."""
        return self._failures.of(address).wait_s()

    def host(self, host: str) -> bool:
        """Whether the server goes by this name. A page elsewhere cannot make a name point here.

        Args:
            host: The header of this name.
        """
        name = _host_of(f"//{host}")
        if name is None:
            return False
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self._beyond_loopback

    def origin(self, origin: str, host: str) -> bool:
        """Whether a page of `origin` is a page of this server; programs send no origin.

        Args:
            origin: The header of this name, or "".
            host: Likewise.
        """
        if not origin:
            return True
        scheme, _, rest = origin.lower().partition("://")
        port = _DEFAULT_PORTS.get(scheme)
        return port is not None and rest.removesuffix(port) == host.lower().removesuffix(port)


def _shown(authorization: str, protocols: Sequence[str], basic: bool) -> str | None:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic" and basic:
        return (_decoded(value) or "").partition(":")[2]
    for protocol in protocols:
        if protocol.startswith(_TOKEN_PROTOCOL):
            return _decoded(protocol.removeprefix(_TOKEN_PROTOCOL)) or ""
    return None


def _decoded(text: str) -> str | None:
    """Base64 of either alphabet, with or without padding."""
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _digest(token: str) -> bytes:
    """Of one length, so that comparing says nothing about the token's."""
    return hashlib.sha256(token.encode()).digest()


def _host_of(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    plain = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    return parts.hostname if plain else None
