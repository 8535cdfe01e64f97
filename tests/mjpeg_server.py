"""An HTTP camera in this process that sends JPEG after JPEG, and servers that break the rules.

with MjpegServer(numbered(50), fps=25) as server:
    container = av.open(server.url)
"""

from __future__ import annotations

import contextlib
import io
import socket
import struct
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class MjpegServer:
    """One camera at http://127.0.0.1:PORT/`path`: `multipart/x-mixed-replace`, in an endless loop.

    Attributes:
        port: Where it listens; the same after `restart`.
        status: What a GET of `path` is answered with; frames follow only where it is 200.
        sent: How many pictures were there to be sent; every client gets the newest one.
    """

    def __init__(
        self,
        frames: list[NDArray[np.uint8]],
        *,
        fps: int = 25,
        user: str | None = None,
        password: str | None = None,
        path: str = "live.mjpg",
    ) -> None:
        self.path = path
        self.status = 200
        self.sent = 0
        self.authorization = (
            None if user is None else "Basic " + b64encode(f"{user}:{password}".encode()).decode()
        )
        self.pictures = [_jpeg(pixels) for pixels in frames]
        self.connections: set[socket.socket] = set()
        self.turn = threading.Condition()  # a new picture, or the end
        self.killed = False
        self._fps = fps
        self._stalled = False
        self._closing = threading.Event()
        self._listen(0)
        self._ticker = threading.Thread(target=self._tick, name="mjpeg-ticker")
        self._ticker.start()

    def __enter__(self) -> MjpegServer:
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
        return f"http://127.0.0.1:{self.port}/{self.path}"

    def url_with(self, user: str, password: str) -> str:
        """With these credentials, right or wrong."""
        return f"http://{user}:{password}@127.0.0.1:{self.port}/{self.path}"

    def stall(self) -> None:
        """Send nothing any more; connections stay open."""
        self._stalled = True

    def resume(self) -> None:
        """Go on with the next picture."""
        self._stalled = False

    def kill(self) -> None:
        """Close every connection by RST, and refuse new ones."""
        if self.killed:
            return
        with self.turn:
            self.killed = True
            for connection in self.connections:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.turn.notify_all()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()  # joins the threads of its connections

    def restart(self) -> None:
        """After `kill`: listen again on the same port. The loop went on in the meantime."""
        self._listen(self.port)

    def close(self) -> None:
        """Safe to call twice."""
        self.kill()
        self._closing.set()
        self._ticker.join()

    def _listen(self, port: int) -> None:
        self.killed = False
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.camera = self
        self.port = self._http.server_address[1]
        # The poll interval is how long shutdown() takes.
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    def _tick(self) -> None:
        while not self._closing.wait(1 / self._fps):
            with self.turn:
                if not self._stalled:
                    self.sent += 1
                    self.turn.notify_all()


class _Http(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close() joins them
    camera: MjpegServer


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    timeout = 5.0

    def setup(self) -> None:
        super().setup()
        self.server.camera.connections.add(self.connection)

    def finish(self) -> None:
        self.server.camera.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass

    def do_GET(self) -> None:
        camera = self.server.camera
        asked = camera.authorization
        if asked is not None and self.headers.get("Authorization") != asked:
            self._refuse(401)
        elif self.path.strip("/") != camera.path:
            self._refuse(404)
        elif camera.status != 200:
            self._refuse(camera.status)
        else:
            with contextlib.suppress(OSError):  # the client, or `kill`, closed the connection
                self._stream(camera)
        self.close_connection = True

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _stream(self, camera: MjpegServer) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        seen = camera.sent
        while True:
            with camera.turn:
                while camera.sent == seen and not camera.killed:
                    camera.turn.wait()
                if camera.killed:
                    return
                seen = camera.sent
                picture = camera.pictures[(seen - 1) % len(camera.pictures)]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            self.wfile.write(head.encode() + picture + b"\r\n")


class RudeServer:
    """Takes any connection and says `answer`, whatever it is asked; b"" is nothing at all.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, answer: bytes = b"") -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, name="rude-server")
        self._thread.start()

    def __enter__(self) -> RudeServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._thread.join()
        for connection in (self._listener, *self._open):
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            with contextlib.suppress(OSError):
                connection.sendall(self._answer)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "JPEG", quality=90)
    return written.getvalue()
