"""An MQTT 3.1.1 broker for tests: it remembers what it was told, and publishes last wills."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

CONNECT, PUBLISH, PINGREQ, DISCONNECT = 1, 3, 12, 14


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass
class Login:
    client_id: str
    username: str | None
    password: str | None
    will: Message | None


@dataclass
class Broker:
    """Listens on 127.0.0.1; a context manager.

    `password`: what a client must send, or None for any. `answers`: whether to answer a PUBLISH of
    QoS 1. `rubbish`: sent after each login, the first of them first, as long as there is one.
    """

    port: int = 0
    password: str | None = None
    answers: bool = True
    rubbish: list[bytes] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    logins: list[Login] = field(default_factory=list)

    def __enter__(self) -> Broker:
        self._changed = threading.Condition()
        self._sockets: set[socket.socket] = set()
        broker = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                broker._serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = True

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self.cut()
        self._server.server_close()
        self._thread.join()

    def cut(self) -> None:
        """Break every connection."""
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def wait(self, condition: Callable[[list[Message]], bool]) -> list[Message]:
        """The messages, once the condition holds."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.messages), 20), self.messages
            return list(self.messages)

    def retained(self) -> dict[str, bytes]:
        return {one.topic: one.payload for one in self.messages if one.retain}

    def _serve(self, connection: socket.socket) -> None:
        self._sockets.add(connection)
        will: Message | None = None
        try:
            with connection.makefile("rb") as stream:
                while True:
                    head = stream.read(1)
                    if not head:
                        break
                    body = stream.read(_length(stream.read))
                    kind = head[0] >> 4
                    if kind == CONNECT:
                        login = _login(body)
                        self.logins.append(login)
                        refused = self.password is not None and login.password != self.password
                        connection.sendall(bytes([0x20, 2, 0, 4 if refused else 0]))
                        if refused:
                            break
                        will = login.will
                        if self.rubbish:
                            connection.sendall(self.rubbish.pop(0))
                    elif kind == PUBLISH:
                        self._take(connection, head[0], body)
                    elif kind == PINGREQ:
                        connection.sendall(bytes([0xD0, 0]))
                    elif kind == DISCONNECT:
                        will = None
                        break
        except OSError:
            pass
        finally:
            self._sockets.discard(connection)
            if will is not None:
                self._add(will)

    def _take(self, connection: socket.socket, head: int, body: bytes) -> None:
        topic, rest = _field(body)
        qos = head >> 1 & 3
        number, payload = (rest[:2], rest[2:]) if qos else (b"", rest)
        self._add(Message(topic.decode(), payload, qos, bool(head & 1)))
        if qos and self.answers:
            connection.sendall(bytes([0x40, 2]) + number)

    def _add(self, message: Message) -> None:
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()


def _length(read: Callable[[int], bytes]) -> int:
    value, shift = 0, 0
    while True:
        (byte,) = read(1)
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value


def _field(data: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(data[:2], "big")
    return data[2 : 2 + size], data[2 + size :]


def _login(body: bytes) -> Login:
    name, rest = _field(body)
    assert (name, rest[0]) == (b"MQTT", 4)
    flags, rest = rest[1], rest[4:]
    client_id, rest = _field(rest)
    will = username = password = None
    if flags & 4:
        topic, rest = _field(rest)
        payload, rest = _field(rest)
        will = Message(topic.decode(), payload, flags >> 3 & 3, bool(flags & 32))
    if flags & 128:
        value, rest = _field(rest)
        username = value.decode()
    if flags & 64:
        value, rest = _field(rest)
        password = value.decode()
    return Login(client_id.decode(), username, password, will)
