"""Connections that are held open and not used, by whoever can reach the port."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import pytest
from served import LONG_S, TOKEN, Served

from bas_edge.serve import server

Serve = Callable[..., AbstractContextManager[Served]]
ASK = b"GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connected(stack: ExitStack, running: Served, said: bytes = b"") -> socket.socket:
    address = ("127.0.0.1", running.port)
    made = stack.enter_context(socket.create_connection(address, timeout=LONG_S))
    made.sendall(said)
    return made


def closed(connection: socket.socket) -> bool:
    """Whether the server hangs up, which is waited for, before it says anything more."""
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


def test_silent_connections_take_the_place_of_each_other_alone(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_MOST_WAITING", 20)
    with serve() as running, running.page() as page, ExitStack() as stack:
        silent = [connected(stack, running) for _ in range(100)]
        assert running.ask("GET", "/healthz", token=None).status == 200
        assert all(map(closed, silent[:80])), "those that were silent longest"
        silent[-1].sendall(ASK)
        assert silent[-1].recv(12) == b"HTTP/1.1 200"
        page.watch()
        page.picture()


@pytest.mark.parametrize("said", [b"", ASK[:-9], b"POST /api/tuning HTTP/1.1\r\n"])
def test_who_does_not_ask_is_hung_up_on(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(server, "_PATIENCE_S", 0.1)
    with serve() as running, ExitStack() as stack:
        assert closed(connected(stack, running, said))


def read_answer(connection: socket.socket) -> None:
    answer = b""
    while not answer.endswith(b"</svg>\n"):
        part = connection.recv(1 << 16)
        assert part, "the server hung up"
        answer += part


def test_who_has_asked_must_ask_again(serve: Serve) -> None:
    with serve() as running, ExitStack() as stack:
        connection = connected(stack, running, ASK)
        read_answer(connection)
        running.server._connections._patience_s = 0.1
        connection.sendall(ASK)
        read_answer(connection)
        connection.sendall(ASK[:-9])  # so that it is not idle, as HTTP has it
        assert closed(connection)


def test_viewers_may_look_for_as_long_as_they_like(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_PATIENCE_S", 1.0)
    monkeypatch.setattr(server, "_MOST_WAITING", 1)
    told = {"Authorization": f"Bearer {TOKEN}"}
    with serve(max_view_fps=4) as running, running.page() as page:
        page.watch()
        with running.request("GET", "/streams/door.mjpeg", token=None, headers=told) as video:
            for _ in range(7):  # which takes longer than that
                page.picture()
                assert video.read(1000)
