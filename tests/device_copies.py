"""Copies to a device and back, for the tests of the device layer."""

from __future__ import annotations

import numpy as np

from bas_edge.backends.device import Device, Graph, Staging, Stream


def staged(device: Device, values: np.ndarray) -> Staging:
    staging = device.staging(values.nbytes)
    staging.array[:] = values.view(np.uint8).ravel()
    return staging


def there_and_back(device: Device, stream: Stream, values: np.ndarray) -> np.ndarray:
    source = staged(device, values)
    target = device.staging(values.nbytes)
    buffer = device.buffer(values.nbytes)
    stream.upload(buffer.address, source.address, values.nbytes)
    stream.download(target.address, buffer.address, values.nbytes)
    stream.synchronize()
    result = target.array.copy().view(values.dtype)
    for each in (source, target, buffer):
        each.free()
    return result


def captured(device: Device, stream: Stream, source: Staging, target: Staging) -> Graph:
    size = source.size_bytes
    buffer = device.buffer(size)
    with stream.capture() as graphs:
        assert graphs == []
        stream.upload(buffer.address, source.address, size)
        stream.download(target.address, buffer.address, size)
    (graph,) = graphs
    graph.buffer = buffer  # must live as long
    return graph
