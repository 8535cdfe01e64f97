"""An RTSP camera in this process, which tests can break: RTP over TCP or UDP, H.264.

    with RtspServer(numbered(50), fps=25) as server:
        container = av.open(server.url, options={"rtsp_transport": "tcp"})

It plays its frames in an endless loop in real time, for any number of clients, each from the next
keyframe on. One thread does everything; `kill`, `restart` and `close` return when it is done.
"""

from __future__ import annotations

import queue
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal

import numpy as np
from h264_rtp import CLOCK_HZ, Recording, payloads, record
from numpy.typing import NDArray
from rtsp_client import Client, Credentials

Damage = Literal["flip", "drop"]


class RtspServer:
    """One camera at rtsp://127.0.0.1:PORT/`path`.

    Attributes:
        port: Where it listens; the same after `restart`.
        sent: How many pictures were sent to one client or more.
        damaged: How many RTP packets were flipped or dropped.
        requests: The method of every request, in the order of arrival.
    """

    def __init__(
        self,
        frames: list[NDArray[np.uint8]],
        *,
        fps: int = 100,  # opening takes FFmpeg a number of pictures
        keyframe_every: int = 10,
        user: str | None = None,
        password: str | None = None,
        schemes: tuple[str, ...] = ("digest", "basic"),
        path: str = "live",
    ) -> None:
        self.fps = fps
        self.path = path
        self.sent = 0
        self.damaged = 0
        self.requests: list[str] = []
        self.credentials = (
            None if user is None else Credentials(user, password or "", schemes, realm="camera")
        )
        self.codec = "H264"
        self.recording = record(frames, fps, keyframe_every)
        self._keyframe_every = keyframe_every
        self._next_recording: Recording | None = None
        self._position = 0
        self._stalled = False
        self._to_damage = 0
        self._damage: Damage = "flip"
        self._clients: dict[socket.socket, Client] = {}
        self._selector = selectors.DefaultSelector()
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._bell, self._ringer = socket.socketpair()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._listener: socket.socket | None = None
        # Without listening, it keeps the port from other programs while the camera is dead.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self.port = self._place.getsockname()[1]
        self._listen()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="rtsp-server")
        self._thread.start()

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Without credentials."""
        return f"rtsp://127.0.0.1:{self.port}/{self.path}"

    def url_with(self, user: str, password: str) -> str:
        """With these credentials, right or wrong."""
        return f"rtsp://{user}:{password}@127.0.0.1:{self.port}/{self.path}"

    @property
    def watching(self) -> int:
        """How many clients it sends pictures to."""
        return sum(client.playing for client in list(self._clients.values()))

    def stall(self) -> None:
        """Send no picture any more; requests are answered. The loop stops where it is."""
        self._stalled = True

    def resume(self) -> None:
        """Go on with the picture after the last one sent; its time is now."""
        self._stalled = False

    def kill(self, *, reset: bool = True) -> None:
        """Close every connection, by RST or (`reset=False`) FIN, and refuse new ones."""

        def job() -> None:
            for client in list(self._clients.values()):
                self._leave(client, reset=reset)
            self._deafen()

        self._do(job)

    def restart(self) -> None:
        """After `kill`: listen again on the same port. The loop went on in the meantime."""
        self._do(self._listen)

    def corrupt(self, packets: int = 20, mode: Damage = "flip") -> None:
        """Damage the next RTP packets: bytes of the payload, or the whole packet is left out.

        The header of the NAL unit stays, so every packet is taken for what it was.
        """
        self._damage, self._to_damage = mode, packets

    def change_size(self, frames: list[NDArray[np.uint8]]) -> None:
        """Play these frames, from the end of the current group of pictures on."""
        self._next_recording = record(frames, self.fps, self._keyframe_every)

    def refuse_codec(self) -> None:
        """Describe the stream to new clients as of a codec that nobody has."""
        self.codec = "X-NOBODY"

    def close(self) -> None:
        """Safe to call twice."""
        if self._closing:
            return
        self.kill()
        self._closing = True
        self._ringer.send(b"!")
        self._thread.join()
        self._selector.close()
        for each in (self._bell, self._ringer, self._place):
            each.close()

    def _do(self, job: Callable[[], None]) -> None:
        done = threading.Event()
        failed: list[OSError] = []

        def run() -> None:
            try:
                job()
            except OSError as error:
                failed.append(error)
            done.set()

        self._jobs.put(run)
        self._ringer.send(b"!")
        assert done.wait(60), "the thread of the server has died"
        if failed:
            raise failed[0]

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def _deafen(self) -> None:
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def _loop(self) -> None:
        due = time.monotonic()
        while not self._closing:
            for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
                self._serve(key.fileobj)
            now = time.monotonic()
            if now >= due:
                if not self._stalled:
                    self._play(int(now * CLOCK_HZ))
                due = max(due + 1 / self.fps, now)

    def _serve(self, ready: object) -> None:
        if ready is self._bell:
            self._bell.recv(64)
            while not self._jobs.empty():
                self._jobs.get()()
        elif ready is self._listener:
            self._welcome()
        elif isinstance(ready, socket.socket) and ready in self._clients:
            client = self._clients[ready]
            try:
                alive = client.read(self)
            except OSError:
                alive = False
            if not alive:
                self._leave(client)

    def _welcome(self) -> None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it hung up already
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(1.0)  # a client that reads nothing for so long is sent away
        self._clients[connection] = Client(connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _leave(self, client: Client, *, reset: bool = False) -> None:
        self._selector.unregister(client.connection)
        del self._clients[client.connection]
        if reset:
            linger = struct.pack("ii", 1, 0)
            client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.close()

    def _play(self, timestamp: int) -> None:
        picture = self.recording.pictures[self._position % len(self.recording.pictures)]
        if picture.keyframe and self._next_recording is not None:
            self.recording, self._next_recording = self._next_recording, None
            self._position = 0
            picture = self.recording.pictures[0]
        self._position += 1
        parts = list(payloads(picture))
        reached = False
        for client in list(self._clients.values()):
            if not client.wants(picture):
                continue
            try:
                for number, part in enumerate(parts):
                    last = number == len(parts) - 1
                    client.send(self._maybe_damaged(part), timestamp=timestamp, last=last)
            except OSError:
                self._leave(client)
                continue
            reached = True
        self.sent += reached

    def _maybe_damaged(self, payload: bytes) -> bytes | None:
        if self._to_damage == 0:
            return payload
        self._to_damage -= 1
        self.damaged += 1
        if self._damage == "drop":
            return None
        # Every bit behind the one or two bytes of header, so that a decoder finds out: fewer may
        # make another picture that is as valid, one time in ten.
        return payload[:2] + bytes(byte ^ 0xFF for byte in payload[2:])
