"""A pipeline as a `cameras.toml` describes it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack

import msgspec

from bas_edge.errors import InputError
from bas_edge.video.camera_config import CameraConfig, CamerasConfig
from bas_edge.video.camera_sinks import SinkConfig, open_sink
from bas_edge.video.pipeline import Pipeline
from bas_edge.video.pipeline_engine import open_for_pipeline
from bas_edge.video.sinks.event_rules import RuleEvent
from bas_edge.video.sinks.sink import NotifiedSink, Sink
from bas_edge.video.sources.addresses import kind_of
from bas_edge.video.sources.live_capture import LiveOptions
from bas_edge.video.sources.open_source import open_source
from bas_edge.video.sources.reconnect import Reconnect
from bas_edge.video.sources.stream import Stream

__all__ = ["open_cameras", "open_stream"]


@contextlib.contextmanager
def open_cameras(
    config: CamerasConfig, *, more_sinks: Callable[[Stream], Iterable[Sink]] = lambda _: ()
) -> Iterator[Pipeline]:
    """The pipeline, not yet started; it and the engine are closed where the block ends.

    Args:
        config: What `read_cameras` gave.
        more_sinks: Of each stream, besides those of the file.

    Raises:
        InputError: A source, an option or a folder cannot be used.
        EngineError, BackendError, MissingExtraError: As `Localizer`.
    """
    streams = [open_stream(camera, config.folder) for camera in config.cameras]
    engine = msgspec.structs.asdict(config.engine_options)
    with ExitStack() as stack:
        for stream in streams:
            stack.callback(stream.close)
        unused = stack.enter_context(ExitStack())
        sinks = _open_sinks(config, streams, unused)  # a typo in them is said before the engine
        localizer, workers = open_for_pipeline(
            engine.pop("path"),
            streams=len(streams),
            lossless=any(stream.policy == "wait" for stream in streams),
            **engine,
        )
        stack.enter_context(localizer)
        pipeline = stack.enter_context(Pipeline(localizer, workers=workers))
        for camera, stream, own in zip(config.cameras, streams, sinks, strict=True):
            pipeline.add(stream, sinks=[*own, *more_sinks(stream)], smooth=camera.smoothing())
        unused.pop_all()  # the pipeline has them
        yield pipeline


def _open_sinks(
    config: CamerasConfig, streams: Sequence[Stream], unused: ExitStack
) -> list[list[Sink]]:
    """The sinks of each camera; `unused` closes them.

    An event of a rule goes to all sinks of its camera that publish events.
    """
    notified: dict[str, list[NotifiedSink]] = {}

    def tell(event: RuleEvent) -> None:
        for sink in notified[event.stream]:
            sink.notify(event)

    def opened(wanted: Iterable[SinkConfig], live: bool) -> Iterator[Sink]:
        for each in wanted:
            sink = open_sink(each, config.output_folder, live=live, on_event=tell)
            unused.callback(sink.close, complete=False)
            yield sink

    shared = list(opened(config.sinks, any(_endless(stream) for stream in streams)))
    sinks = []
    for camera, stream in zip(config.cameras, streams, strict=True):
        sinks.append([*shared, *opened(camera.sinks, _endless(stream))])
        notified[stream.name] = [one for one in sinks[-1] if isinstance(one, NotifiedSink)]
    return sinks


def open_stream(camera: CameraConfig, folder: str = ".") -> Stream:
    """The stream of one camera; a file or folder that is relative begins at `folder`.

    Raises:
        InputError: As `open_source`.
    """
    source = camera.source
    with contextlib.suppress(InputError):
        local = f"{folder}/{source}"
        if "://" not in source and kind_of(local) in ("file", "folder"):
            source = local
    live = camera.live
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
        live=LiveOptions(
            connect_s=live.connect_s,
            silence_s=live.silence_s,
            transport=live.transport,
            hardware=live.hardware,
            options=tuple(live.options.items()),
        ),
        reconnect=Reconnect(**msgspec.structs.asdict(camera.reconnect)),
    )


def _endless(stream: Stream) -> bool:
    """Whether its videos are cut into segments: it is a camera, or a file that stands for one."""
    return stream.live or stream.options.realtime or stream.options.loop
