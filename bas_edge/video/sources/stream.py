"""A source of frames with a state: what `open_source` gives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bas_edge.errors import InputError, StreamCodecError
from bas_edge.video.frames import StreamEvent, StreamState, VideoFrame
from bas_edge.video.sources.addresses import redacted
from bas_edge.video.sources.capture import Capture
from bas_edge.video.sources.claimed_frame import HOPELESS, ClaimedFrame, Unusable
from bas_edge.video.sources.frame_queue import FrameQueue, Policy
from bas_edge.video.sources.pacing import StreamOptions
from bas_edge.video.sources.reconnect import Reconnect
from bas_edge.video.sources.stream_reader import StreamReader, Waiting

__all__ = ["Stream", "StreamStats"]

_POLL_S = 0.25
_CLOSE_S = 1.0


@dataclass(frozen=True, slots=True)
class StreamStats:
    """A stream in numbers, since it was started.

    Attributes:
        name: The stream's name.
        uri: Its address without credentials.
        state: What it is now.
        reason: Why it is in this state, without credentials.
        failed: Whether it ended with an error, and so for ever.
        details: What arrives: codec, size, decoder; "" before the first connection.
        fps: Pictures a second that arrived lately.
        decoded: Pictures that arrived, damaged ones among them.
        delivered: Frames that somebody took.
        dropped: Frames that were not delivered: policy, stride, max_fps, pauses, close, no pixels.
        damaged: Pictures left out because they did not decode whole.
        waiting: Frames that wait to be taken.
        connections: How often it was reached; 1 is the first time.
        failures: Attempts in a row that failed.
        last_frame_at: Unix time of the last picture; None before the first.
    """

    name: str
    uri: str
    state: StreamState
    reason: str
    failed: bool
    details: str
    fps: float
    decoded: int
    delivered: int
    dropped: int
    damaged: int
    waiting: int
    connections: int
    failures: int
    last_frame_at: float | None


class Stream:
    """A source of frames. Iterate it, or give it to a `Pipeline`; `open_source` makes one.

    A thread reads it from `start()` (or the first frame asked for) to `close()`, and connects
    again where a live connection is lost. States: connecting → running ⇄ stalled (connected,
    but no frame for `stall_s`) → reconnecting → running … → ended.

    Example:
        with open_source("rtsp://camera/live") as stream:
            for frame in stream:
                print(frame.index, frame.captured_at, frame.dropped)

    Args:
        name: For results and messages.
        uri: Address without credentials.
        connect: Opens one connection.
        live: Whether the end of a connection is a failure, after which it is tried again.
        options: Policy, stride and the like.
        reconnect: When to try again.
    """

    def __init__(
        self,
        name: str,
        uri: str,
        connect: Callable[[], Capture],
        *,
        live: bool,
        options: StreamOptions,
        reconnect: Reconnect,
    ) -> None:
        self.name = name
        self.uri = uri
        self.live = live
        self.options = options
        depth = options.depth or (1 if options.policy == "newest" else 3)
        self._listeners: list[Callable[[StreamEvent], None]] = []
        self._wakers: list[Callable[[], None]] = []
        self._listening = threading.Lock()
        self._ended: StreamEvent | None = None  # for those who listen too late
        self._queue: FrameQueue[Waiting] = FrameQueue(options.policy, depth, self._wake)
        self._reader = StreamReader(
            name,
            uri,
            connect,
            self._queue,
            self._announce,
            live=live,
            options=options,
            reconnect=reconnect,
        )
        self._started = self._closed = False
        self._delivered = 0
        self._last_taken: Waiting | None = None
        self._unusable = Unusable(name)

    @property
    def policy(self) -> Policy:
        """What happens to frames that nobody has taken yet."""
        return self.options.policy

    @property
    def state(self) -> StreamState:
        """What it is now. "stalled" is noticed by `watch`, which iterating calls too."""
        return self._reader.state

    @property
    def error(self) -> BaseException | None:
        """Why it ended; None if it did not, or ended where its source ends."""
        return self._reader.error

    @property
    def fps(self) -> float | None:
        """The rate that the source declares; None before the first connection, or if unknown."""
        return self._reader.fps

    @property
    def frame_count(self) -> int | None:
        """How many frames a file declares; None if unknown."""
        return self._reader.frame_count

    @property
    def damage(self) -> str | None:
        """One sentence on what could not be decoded, at the end; None if all was."""
        return self._reader.damage

    def stats(self) -> StreamStats:
        """State and counts at this moment."""
        reader, waiting = self._reader, len(self._queue)
        unusable = self._unusable.count
        state, error = reader.state, reader.error
        failed = state == "ended" and error is not None
        return StreamStats(
            name=self.name,
            uri=self.uri,
            state=state,
            reason=redacted(str(error)) if failed else reader.reason,
            failed=failed,
            details=reader.details,
            fps=reader.pacing.rate() if state == "running" else 0.0,
            decoded=reader.decoded,
            delivered=self._delivered - unusable,
            dropped=reader.left_out + self._queue.dropped + unusable,
            damaged=reader.damaged,
            waiting=waiting,
            connections=reader.connections,
            failures=reader.failures,
            last_frame_at=reader.last_frame_at,
        )

    def listen(self, listener: Callable[[StreamEvent], None]) -> None:
        """Call `listener` at each change of state, in their order.

        On the thread that reads, or on one that calls `watch` or `close`; at once, where the
        stream has ended already. If it raises, the stream ends with that error.
        """
        with self._listening:
            self._listeners.append(listener)
            ended = self._ended
        if ended is not None:
            listener(ended)

    def wake(self, waker: Callable[[], None]) -> None:
        """Call `waker` whenever a frame came or the state changed, for schedulers."""
        self._wakers.append(waker)

    def start(self) -> None:
        """Begin to read. Safe to call twice.

        Raises:
            InputError: It was closed.
        """
        if self._closed:
            raise InputError(f"The stream '{self.name}' is closed.", hint="Open the source again.")
        if not self._started:
            self._started = True
            self._reader.start()

    def take(self, timeout_s: float | None = 0.0) -> VideoFrame | None:
        """The next frame, for one taker at a time.

        Args:
            timeout_s: How long to wait for one; None waits until the stream ends.

        Returns:
            None if none came in time, or the stream has ended (`finished`).
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (claimed := self.claim(timeout_s)) is not None:
            try:
                frame = claimed.frame()
            except Exception as error:  # noqa: BLE001  (FFmpeg has many; the next may be well)
                self.unusable(claimed, error)
            else:
                return self.usable(claimed, frame)
            timeout_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        return None

    def claim(self, timeout_s: float | None = 0.0) -> ClaimedFrame | None:
        """As `take`, but the frame becomes pixels only when its `frame()` is called.

        Whoever claims frames tells what became of each, in their order: `usable`, `unusable`.
        """
        waiting = self._queue.take(timeout_s)
        if waiting is None:
            return None
        last, self._last_taken = self._last_taken, waiting._replace(picture=None)
        self._delivered += 1
        return ClaimedFrame(waiting, last, self.live)

    def usable(self, claimed: ClaimedFrame, frame: VideoFrame) -> VideoFrame:
        """A claimed frame became this one; returns it with the unusable ones before it dropped."""
        return self._unusable.passed(claimed, frame)

    def unusable(self, claimed: ClaimedFrame, error: Exception) -> None:
        """A claimed frame could not be converted: it is dropped, and counted.

        After many in a row a live source connects again, and another ends with an error.
        """
        if self._unusable.failed(claimed, error):
            hopeless = StreamCodecError(
                f"{self.uri}: {HOPELESS} frames in a row could not be converted to pixels: {error}",
                hint="Let the source send another pixel format, or convert the file with ffmpeg.",
            )
            if self.live:
                self._reader.lose(hopeless)
            else:
                self.fail(hopeless)

    @property
    def ready(self) -> bool:
        """Whether `take` would give a frame at once."""
        return self._queue.ready

    @property
    def finished(self) -> bool:
        """It has ended, and every frame was taken."""
        return self._queue.drained

    def watch(self) -> None:
        """Notice a stall. To be called now and then; whoever waits for frames does."""
        self._reader.notice_stall()

    def pause(self) -> None:
        """Deliver nothing. A file waits; what a live source sends meanwhile is dropped."""
        self._queue.hold(refuse=self.live)
        self._reader.pacing.pause()

    def resume(self) -> None:
        """Deliver again."""
        self._queue.release()
        self._reader.pacing.resume()

    @property
    def paused(self) -> bool:
        """Whether `pause` was called last."""
        return self._reader.pacing.paused

    def __iter__(self) -> Iterator[VideoFrame]:
        """Frames until the stream ends or is closed.

        Raises:
            BasEdgeError: What ended it, after the frames before it.
        """
        self.start()
        while not self.finished:
            frame = self.take(_POLL_S)
            if frame is not None:
                yield frame
            self.watch()
        if self.error is not None:
            raise self.error

    def fail(self, error: BaseException) -> None:
        """End with an error of whoever uses its frames; those that wait are dropped.

        From any thread. The thread that reads ends soon; `close` waits for it.
        """
        self._reader.fail(error)
        self._queue.release()
        self._queue.clear()

    def close(self, wait_s: float = _CLOSE_S) -> None:
        """Stop reading and let go of the source; frames that wait are dropped. Safe twice.

        Args:
            wait_s: How long to wait for the thread that reads, in seconds since the first call.
                One that waits for a silent network at this moment ends later, at its time limit.
                To close several, tell all of them with 0 and then close each.
        """
        self._closed = True
        self._queue.release()
        self._reader.stop(wait_s)
        self._queue.clear()

    def __enter__(self) -> Stream:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Stream {self.name!r}: {self.uri}, {self.state}>"

    def _announce(self, event: StreamEvent) -> None:
        with self._listening:
            self._ended = event if event.state == "ended" else None
            listeners = tuple(self._listeners)
        failure: BaseException | None = None
        for listener in listeners:
            try:
                listener(event)
            except BaseException as error:  # noqa: BLE001, PERF203  (raised when all were told)
                failure = failure or error
        self._wake()
        if failure is not None:
            raise failure

    def _wake(self) -> None:
        for waker in self._wakers:
            waker()
