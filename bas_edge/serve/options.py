"""Where the server listens, whom it lets in, and how much it does for them."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass

from bas_edge.errors import InputError

__all__ = ["SHORTEST_TOKEN", "ServeOptions", "is_loopback", "new_token"]

SHORTEST_TOKEN = 16  # characters; one that was made here has 43


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Options of the server.

    Attributes:
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
        token: What a client must show. None lets everybody in, and only on a loopback address.
        max_clients: Viewers at once: pages and MJPEG streams together.
        max_view_fps: Most pictures a second of one stream to one viewer.
        allowed_hosts: Names under which the server may be asked for, beyond the loopback's and,
            where it listens beyond that, its own IP addresses.
        open_metrics: `/metrics` needs no token.
        trusted_proxies: Addresses and networks of reverse proxies. For a request from one of them,
            X-Forwarded-For says who is counted.
        max_body_bytes: Most bytes of a request's body, and of a message from a page.
        reads_per_s: Requests a second that one address may make, with bursts of twice that.
        changes_per_s: The same for requests that change something.
        wrong_tokens_per_minute: After so many, an address is refused until some time has passed.

    Raises:
        InputError: A value is out of range, or the combination would be open to everybody.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None
    max_clients: int = 8
    max_view_fps: float = 15.0
    allowed_hosts: tuple[str, ...] = ()
    open_metrics: bool = False
    trusted_proxies: tuple[str, ...] = ()
    max_body_bytes: int = 16 << 10
    reads_per_s: float = 50.0
    changes_per_s: float = 10.0
    wrong_tokens_per_minute: float = 20.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InputError(f"The port is {self.port}, but must be 0 to 65535.")
        if not 1 <= self.max_clients <= 1000:
            raise InputError(f"max_clients is {self.max_clients}, but must be 1 to 1000.")
        if not 0 < self.max_view_fps <= 120:
            raise InputError(
                f"max_view_fps is {self.max_view_fps}, but must be over 0 and at most 120."
            )
        if self.token is None and not is_loopback(self.host):
            raise InputError(
                f"Without a token the server may listen on a loopback address only, not on "
                f"'{self.host}'.",
                hint="Leave out --no-token, or leave out --host.",
            )
        if self.token is not None:
            _check_token(self.token)
        for proxy in self.trusted_proxies:
            _check_proxy(proxy)


def new_token() -> str:
    """A token that nobody guesses: 256 random bits."""
    return secrets.token_urlsafe(32)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_token(token: str) -> None:
    hint = "python -c 'import secrets; print(secrets.token_urlsafe())' makes one."
    if len(token) < SHORTEST_TOKEN:
        raise InputError(
            f"The token has {len(token)} characters, but needs {SHORTEST_TOKEN} or more.",
            hint=hint,
        )
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise InputError(
            "The token has a space or a character that is not ASCII, which no Authorization header "
            "can hold.",
            hint=hint,
        )


def _check_proxy(proxy: str) -> None:
    try:
        ipaddress.ip_network(proxy)
    except ValueError:
        raise InputError(
            f"trusted_proxies has '{proxy}', which is no address and no network.",
            hint='Write what the server sees the proxy come from: "127.0.0.1", or "10.0.0.0/24".',
        ) from None
