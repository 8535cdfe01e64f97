"""A short video of each event, which begins before it."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bas_edge.errors import BasEdgeError, InputError
from bas_edge.video.frames import FrameResult, StreamEvent, utc
from bas_edge.video.sinks.encoders import TICKS_PER_S, choose_encoder
from bas_edge.video.sinks.event_rules import EventRule, RuleEvent, RuleWatch
from bas_edge.video.sinks.file_names import (
    NameTemplate,
    free_path,
    moment_fields,
    partial,
    prepare_folder,
)
from bas_edge.video.sinks.json_lines import json_line
from bas_edge.video.sinks.kept_files import KeptByStream
from bas_edge.video.sinks.packet_ring import PacketFile, PacketRing

__all__ = ["Clips"]


class Clips:
    """A sink that writes an mp4 around each event of some rules, and a JSON file beside it.

    Each stream is encoded all the time, and the packets of the last `before_s` are kept in memory:
    some 0.2 to 1 MB a second at 720p, never more than `buffer_bytes` a stream. A clip begins with
    an intra frame up to a second earlier, and is written while it goes on: as
    `NAME.partial.mp4` it plays even after a power cut.

    An event of a rule whose last clip is not finished makes that clip longer, up to `longest_s`.

    Args:
        path: A template with {stream}, {rule}, {class}, {date} and {time} (UTC, of the event); it
            needs {time} and ends in .mp4. A name that is taken is numbered.
        rules: What counts as an event.
        before_s: How long before the event a clip begins.
        after_s: How long after it the clip ends.
        longest_s: The longest clip.
        draw: Draw the boxes.
        fps: About how many frames a second come.
        codec: As for `VideoSink`.
        buffer_bytes: See above.
        max_files: Keep so many clips of each stream and remove the oldest.
        max_bytes: The same by size.
        on_event: Called with each event, from the thread that calls this sink.

    Attributes:
        events: The last 100 events, oldest first.

    Raises:
        InputError: An argument, the folder or the encoder cannot be used.
        BasEdgeError: A file cannot be written.
        MissingExtraError: PyAV is not installed.
    """

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
        fields = ("stream", "rule", "class", "date", "time")
        self._names = NameTemplate(path, allowed=fields, required=("time",))
        self._watches = [RuleWatch(rule) for rule in rules]
        names = [watch.rule.name for watch in self._watches]
        if not names or len(set(names)) < len(names) or Path(path).suffix != ".mp4":
            raise InputError(
                f"Clips named {self._names.text!r} cannot be made of the rules {names}.",
                hint="At least one rule is needed, each by a name of its own, and a file in .mp4.",
            )
        if before_s < 0 or after_s < 0 or longest_s < before_s + after_s:
            raise InputError(
                f"A clip from {before_s} s before to {after_s} s after an event is not between 0 "
                f"and {longest_s} s long.",
                hint="Give a larger longest_s.",
            )
        choose_encoder(codec)
        prepare_folder(self._names.root)
        self._kept = KeptByStream(
            self._names.root, self._names.text, max_files=max_files, max_bytes=max_bytes
        )
        self._before_s, self._after_s, self._longest_s = before_s, after_s, longest_s
        self._draw, self._fps, self._codec = draw, fps, codec
        self._buffer_bytes, self._on_event = buffer_bytes, on_event
        self._rings: dict[str, PacketRing] = {}
        self._open: dict[tuple[str, str], _Clip] = {}  # by stream and rule
        self.events: deque[RuleEvent] = deque(maxlen=100)

    def write(self, result: FrameResult) -> None:
        """Encode the frame, go on with clips, and begin those of its events."""
        stream = result.stream
        ring = self._ring(stream, result.localization.frame_size)
        pixels = result.frame.pixels
        if self._draw:
            pixels = result.localization.draw(pixels, color="rgb")
        new = ring.encode(pixels, result.time_s)
        before = self._clips_of(stream)
        for watch in self._watches:
            event = watch.see(result)
            if event is not None:
                self._begin(ring, event)
        for clip in before:
            end = ring.ticks(clip.end_s)
            clip.file.write(one for one in new if one.pts <= end)
            if new and new[-1].pts >= end:
                self._finish(clip, complete=True)

    def event(self, event: StreamEvent) -> None:
        """Nothing comes for a while, or ever: finish the clips of this stream."""
        if event.state == "ended":
            self._end(event.stream)
        elif event.state == "reconnecting":
            for clip in self._clips_of(event.stream):
                self._finish(clip, complete=False)

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 (a clip says itself if it is whole)
        """Finish all clips, with what there is."""
        with contextlib.ExitStack() as finishing:  # each of them, also after an error
            for stream in self._rings:
                finishing.callback(self._end, stream)

    def _ring(self, stream: str, size: tuple[int, int]) -> PacketRing:
        ring = self._rings.get(stream)
        if ring is not None and ring.size != size:
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

    def _begin(self, ring: PacketRing, event: RuleEvent) -> None:
        """A new clip, or more of the one that this rule has open."""
        clip = self._open.get((event.stream, event.rule))
        if clip is None:
            fields: dict[str, str | int] = {"class": event.class_name, **moment_fields(event.at)}
            path = free_path(
                self._names.path(stream=event.stream, rule=event.rule, **fields), also=".json"
            )
            prepare_folder(path.parent)
            self._kept.of(event.stream).begin([path, path.with_suffix(".json")])
            file = PacketFile(ring, path)
            end_s = event.time_s + self._after_s
            clip = self._open[event.stream, event.rule] = _Clip(event.stream, ring, file, end_s)
            file.write(ring.since(event.time_s - self._before_s))
        start_s = event.time_s - (ring.ticks(event.time_s) - clip.file.first_pts) / TICKS_PER_S
        clip.start_s = start_s if clip.start_s is None else clip.start_s
        clip.end_s = min(event.time_s + self._after_s, clip.start_s + self._longest_s)
        event = replace(event, clip=clip.file.path)
        clip.events.append(event)
        clip.describe(complete=False)
        self.events.append(event)
        if self._on_event is not None:
            self._on_event(event)

    def _clips_of(self, stream: str) -> list[_Clip]:
        return [clip for (name, _), clip in self._open.items() if name == stream]

    def _end(self, stream: str) -> None:
        """The stream is over: write out what its encoder holds, and finish its clips."""
        ring = self._rings.pop(stream, None)
        last = [] if ring is None else ring.finish()
        for clip in self._clips_of(stream):
            with contextlib.suppress(BasEdgeError):  # finishing says the same again
                clip.file.write(last)
            self._finish(clip, complete=False)

    def _finish(self, clip: _Clip, *, complete: bool) -> None:
        del self._open[clip.stream, clip.events[0].rule]
        clip.file.finish()
        clip.describe(complete=complete)
        self._kept.of(clip.stream).finished([clip.file.path, clip.file.path.with_suffix(".json")])


@dataclass(slots=True)
class _Clip:
    """A clip being written; seconds are those of the stream."""

    stream: str
    ring: PacketRing
    file: PacketFile
    end_s: float
    start_s: float | None = None
    events: list[RuleEvent] = field(default_factory=list)

    def describe(self, *, complete: bool) -> None:
        """Write the JSON file beside the clip."""
        first = self.events[0]
        start_s = first.time_s if self.start_s is None else self.start_s
        height, width = self.ring.size
        about: dict[str, Any] = {
            "stream": self.stream,
            "rule": first.rule,
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
        try:
            partial(path).write_bytes(json_line(about) + b"\n")
            partial(path).replace(path)
        except OSError as error:
            raise BasEdgeError(f"Cannot write {path}: {error.strerror}.") from error
