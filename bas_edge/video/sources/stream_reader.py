"""The thread that reads one source: connects, decodes, and connects again."""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

from bas_edge.errors import (
    BasEdgeError,
    StreamAuthenticationError,
    StreamCodecError,
    StreamConnectionError,
    StreamError,
    StreamNotFoundError,
    StreamTimeoutError,
)
from bas_edge.video.frames import StreamEvent, StreamState
from bas_edge.video.sources.addresses import redacted
from bas_edge.video.sources.capture import Capture, Damaged, Picture
from bas_edge.video.sources.frame_queue import FrameQueue
from bas_edge.video.sources.pacing import Pacing, StreamOptions
from bas_edge.video.sources.reconnect import Reconnect

__all__ = ["StreamReader", "Waiting"]

_HOPELESS = (StreamAuthenticationError, StreamNotFoundError, StreamCodecError)


class Waiting(NamedTuple):
    """A picture in the queue; it is gone once it was taken."""

    number: int
    connection: int
    time_s: float
    captured_at: float
    arrived: float  # monotonic
    picture: Picture | None


class StreamReader:
    """Reads on a thread of its own, and keeps the count. Its numbers may be read at any time.

    Args:
        name: The stream's name.
        uri: Its address without credentials.
        connect: Opens one connection.
        queue: Where pictures go.
        announce: Called at each change of state, on the thread that notices it.
        live: Whether the end of a connection is a failure, after which it is tried again.
        options: Stalls, silence, loops, and what `Pacing` makes of the rest.
        reconnect: When to try again.
    """

    def __init__(
        self,
        name: str,
        uri: str,
        connect: Callable[[], Capture],
        queue: FrameQueue[Waiting],
        announce: Callable[[StreamEvent], None],
        *,
        live: bool,
        options: StreamOptions,
        reconnect: Reconnect,
    ) -> None:
        self.state: StreamState = "connecting"
        self.reason = ""
        self.error: BaseException | None = None
        self.details = ""
        self.damage: str | None = None
        self.fps: float | None = None
        self.frame_count: int | None = None
        self.decoded = self.damaged = self.left_out = self.connections = self.failures = 0
        self.last_frame_at: float | None = None
        self.pacing = Pacing(options, live=live)
        self._name = name
        self._uri = uri
        self._connect = connect
        self._queue = queue
        self._announce = announce
        self._live = live
        self._options = options
        self._reconnect = reconnect
        self._ends = False  # it has an end of its own: begun again, it would come twice
        self._stop = threading.Event()
        self._stopped = math.inf  # monotonic time when it was first told to end
        self._lock = threading.Lock()
        self._heard = time.monotonic()  # when the last whole picture was done with
        self._handing = False  # a picture is on its way: what takes long now is not the source
        self._fault: StreamError | None = None  # that others found with this connection
        self._untold: deque[StreamEvent] = deque()
        self._telling = False
        self._thread = threading.Thread(
            target=self._work, name=f"bas-edge-read-{name}", daemon=True
        )

    def start(self) -> None:
        """Begin to read; once."""
        self._thread.start()

    def stop(self, wait_s: float) -> None:
        """End; safe to call twice, before `start`, and from its own listeners.

        Args:
            wait_s: How long the thread may take, in seconds since this was first called.
        """
        now = time.monotonic()
        self._stopped = min(self._stopped, now)
        self._leave()
        if self._thread.ident is None and self.state != "ended":
            with self._lock:
                self._change("ended", "closed")
            self._tell_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, self._stopped + wait_s - now))

    def fail(self, error: BaseException) -> None:
        """End with this error, also where it has ended by itself. It waits for nothing."""
        self.error = self.error or error
        self._leave()

    def lose(self, error: StreamError) -> None:
        """Give up this connection with an error, at its next picture, and connect again."""
        self._fault = error

    def notice_stall(self) -> None:
        """Become "stalled" if nothing came for too long."""
        if self.pacing.paused or not self._live:
            return
        with self._lock:
            silent_s = time.monotonic() - self._heard
            if self.state != "running" or self._handing or silent_s <= self._options.stall_s:
                return
            self._change("stalled", f"no frame for {silent_s:.1f} s")
        self._tell_all()

    def _leave(self) -> None:
        """Let the thread come to its end."""
        self._stop.set()
        self.pacing.resume()
        self._queue.close()

    def _work(self) -> None:
        draw = random.Random()
        try:
            self._become("connecting", "")
            while not self._stop.is_set():
                try:
                    if self._read_once():
                        break
                    continue
                except StreamError as error:
                    lost = _alone(error)
                if self._stop.is_set():
                    break
                self.failures += 1
                if not self._worth_another(lost):
                    self.error = self.error or lost
                    break
                wait_s = self._reconnect.wait_s(self.failures, draw)
                state: StreamState = "reconnecting" if self.connections else "connecting"
                self._become(state, f"{lost} Next attempt in {wait_s:.1f} s.", lost)
                self._stop.wait(wait_s)
        except BaseException as error:  # noqa: BLE001  (raised again by whoever iterates)
            self.error = self.error or error
        finally:
            self._finish()

    def _read_once(self) -> bool:
        """One connection from its beginning; True if there is nothing more to read."""
        with closing(self._connect()) as capture:
            self.connections += 1
            self._fault = None  # it was of the connection before
            self.details, self.fps = capture.details, capture.fps
            self.frame_count = getattr(capture, "frame_count", None)
            self._ends = getattr(capture, "ends", False)
            before = self.decoded - self.damaged
            self.pacing.connected()
            try:
                self._read_pictures(capture)
            finally:
                self.damage = capture.damage
        if self._stop.is_set() or self._ends:
            return True
        if self._live:
            raise StreamConnectionError(f"{self._uri} was closed from the other side.")
        # What has not one whole picture would begin again for ever.
        return not self._options.loop or self.decoded - self.damaged == before

    def _read_pictures(self, capture: Capture) -> None:
        self._heard = began = time.monotonic()
        for picture in capture:
            if self._stop.is_set():
                return
            if self._fault is not None:
                raise self._fault
            if picture is not None:
                self._accept(picture)
            now = time.monotonic()
            if self._heard - began > self._reconnect.calm_s:
                self.failures = 0
            if self._live and now - self._heard > self._options.silence_s:
                raise StreamTimeoutError(
                    f"{self._uri} sends data, but nothing that decodes for "
                    f"{self._options.silence_s:g} s.",
                    hint="Check the camera, and the network for lost packets.",
                )

    def _accept(self, picture: Picture | Damaged) -> None:
        index, self.decoded = self.decoded, self.decoded + 1
        if isinstance(picture, Damaged):
            self.damaged += 1
            return
        arrived = time.monotonic()
        self.last_frame_at = picture.captured_at
        with self._lock:
            self._handing = True
            if self.state != "running":
                self._change("running", self.details)
        self._tell()
        placed = self.pacing.place(index, picture, self.fps, self._stop)
        if placed is None:
            self.left_out += 1
        else:
            time_s, captured_at = placed
            self._queue.put(Waiting(index, self.connections, time_s, captured_at, arrived, picture))
        with self._lock:
            self._heard, self._handing = time.monotonic(), False

    def _worth_another(self, error: StreamError) -> bool:
        limit = self._reconnect.attempts
        if not self._live or self._ends or (limit is not None and self.failures > limit):
            return False
        hopeless = self.connections == 0 and isinstance(error, _HOPELESS)
        return self._reconnect.always or not hopeless

    def _finish(self) -> None:
        error = self.error
        if error is not None:
            reason = redacted(str(error))  # it may be that of a program
        elif self._stop.is_set():
            reason = "closed"
        else:
            reason = self.damage or "the source has come to its end"
        with self._lock:
            self._change("ended", reason, error if isinstance(error, BasEdgeError) else None)
        try:
            self._tell_all()
        finally:
            self._queue.close()

    def _become(self, state: StreamState, reason: str, error: BasEdgeError | None = None) -> None:
        with self._lock:
            self._change(state, reason, error)
        self._tell()

    def _change(self, state: StreamState, reason: str, error: BasEdgeError | None = None) -> None:
        """Under the lock; whoever calls it then calls `_tell` without it."""
        self.state, self.reason = state, reason
        self._untold.append(StreamEvent(self._name, state, time.time(), reason, error))

    def _tell_all(self) -> None:
        """As `_tell`; what a listener raises ends this stream alone, and keeps nothing back."""
        while True:
            try:
                return self._tell()
            except Exception as error:  # noqa: BLE001, PERF203  (raised by whoever iterates)
                self.fail(error)

    def _tell(self) -> None:
        """Announce what happened, in its order: one thread at a time, for all."""
        with self._lock:
            if self._telling:
                return  # that thread tells this too
            self._telling = True
        try:
            while True:
                with self._lock:
                    if not self._untold:
                        self._telling = False
                        return
                    event = self._untold.popleft()
                self._announce(event)
        except BaseException:
            with self._lock:
                self._telling = False
            raise


def _alone(error: StreamError) -> StreamError:
    """Without what FFmpeg said, which holds the address, and what keeps connection and picture."""
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)
