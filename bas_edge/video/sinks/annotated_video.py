"""The video again, with what was found drawn on it: one file, or a row of segments."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bas_edge.errors import BasEdgeError, InputError
from bas_edge.video.frames import FrameResult, StreamEvent
from bas_edge.video.sinks.disk_sink import DiskSink
from bas_edge.video.sinks.encoders import choose_encoder
from bas_edge.video.sinks.file_names import NameTemplate, moment_fields, prepare_folder, writing
from bas_edge.video.sinks.kept_files import KeptByStream
from bas_edge.video.sinks.mp4_output import check_mp4_name
from bas_edge.video.sinks.ranges import check_fps, check_positive
from bas_edge.video.sinks.video_sink import VideoSink

__all__ = ["AnnotatedVideo"]

# mp4 counts how long a frame is shown with 31 bits: 9.9 h at our 60 000 ticks a second.
LONGEST_PAUSE_S = 3600.0
_AGAIN_S = 5.0  # after a file that could not be written, before the next one is tried


class AnnotatedVideo(DiskSink):
    """A sink that writes each stream as an mp4 with what was found drawn.

    Every frame is shown at its own time: where frames were dropped or a connection was lost, the
    picture before stands still for as long. Nothing is invented to fill it.

    Of files, one video a stream is written as `NAME.partial.mp4`; it gets its name, replacing an
    older one, when the pipeline closes this sink complete, and otherwise stays, and plays.

    A live stream's videos are fragmented: they play up to some four seconds before a power cut, get
    their name however the stream ends, and never replace a file: a name that is taken is numbered.
    A new one begins after `segment_s`, when the size of the frames changes (in segments only),
    after a pause of more than an hour, and five seconds after one could not be written.

    Args:
        path: A template with {stream}, {date} and {time} (UTC, of the first frame):
            "{stream}/{date}-{time}.mp4". Segments need {time}.
        fps: About how many frames a second come.
        codec: An encoder by name, which is then used or refused, or "auto": one that works in
            hardware, or else libx264; see `VideoSink` and `encoders`.
        live: The streams are cameras, which have no end of their own.
        segment_s: Begin a new file after so many seconds; live only.
        max_files: Keep so many finished files of each stream and remove the oldest; live only.
        max_bytes: The same by size: the limit holds when a file is finished, so leave room for
            the one that is being written.

    Attributes:
        encoders: The encoder in use for each stream.
        latest: The newest finished file of each stream.
        problem: What cannot be written at the moment; "" while all is well.
        dropped: Frames of live streams that were written to no file.

    Raises:
        InputError: The template, the folder, the encoder or a limit cannot be used.
        BasEdgeError: A file cannot be written; of live streams it is raised by `close`.
        MissingExtraError: PyAV is not installed.
    """

    unit: ClassVar[str] = "frame"

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float = 25.0,
        codec: str = "auto",
        live: bool = False,
        segment_s: float | None = None,
        max_files: int | None = None,
        max_bytes: int | None = None,
    ) -> None:
        super().__init__(go_on=live)
        if not live and (segment_s, max_files, max_bytes) != (None, None, None):
            raise InputError(
                "segment_s, max_files and max_bytes are for live streams, and live is False.",
                hint="Pass live=True, or leave them out.",
            )
        check_fps(fps)
        check_positive(segment_s=segment_s)
        check_mp4_name(path)
        required = () if segment_s is None else ("time",)
        self._names = NameTemplate(path, allowed=("stream", "date", "time"), required=required)
        choose_encoder(codec)
        self._names.check_files()
        self._kept = KeptByStream(
            self._names.root, self._names.text, max_files=max_files, max_bytes=max_bytes
        )
        self._fps, self._codec, self._live, self._segment_s = fps, codec, live, segment_s
        self._writing: dict[str, _Writing] = {}
        self._ended: dict[Path, VideoSink] = {}  # files whose streams ended before the pipeline did
        self._taken: dict[Path, str] = {}  # files, not live: which stream writes there
        self._again_s: dict[str, float] = {}  # by stream: not before
        self.encoders: dict[str, str] = {}
        self.latest: dict[str, Path] = {}

    def write(self, result: FrameResult) -> None:
        """Append the frame with what was found in it."""
        if result.time_s < self._again_s.get(result.stream, result.time_s):
            self.dropped += 1
            return
        pixels = result.finding.draw(result.frame.pixels, color="rgb")
        with self._attempt(result.stream):
            try:
                file = self._file_for(result)
                file.sink.write(pixels, result.time_s - file.start_s)
            except BaseException:
                self._again_s[result.stream] = result.time_s + _AGAIN_S
                self._abandon(result.stream)
                raise
            file.last_s = result.time_s
            self.encoders[result.stream] = file.sink.codec
            if file.sink.plays:
                self._worked(result.stream)

    def event(self, event: StreamEvent) -> None:
        """A stream that ended needs its file no longer."""
        if event.state != "ended":
            return
        self._again_s.pop(event.stream, None)
        if event.stream in self._writing:
            if self._live:
                with self._attempt(event.stream):
                    self._finish(event.stream)
            else:
                sink = self._writing.pop(event.stream).sink
                sink.close(complete=False)  # only close() knows whether it is whole
                self._ended[sink.path] = sink

    def close(self, *, complete: bool) -> None:
        """Finish all files; see the class for what they are called then."""
        with contextlib.ExitStack() as finishing:  # each of them, also after an error
            finishing.callback(self._tell_losses)
            for stream in self._writing:
                finishing.callback(self._finish, stream, complete=complete)
        for sink in self._ended.values() if complete else ():
            with writing(sink.path):
                sink.partial_path.replace(sink.path)
        self._ended.clear()

    def _file_for(self, result: FrameResult) -> _Writing:
        """What this result is to be written to."""
        file = self._writing.get(result.stream)
        if file is not None and self._begins_anew(file, result):
            self._finish(result.stream)
            file = None
        if file is None:
            file = self._writing[result.stream] = self._open(result)
        return file

    def _begins_anew(self, file: _Writing, result: FrameResult) -> bool:
        if not self._live:
            return False
        if result.time_s - file.last_s > LONGEST_PAUSE_S:
            return True
        size = result.finding.frame_size
        over = self._segment_s is not None and result.time_s - file.start_s >= self._segment_s
        return over or (self._segment_s is not None and size != file.size)

    def _open(self, result: FrameResult) -> _Writing:
        fields = moment_fields(result.frame.captured_at)
        path = self._names.path(stream=result.stream, **fields)
        if self._live:
            kept = self._kept.of(result.stream)
            path = kept.claim(path)
            try:
                sink = VideoSink(path, self._fps, codec=self._codec, fragmented=True)
            except BaseException:
                kept.abandon([path])
                raise
            return _Writing(sink, result.time_s, result.time_s, result.finding.frame_size)
        if self._taken.setdefault(path, result.stream) != result.stream:
            raise InputError(
                f"The streams '{self._taken[path]}' and '{result.stream}' would both be written "
                f"to {path}.",
                hint="Put {stream} into the file name.",
            )
        prepare_folder(path.parent)
        sink = VideoSink(path, self._fps, codec=self._codec)
        return _Writing(sink, 0.0, result.time_s, result.finding.frame_size)

    def _finish(self, stream: str, *, complete: bool = True) -> None:
        sink = self._writing[stream].sink
        try:
            sink.close(complete=complete or self._live)
        except BaseException:
            self._abandon(stream)
            raise
        del self._writing[stream]
        if complete or self._live:
            self.latest[stream] = sink.path
            self._kept.of(stream).finished([sink.path])

    def _abandon(self, stream: str) -> None:
        """After an error: keep what plays of a live stream, nothing of a file."""
        file = self._writing.pop(stream, None)
        if file is None:
            return
        sink = file.sink
        with contextlib.suppress(BasEdgeError):
            if not self._live:
                sink.discard()
            elif sink.salvage():
                self._kept.of(stream).finished([sink.path])
            else:
                self.dropped += sink.frames
                self._kept.of(stream).abandon([sink.path])


@dataclass(slots=True)
class _Writing:
    """A file being written; seconds are those of the stream."""

    sink: VideoSink
    start_s: float
    last_s: float
    size: tuple[int, int]  # (H, W)
