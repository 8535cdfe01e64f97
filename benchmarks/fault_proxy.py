"""A TCP proxy on the loopback that does to an RTSP stream what networks and cameras do."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from types import TracebackType

__all__ = ["FaultProxy"]

_RTP_HEADER = 12


class FaultProxy:
    """Passes RTSP with interleaved RTP on to 127.0.0.1:`target`, from a port of its own.

    Attributes:
        port: Where it listens; the same after `restart`.
        target: The port of the server; may be set anew.
        stalled: While True, nothing of the server reaches the client; connections stay open.
        bytes_per_s: The most that passes to the client; None is no limit.
        damaged: How many RTP packets were flipped or dropped.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.stalled = False
        self.bytes_per_s: float | None = None
        self.damaged = 0
        self._flips = self._drops = 0
        self._dice = random.Random(0)
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listen(0)

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def flip(self, packets: int) -> None:
        """Change bytes behind the headers of the next RTP packets."""
        self._flips = packets

    def drop(self, packets: int) -> None:
        """Leave out the next RTP packets, as a camera does whose send buffer is full."""
        self._drops = packets

    def kill(self) -> None:
        """Close every connection by RST and refuse new ones; waits for its threads."""
        self._alive = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        for connection in list(self._connections):
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.shutdown(socket.SHUT_RD)  # wakes recv(); close() then resets
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def restart(self) -> None:
        """After `kill`: listen again on the same port."""
        self._listen(self.port)

    def _listen(self, port: int) -> None:
        self._alive = True
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._spawn(self._accept, self._listener)

    def _spawn(self, work: object, *arguments: socket.socket) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=2)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self._connections |= {client, server}
            self._spawn(self._up, client, server)
            self._spawn(self._down, server, client)

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        """Requests, as they are."""
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        self._part(client, server)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        """Answers and pictures, with the faults."""
        with contextlib.suppress(OSError):
            for piece in _pieces(server):
                while self.stalled and self._alive:
                    time.sleep(0.01)
                client.sendall(self._with_faults(piece))
                if self.bytes_per_s is not None:
                    time.sleep(len(piece) / self.bytes_per_s)
        self._part(server, client)

    def _part(self, ended: socket.socket, other: socket.socket) -> None:
        """The thread that reads a socket closes it; the other side is told to end."""
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR if self._alive else socket.SHUT_RD)
        self._connections.discard(ended)
        ended.close()

    def _with_faults(self, piece: bytes) -> bytes:
        if piece[:1] != b"$" or piece[1] % 2:  # not RTP: text, or RTCP
            return piece
        if self._drops > 0:
            self._drops -= 1
            self.damaged += 1
            return b""
        first = 4 + _RTP_HEADER + 2  # behind the header of the NAL unit or of its part
        if self._flips == 0 or len(piece) <= first:
            return piece
        self._flips -= 1
        self.damaged += 1
        flipped = bytearray(piece)
        for _ in range(max(1, len(piece) // 50)):
            flipped[self._dice.randrange(first, len(piece))] ^= self._dice.randrange(1, 256)
        return bytes(flipped)


def _pieces(server: socket.socket) -> Iterator[bytes]:
    """Whole interleaved packets, and whatever is text as it comes."""
    kept = b""
    while data := server.recv(65536):
        kept += data
        while kept:
            if kept[:1] == b"$":
                length = 4 + int.from_bytes(kept[2:4], "big")
                if len(kept) < max(4, length):
                    break
            else:
                # An answer; a description may hold a "$", but never begins a line with one.
                head, end, _ = kept.partition(b"\r\n\r\n")
                if not end:
                    break
                length = len(head) + len(end) + _content_length(head)
                if len(kept) < length:
                    break
            yield kept[:length]
            kept = kept[length:]


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0
