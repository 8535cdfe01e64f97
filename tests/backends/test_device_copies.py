"""Copies on the device, and streams of others: the same on fakes and on GPUs."""

from __future__ import annotations

import numpy as np
import pytest
from device_copies import staged

from bas_edge.backends.device import Device


def test_bytes_are_copied_on_the_device(device: Device) -> None:
    values = np.random.default_rng(0).integers(0, 256, 1000, np.uint8)
    source, target = staged(device, values), device.staging(1000)
    first, second, stream = device.buffer(1000), device.buffer(1000), device.stream()
    stream.upload(first.address, source.address, 1000)
    stream.copy(second.address, first.address, 1000)
    stream.copy(second.address, first.address, 0)
    stream.download(target.address, second.address, 1000)
    stream.synchronize()
    np.testing.assert_array_equal(target.array, values)


@pytest.mark.parametrize("default", [False, True], ids=["another stream", "the default stream"])
def test_a_stream_waits_for_a_stream_of_somebody_else(device: Device, default: bool) -> None:
    values = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8)
    source, target = staged(device, values), device.staging(values.nbytes)
    buffer, maker, stream = device.buffer(values.nbytes), device.stream(), device.stream()
    for _ in range(4):
        maker.upload(buffer.address, source.address, values.nbytes)
    # With nothing on it, waiting for the default stream must not hold anything up.
    stream.wait_for_stream(1 if default else maker.handle)
    if default:
        maker.synchronize()
    stream.download(target.address, buffer.address, values.nbytes)
    stream.synchronize()
    np.testing.assert_array_equal(target.array, values)
    maker.synchronize()
