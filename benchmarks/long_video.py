"""A video as long as is needed: the same one again and again, without encoding it anew."""

from __future__ import annotations

from pathlib import Path

import av

__all__ = ["write_repeated"]


def write_repeated(video: Path, output: Path, seconds: float) -> int:
    """Write the packets of a video's pictures so often that it lasts `seconds`; how often."""
    times = 0
    with av.open(str(output), "w") as written:
        stream, shift, limit = None, 0, 1
        while shift < limit:
            with av.open(str(video)) as container:
                source = container.streams.video[0]
                if stream is None:
                    stream = written.add_stream_from_template(source)
                    limit = round(seconds / source.time_base)
                end = 0
                for packet in container.demux(source):
                    if packet.pts is None or packet.dts is None:
                        continue  # the empty one at the end
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    end = max(end, packet.pts + packet.duration)
                    packet.stream = stream
                    written.mux(packet)
            if end <= shift:
                raise ValueError(f"{video} has no packets with times.")
            shift, times = end, times + 1
    return times
