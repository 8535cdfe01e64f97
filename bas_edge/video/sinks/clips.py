"""A short video of each event, which begins before it."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from bas_edge.errors import BasEdgeError, InputError
from bas_edge.video.frames import FrameResult, StreamEvent, utc
from bas_edge.video.sinks.disk_sink import DiskSink
from bas_edge.video.sinks.encoders import TICKS_PER_S, choose_encoder
from bas_edge.video.sinks.event_rules import EventRule, RuleEvent, RuleWatch
from bas_edge.video.sinks.file_names import (
    NameTemplate,
    moment_fields,
    partial,
    writing,
)
from bas_edge.video.sinks.holes import Holes
from bas_edge.video.sinks.json_lines import json_bytes
from bas_edge.video.sinks.kept_files import KeptByStream
from bas_edge.video.sinks.packet_ring import EncodedPicture, PacketFile, PacketRing
from bas_edge.video.sinks.ranges import check_fps, check_not_negative, check_positive

__all__ = ["Clips"]


class Clips(DiskSink):
    """A sink that writes an mp4 around each event of some rules, and a JSON file beside it.

    Each stream is encoded all the time, and the packets of the last `before_s` are kept in memory:
    some 0.2 to 1 MB a second at 720p, never more than `buffer_bytes` a stream. A clip begins with
    an intra frame up to a second earlier, and is written while it goes on: as
    `NAME.partial.mp4` it plays even after a power cut.

    An event of a rule whose last clip is not finished makes that clip longer, up to `longest_s`.
    Where nothing came for longer than `before_s` and a second, or the connection was lost, a clip
    ends, and none reaches back.

    Args:
        path: A template with {stream}, {rule}, {class}, {date} and {time} (UTC, of the event); it
            needs {time} and ends in .mp4. A name that is taken is numbered.
        rules: What counts as an event.
        before_s: How long before the event a clip begins.
        after_s: How long after it the clip ends.
        longest_s: The longest clip.
        draw: Draw what was found.
        fps: About how many frames a second come.
        codec: As for `VideoSink`.
        buffer_bytes: See above.
        max_files: Keep so many clips of each stream and remove the oldest.
        max_bytes: The same by size.
        on_event: Called with each event, from the thread that calls this sink; also where its clip
            cannot be written.

    Attributes:
        events: The last 100 events, oldest first.
        problem: What cannot be written at the moment; "" while all is well.
        dropped: Clips that could not be written, or not to their end.

    Raises:
        InputError: An argument, the folder or the encoder cannot be used.
        BasEdgeError: The encoder failed; or, raised by `close`, a clip could not be written.
        MissingExtraError: PyAV is not installed.
    """

    unit: ClassVar[str] = "clip"

    def __init__(
        self,
        path: str | Path,
        rules: Iterable[EventRule],
        *,
        before_s: float = 5.0,
        after_s: float = 5.0,
        longest_s: float = 60.0,
        draw: bool = True,
        fps: float = 25.0,
        codec: str = "auto",
        buffer_bytes: int = 32 << 20,
        max_files: int | None = None,
        max_bytes: int | None = None,
        on_event: Callable[[RuleEvent], None] | None = None,
    ) -> None:
        super().__init__()
        fields = ("stream", "rule", "class", "date", "time")
        self._names = NameTemplate(path, allowed=fields, required=("time",))
        self._watches = [RuleWatch(rule) for rule in rules]
        names = [watch.rule.name for watch in self._watches]
        if not names or len(set(names)) < len(names) or Path(path).suffix != ".mp4":
            raise InputError(
                f"Clips named {self._names.text!r} cannot be made of the rules {names}.",
                hint="At least one rule is needed, each by a name of its own, and a file in .mp4.",
            )
        check_not_negative(before_s=before_s, after_s=after_s)
        check_fps(fps)
        check_positive(longest_s=longest_s, buffer_bytes=buffer_bytes)
        if longest_s < before_s + after_s:
            raise InputError(
                f"A clip from {before_s} s before to {after_s} s after an event is longer than "
                f"{longest_s} s.",
                hint="Give a larger longest_s.",
            )
        choose_encoder(codec)
        self._names.check_files()
        self._kept = KeptByStream(
            self._names.root, self._names.text, max_files=max_files, max_bytes=max_bytes
        )
        self._before_s, self._after_s, self._longest_s = before_s, after_s, longest_s
        self._draw, self._fps, self._codec = draw, fps, codec
        self._buffer_bytes, self._on_event = buffer_bytes, on_event
        self._holes = Holes(before_s + 1)
        self._rings: dict[str, PacketRing] = {}
        self._open: dict[tuple[str, str], _Clip] = {}  # by stream and rule
        self.events: deque[RuleEvent] = deque(maxlen=100)

    @property
    def rules(self) -> tuple[EventRule, ...]:
        """What counts as an event."""
        return tuple(watch.rule for watch in self._watches)

    def write(self, result: FrameResult) -> None:
        """Encode the frame, go on with clips, and begin those of its events."""
        stream = result.stream
        ring = self._ring(result)
        pixels = result.frame.pixels
        if self._draw:
            pixels = result.finding.draw(pixels, color="rgb")
        new = ring.encode(pixels, result.time_s)
        before = self._clips_of(stream)
        for watch in self._watches:
            event = watch.see(result)
            if event is not None:
                self._tell(self._begin(ring, event))
        for clip in before:
            end = ring.ticks(self._end_s(clip))
            self._write(clip, (one for one in new if one.pts <= end))
            if new and new[-1].pts >= end:
                self._finish(clip, complete=True)

    def event(self, event: StreamEvent) -> None:
        """Nothing comes for a while, or ever: finish the clips of this stream."""
        for watch in self._watches:
            watch.event(event)
        if event.state in ("ended", "reconnecting"):
            self._end(event.stream)

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 (a clip says itself if it is whole)
        """Finish all clips, with what there is."""
        for stream in list(self._rings):
            self._end(stream)
        self._tell_losses()

    def _ring(self, result: FrameResult) -> PacketRing:
        stream, size = result.stream, result.finding.frame_size
        ring = self._rings.get(stream)
        if self._holes.before(result) or (ring is not None and ring.size != size):
            self._end(stream)
            ring = None
        if ring is None:
            ring = self._rings[stream] = PacketRing(
                size,
                self._fps,
                before_s=self._before_s,
                codec=self._codec,
                max_bytes=self._buffer_bytes,
            )
        return ring

    def _begin(self, ring: PacketRing, event: RuleEvent) -> RuleEvent:
        """A new clip, or more of the one that this rule has open; gives the event with its clip."""
        key, pictures = (event.stream, event.rule), []
        if key not in self._open:
            with self._attempt(event.stream):
                self._open[key] = self._new_clip(ring, event)
            pictures = ring.since(event.time_s - self._before_s)
        if key not in self._open:
            return event
        clip = self._open[key]
        event = replace(event, clip=clip.file.path)
        clip.events.append(event)
        with self._giving_up(clip):
            clip.file.write(pictures)
            clip.describe(complete=False)
        return event if key in self._open else replace(event, clip=None)

    def _new_clip(self, ring: PacketRing, event: RuleEvent) -> _Clip:
        fields: dict[str, str | int] = {"class": event.class_name, **moment_fields(event.at)}
        kept = self._kept.of(event.stream)
        path = kept.claim(
            self._names.path(stream=event.stream, rule=event.rule, **fields), also=".json"
        )
        try:
            return _Clip(event.stream, event.rule, ring, PacketFile(ring, path))
        except BaseException:
            kept.abandon(_both(path))
            raise

    def _end_s(self, clip: _Clip) -> float:
        last_s = clip.events[-1].time_s
        return min(last_s + self._after_s, clip.start_s + self._longest_s)

    def _tell(self, event: RuleEvent) -> None:
        self.events.append(event)
        if self._on_event is not None:
            self._on_event(event)

    def _clips_of(self, stream: str) -> list[_Clip]:
        return [clip for (name, _), clip in self._open.items() if name == stream]

    def _end(self, stream: str) -> None:
        """The stream is over: write out what its encoder holds, and finish its clips."""
        ring, last = self._rings.pop(stream, None), []
        if ring is not None:
            with self._attempt(stream):
                last = ring.finish()
        for clip in self._clips_of(stream):
            self._write(clip, last)
            self._finish(clip, complete=False)

    def _write(self, clip: _Clip, pictures: Iterable[EncodedPicture]) -> None:
        if self._is_open(clip):
            with self._giving_up(clip):
                clip.file.write(pictures)

    def _is_open(self, clip: _Clip) -> bool:
        """Not finished, and not given up."""
        return self._open.get((clip.stream, clip.rule)) is clip

    def _finish(self, clip: _Clip, *, complete: bool) -> None:
        if not self._is_open(clip):
            return
        with self._giving_up(clip):
            clip.file.finish()
            clip.describe(complete=complete)
            del self._open[clip.stream, clip.rule]
            self._kept.of(clip.stream).finished(_both(clip.file.path))
            self._worked(clip.stream)

    @contextlib.contextmanager
    def _giving_up(self, clip: _Clip) -> Iterator[None]:
        """Try something with a clip; after an error keep what plays of it."""
        with self._attempt(clip.stream):
            try:
                yield
            except BaseException:
                if self._open.pop((clip.stream, clip.rule), None) is not None:
                    kept, paths = self._kept.of(clip.stream), _both(clip.file.path)
                    with contextlib.suppress(BasEdgeError):
                        if clip.file.salvage():
                            kept.finished(paths)
                            clip.describe(complete=False)
                        else:
                            kept.abandon(paths)
                raise


def _both(path: Path) -> list[Path]:
    return [path, path.with_suffix(".json")]


@dataclass(slots=True)
class _Clip:
    """A clip being written; seconds are those of the stream."""

    stream: str
    rule: str
    ring: PacketRing
    file: PacketFile
    events: list[RuleEvent] = field(default_factory=list)

    @property
    def start_s(self) -> float:
        """When it begins; that of its first event before it has a picture."""
        return self.ring.seconds(self.file.first_pts) if self.file.frames else self.events[0].time_s

    def describe(self, *, complete: bool) -> None:
        """Write the JSON file beside the clip."""
        first, start_s = self.events[0], self.start_s
        height, width = self.ring.size
        about: dict[str, Any] = {
            "stream": self.stream,
            "rule": self.rule,
            "video": self.file.path.name,
            "started_at": utc(first.at - (first.time_s - start_s)),
            "start_time_s": round(start_s, 6),
            "seconds": round((self.file.last_pts - self.file.first_pts) / TICKS_PER_S, 6),
            "frames": self.file.frames,
            "width": width,
            "height": height,
            "encoder": self.ring.codec,
            "complete": complete,
            "events": [
                event.to_dict() | {"at_s": round(event.time_s - start_s, 6)}
                for event in self.events
            ],
        }
        path = self.file.path.with_suffix(".json")
        with writing(path):
            try:
                partial(path).write_bytes(json_bytes(about) + b"\n")
                partial(path).replace(path)
            except OSError:
                partial(path).unlink(missing_ok=True)
                raise
