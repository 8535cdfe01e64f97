"""The parts of one batch on the device, each replayed by itself between two events.

`python -m benchmarks.gpu_stages --frame 720p --batch 4 --work FOLDER` prints them as JSON.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from bas_edge.backends.base import DevicePlan
from bas_edge.backends.device import Graph
from bas_edge.engine.contract import INPUT_NAME
from bas_edge.engine.manifest import Manifest
from bas_edge.ops import cuda

from .cases.frame_to_box_gpu import FRAMES, Parts, example_batches
from .gpu_clock import FLUSH_BYTES, GraphClock
from .timings import percentile, rounded

__all__ = ["BatchStages", "main"]


class BatchStages:
    """What a batch of host frames goes through in `bas_edge.device_slot`, part by part.

    The same kernels on the same layout of memory: upload, resize, network, maps to boxes,
    download of the records. Frames are stretched; one box is asked for.

    Args:
        plan: close() closes it.
        frames: RGB [H, W, 3], all of one size.
    """

    def __init__(
        self,
        plan: DevicePlan,
        manifest: Manifest,
        frames: Sequence[NDArray[np.uint8]],
        *,
        flush_bytes: int = FLUSH_BYTES,
    ) -> None:
        device = plan.device
        self._plan = plan
        self._batch = len(frames)
        self._frame_size = frames[0].shape[:2]
        self._frame_bytes = frames[0].nbytes
        self._clock = GraphClock(device, flush_bytes=flush_bytes)
        self._stream = self._clock.stream
        self._graphs: dict[str, Graph] = {}

        self._staging = device.staging(self._batch * self._frame_bytes)
        self._staging.array[:] = np.concatenate([frame.reshape(-1) for frame in frames])
        self._uploaded = device.buffer(self._batch * self._frame_bytes)
        specs = {spec.name: spec for spec in (*plan.inputs, *plan.outputs)}
        self._buffers = {
            name: device.buffer(
                spec.dtype.itemsize * self._batch * int(np.prod([s or 0 for s in spec.shape[1:]]))
            )
            for name, spec in specs.items()
        }
        record_bytes = 4 * self._batch * cuda.record_words(1)
        self._records, self._host = device.buffer(record_bytes), device.staging(record_bytes)
        self._context = plan.context()

        size = (manifest.input.height, manifest.input.width)
        self._input_bytes = 3 * size[0] * size[1]
        self._maps_name = "foreground" if manifest.maps == "mean" else "maps"
        _, count, rows, columns = specs[self._maps_name].shape
        height, width = self._frame_size
        with device.current():
            self._resize = cuda.ResizeFrame(
                frame_size=(height, width),
                shown=(0, 0, width, height),
                size=size,
                target=(0, 0, size[1], size[0]),
            )
            self._localize = cuda.LocalizeMaps(
                form=manifest.maps,
                classes=len(manifest.classes),
                maps=count or 0,
                top_k=manifest.top_k,
                threshold=manifest.threshold.value,
                rule=manifest.threshold.rule,
                max_images=self._batch,
                map_size=(rows or 0, columns or 0),
                size=size,
            )

    def medians_us(self, *, seconds: float) -> dict[str, float]:
        """Of "upload", "pre", "network", "post" and "download", in µs.

        Each is timed right after the part before it, so it finds in the caches what it finds
        there in the runtime.

        Raises:
            BackendError: The network cannot be captured into a graph.
        """
        parts: dict[str, Callable[[], None]] = {
            "upload": self._upload,
            "pre": self._pre,
            "network": self._network,
            "post": self._post,
            "download": self._download,
        }
        taken: dict[str, float] = {}
        before: Graph | None = None
        for name, enqueue in parts.items():
            graph = self._graphs[name] = self._clock.capture(enqueue)
            touch = None if before is None else self._launcher(before)
            times = sorted(self._clock.times_us([graph], seconds=seconds, touch=touch))
            taken[name] = rounded(percentile(times, 0.5))
            before = graph
        return taken

    def records(self) -> cuda.Records:
        """What the last batch came to."""
        words = self._host.array.view(np.int32).reshape(self._batch, cuda.record_words(1))
        return cuda.read_records(words, 1)

    def close(self) -> None:
        """Free everything, and the plan."""
        self._stream.synchronize()
        for graph in self._graphs.values():
            graph.free()
        self._context.close()
        with self._plan.device.current():
            del self._resize, self._localize
        for memory in (*self._buffers.values(), self._records, self._uploaded, self._staging,
                       self._host):  # fmt: skip
            memory.free()
        self._clock.close()
        self._plan.close()

    def _launcher(self, graph: Graph) -> Callable[[int], None]:
        return lambda _: graph.launch(self._stream)

    def _upload(self) -> None:
        for at in range(self._batch):
            offset = at * self._frame_bytes
            to, source = self._uploaded.address + offset, self._staging.address + offset
            self._stream.upload(to, source, self._frame_bytes)

    def _pre(self) -> None:
        height, width = self._frame_size
        for at in range(self._batch):
            pixels = self._uploaded.address + at * self._frame_bytes
            frame = cuda.DeviceFrame(
                height=height, width=width, pixels=pixels, pitch_bytes=3 * width
            )
            target = self._buffers[INPUT_NAME].address + at * self._input_bytes
            self._resize.run(frame, input_address=target, stream=self._stream.handle)

    def _network(self) -> None:
        addresses = {name: buffer.address for name, buffer in self._buffers.items()}
        self._context.enqueue(addresses, self._batch, self._stream)

    def _post(self) -> None:
        self._localize.run(
            logits=self._buffers["logits"].address,
            maps=self._buffers[self._maps_name].address,
            images=self._batch,
            records=self._records.address,
            stream=self._stream.handle,
        )

    def _download(self) -> None:
        size = self._records.size_bytes
        self._stream.download(self._host.address, self._records.address, size)


def main() -> None:
    """After `python -m benchmarks.worker prepare` of one of the cases."""
    from .gpu_network import open_network_plan, open_ours, read_choice

    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_stages")
    parser.add_argument("--frame", choices=FRAMES, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=0.3)
    options = parser.parse_args()
    chosen = read_choice(options.work)
    frames = example_batches(options.frame, options.batch)[0]
    with open_ours(options.work, options.batch) as localizer:
        runner = localizer._open_runner()
        for _ in range(3 * runner.in_flight):  # step by step, captured, replayed
            localizer.run_batch(frames)
        refused = getattr(runner, "graphs_refused", "")
    plan, manifest = open_network_plan(options.work, options.batch)
    stages = BatchStages(plan, manifest, frames)
    parts = Parts(
        device=plan.device.name,
        runner=f"{chosen.backend} {chosen.version}",
        said=chosen.said,
        graph=f"without a CUDA graph ({refused})" if refused else "one CUDA graph a batch",
        stages_us=stages.medians_us(seconds=options.seconds),
    )
    stages.close()
    print(msgspec.json.encode(parts).decode())


if __name__ == "__main__":
    main()
