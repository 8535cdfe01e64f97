"""One process of the pipeline case: a whole run of ours or of the loop, or one stage alone.

python -m benchmarks.pipeline_variants ours --engine E --video FILE --output b.mp4
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge import Localization, Localizer
from bas_edge.video import FrameResult, VideoSink, VideoSource, localize_video, open_for_pipeline
from bas_edge.video.sources.decoding import Decoding
from bas_edge.video.sources.pictures import DecodedPicture

__all__ = ["RUNS", "STAGES", "Measured", "Seen", "measure"]

Array = NDArray[np.uint8]

_CHUNK = 32  # frames that a stage has ready: 88 MB at 720p, far more than any near cache
_IDLE_S = 0.03


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """What was found in one frame."""

    box: tuple[float, float, float, float]
    label: int
    score: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one process measured.

    Attributes:
        cpu_s: CPU time of all threads of the process, those of FFmpeg and ONNX Runtime too.
        wall_s: From opening the video to the finished file; 0 for a stage.
        encoder, workers: Of a run.
        seen: Of a run, in the order of the frames.
    """

    frames: int
    cpu_s: float
    wall_s: float = 0.0
    encoder: str = ""
    workers: int = 0
    seen: tuple[Seen, ...] = ()


def ours(engine: Path, video: Path, output: Path) -> Measured:
    """As `bas-edge run` with one video: read ∥ infer ∥ draw and encode."""
    localizer, workers = open_for_pipeline(engine)
    seen: list[Seen] = []

    def note(result: FrameResult) -> None:
        seen.append(_seen(result.localization))

    with localizer:
        _warm_up(localizer, video)
        wall, cpu = time.perf_counter(), time.process_time()
        localize_video(localizer, video, annotated=output, workers=workers, on_frame=note)
        wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    return Measured(frames=len(seen), cpu_s=cpu_s, wall_s=wall_s, workers=workers, seen=tuple(seen))


def naive(engine: Path, video: Path, output: Path) -> Measured:
    """Decode, run, draw, encode, one after another; every library with its own default threads."""
    seen: list[Seen] = []
    with Localizer(engine) as localizer:
        _warm_up(localizer, video)
        wall, cpu = time.perf_counter(), time.process_time()
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            with VideoSink(output, float(stream.average_rate)) as sink:
                start: float | None = None
                for frame in container.decode(stream):
                    start = frame.time if start is None else start
                    pixels = frame.to_ndarray(format="rgb24")
                    found = localizer.run(pixels)
                    sink.write(found.draw(pixels), frame.time - start)
                    seen.append(_seen(found))
                encoder = sink.codec
        wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    return Measured(frames=len(seen), cpu_s=cpu_s, wall_s=wall_s, encoder=encoder, seen=tuple(seen))


def decode(_engine: Path, video: Path, _output: Path) -> Measured:
    """Packets to pictures, as our source does it."""
    source = VideoSource(video)
    before = _idle_cpu_s()
    frames = sum(1 for _ in source.pictures())
    return Measured(frames=frames, cpu_s=_idle_cpu_s() - before)


def colour(_engine: Path, video: Path, _output: Path) -> Measured:
    """Pictures to RGB."""
    return _over_chunks(_pictures(video), DecodedPicture.pixels)


def infer(engine: Path, video: Path, _output: Path) -> Measured:
    """Resize, network and boxes, with the session of the pipeline."""
    localizer, _ = open_for_pipeline(engine)
    with localizer:
        _warm_up(localizer, video)
        return _over_chunks((one.pixels() for one in _pictures(video)), localizer.run)


def draw(engine: Path, video: Path, _output: Path) -> Measured:
    """Boxes and labels on a copy of the frame."""

    def step(item: tuple[Localization, Array, float]) -> None:
        found, pixels, _ = item
        found.draw(pixels)

    localizer, _ = open_for_pipeline(engine)
    with localizer:
        return _over_chunks(_results(localizer, video), step)


def encode(engine: Path, video: Path, output: Path) -> Measured:
    """RGB to yuv420p, the encoder, the file."""
    sink = VideoSink(output, VideoSource(video).fps)
    localizer, _ = open_for_pipeline(engine)
    with localizer:
        drawn = (
            (found.draw(pixels), time_s) for found, pixels, time_s in _results(localizer, video)
        )
        done = _over_chunks(drawn, lambda item: sink.write(*item))
    before = _idle_cpu_s()
    sink.close()
    return msgspec.structs.replace(done, cpu_s=done.cpu_s + _idle_cpu_s() - before)


RUNS: dict[str, Callable[[Path, Path, Path], Measured]] = {"ours": ours, "naive": naive}
STAGES: dict[str, Callable[[Path, Path, Path], Measured]] = {
    "decode": decode,
    "colour": colour,
    "infer": infer,
    "draw": draw,
    "encode": encode,
}


def measure(name: str, engine: Path, video: Path, output: Path) -> Measured:
    """A run or a stage, in this process."""
    return {**RUNS, **STAGES}[name](engine, video, output)


def _pictures(video: Path) -> Iterator[DecodedPicture]:
    """Decoded on this thread alone, so that nothing is decoded ahead while a stage is timed."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for picture in Decoding(container, stream).pictures(av.error.FFmpegError):
            if isinstance(picture, DecodedPicture):
                yield picture


def _results(localizer: Localizer, video: Path) -> Iterator[tuple[Localization, Array, float]]:
    for picture in _pictures(video):
        pixels = picture.pixels()
        yield localizer.run(pixels), pixels, picture.time_s or 0.0


def _over_chunks(items: Iterator[Any], step: Callable[[Any], object]) -> Measured:
    """The CPU time of `step` over all items; that of making them is not in it."""
    frames, cpu_s = 0, 0.0
    while chunk := list(islice(items, _CHUNK)):
        before = _idle_cpu_s()
        for item in chunk:
            step(item)
        cpu_s += _idle_cpu_s() - before
        frames += len(chunk)
    return Measured(frames=frames, cpu_s=cpu_s)


def _idle_cpu_s() -> float:
    """The CPU time of this process, once its background threads have done what they had."""
    before = time.process_time()
    while True:
        time.sleep(_IDLE_S)
        now = time.process_time()
        if now - before < 0.02 * _IDLE_S:
            return now
        before = now


def _warm_up(localizer: Localizer, video: Path) -> None:
    height, width = VideoSource(video).size
    for _ in range(2):
        localizer.run(np.zeros((height, width, 3), np.uint8))


def _seen(found: Localization) -> Seen:
    return Seen(found.box, found.label, found.score)


def main() -> int:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline_variants")
    parser.add_argument("name", choices=[*RUNS, *STAGES])
    parser.add_argument("--engine", type=Path, required=True)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    found = measure(options.name, options.engine, options.video, options.output)
    print(msgspec.json.encode(found).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
