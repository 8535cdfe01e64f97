"""A pipeline as a `cameras.toml` describes it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from bas_edge.errors import InputError
from bas_edge.video.camera_config import CameraConfig, CamerasConfig
from bas_edge.video.camera_places import at, item
from bas_edge.video.camera_sinks import SinkConfig, open_sink
from bas_edge.video.frame_engine import checked_smoothing, usual_smoothing
from bas_edge.video.pipeline import Pipeline
from bas_edge.video.pipeline_engine import open_for_pipeline
from bas_edge.video.sinks.event_rules import RuleEvent, check_sink
from bas_edge.video.sinks.sink import NotifiedSink, Sink
from bas_edge.video.sources.open_source import open_source
from bas_edge.video.sources.stream import Stream

__all__ = ["open_cameras", "open_stream"]


class _Place(NamedTuple):
    """A sink of the file, and whose results it takes."""

    where: str
    config: SinkConfig
    streams: Sequence[Stream]


@contextlib.contextmanager
def open_cameras(
    config: CamerasConfig, *, more_sinks: Callable[[Stream], Iterable[Sink]] = lambda _: ()
) -> Iterator[Pipeline]:
    """The pipeline, not yet started; it and the engine are closed where the block ends.

    Every camera and every sink is checked before the engine is opened.

    Args:
        config: What `read_cameras` gave.
        more_sinks: Of each stream, besides those of the file.

    Raises:
        InputError: A source, an option or a folder cannot be used, or a rule is for a class that
            the engine does not have. The message names the place in the file.
        EngineError, BackendError, MissingExtraError: As `Localizer`.
    """
    with ExitStack() as stack:
        with at(config.file):  # and no error of the caller's block
            pipeline = _opened(config, more_sinks, stack)
        yield pipeline


def _opened(
    config: CamerasConfig, more_sinks: Callable[[Stream], Iterable[Sink]], stack: ExitStack
) -> Pipeline:
    streams = []
    for number, camera in enumerate(config.cameras):
        with at(_camera(config, number)):
            streams.append(open_stream(camera, config.folder))
        stack.callback(streams[-1].close)
    _check_names(config, streams)
    places = _places(config, streams)
    _check_files(config, places)
    unused = stack.enter_context(ExitStack())
    sinks = _open_sinks(places, config.output_folder, unused)
    engine = msgspec.structs.asdict(config.engine_options)
    with at("engine"):
        opened, workers = open_for_pipeline(
            engine.pop("path"),
            streams=len(streams),
            lossless=any(stream.policy == "wait" for stream in streams),
            **engine,
        )
    stack.enter_context(opened)
    for place, sink in zip(places, sinks, strict=True):
        with at(place.where):
            check_sink(sink, opened.manifest)
    for number, camera in enumerate(config.cameras):
        with at(_camera(config, number)):
            checked_smoothing(opened, camera.smoothing())
    pipeline = stack.enter_context(Pipeline(opened, workers=workers))
    unused.pop_all()  # from here on the pipeline closes them
    for camera, stream in zip(config.cameras, streams, strict=True):
        own = [sink for place, sink in zip(places, sinks, strict=True) if stream in place.streams]
        smooth = camera.smoothing() or usual_smoothing(opened, "light")
        pipeline.add(stream, sinks=[*own, *more_sinks(stream)], smooth=smooth)
    return pipeline


def _open_sinks(places: Sequence[_Place], folder: Path, unused: ExitStack) -> list[Sink]:
    """A sink for each place; `unused` closes them.

    An event of a rule goes to all sinks of its camera that publish events.
    """
    notified: dict[str, list[NotifiedSink]] = {}

    def tell(event: RuleEvent) -> None:
        for sink in notified.get(event.stream, ()):
            sink.notify(event)

    sinks = []
    for place in places:
        live = any(_endless(stream) for stream in place.streams)
        with at(place.where):
            sink = open_sink(place.config, folder, live=live, on_event=tell)
        unused.callback(sink.close, complete=False)
        sinks.append(sink)
        if isinstance(sink, NotifiedSink):
            for stream in place.streams:
                notified.setdefault(stream.name, []).append(sink)
    return sinks


def open_stream(camera: CameraConfig, folder: str | Path = ".") -> Stream:
    """The stream of one camera; a file or folder that is relative begins at `folder`.

    Raises:
        InputError: As `open_source`.
    """
    source = camera.source
    if "://" not in source and " ! " not in source and not source.isdecimal():
        source = str(Path(folder) / source)
    return open_source(
        source,
        name=camera.name or None,
        policy=camera.policy,
        depth=camera.depth,
        stride=camera.stride,
        max_fps=camera.max_fps,
        realtime=camera.realtime,
        loop=camera.loop,
        stall_s=camera.stall_s,
        fps=camera.fps,
        live=camera.live.live(),
        reconnect=camera.reconnect.reconnect(),
    )


def _camera(config: CamerasConfig, number: int) -> str:
    return item("camera", number, msgspec.to_builtins(config.cameras[number]))


def _places(config: CamerasConfig, streams: Sequence[Stream]) -> list[_Place]:
    """Of the sinks of all cameras, then those of each one."""

    def sinks(sinks: Sequence[SinkConfig], before: str, streams: Sequence[Stream]) -> list[_Place]:
        return [
            _Place(before + item("sink", number, msgspec.to_builtins(sink)), sink, streams)
            for number, sink in enumerate(sinks)
        ]

    places = sinks(config.sinks, "", streams)
    for number, camera in enumerate(config.cameras):
        places += sinks(camera.sinks, f"{_camera(config, number)}, ", [streams[number]])
    return places


def _check_names(config: CamerasConfig, streams: Sequence[Stream]) -> None:
    numbers: dict[str, int] = {}
    for number, stream in enumerate(streams):
        other = numbers.setdefault(stream.name, number)
        if other != number:
            raise InputError(
                f"{_camera(config, other)} and {_camera(config, number)} are both called "
                f"'{stream.name}'.",
                hint="Give each camera a `name` of its own.",
            )


def _check_files(config: CamerasConfig, places: Sequence[_Place]) -> None:
    """Refuse two sinks that would write over each other's files."""
    writers: dict[str, str] = {}
    for place in places:
        path: str | None = getattr(place.config, "path", None)
        if path is None:
            continue
        for stream in place.streams:
            file = str(config.output_folder / path).replace("{stream}", stream.name)
            other = writers.setdefault(file, place.where)
            if other != place.where:
                raise InputError(
                    f"{other} and {place.where} both write to {path}.",
                    hint="Give one of them another `path`.",
                )


def _endless(stream: Stream) -> bool:
    """Whether its videos are cut into segments: it is a camera, or a file that stands for one."""
    return stream.live or stream.options.realtime or stream.options.loop
