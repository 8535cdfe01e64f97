"""Encoders: hardware only where it really encodes, and never another one than was named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from bas_edge.errors import InputError
from bas_edge.video.sinks import encoders
from bas_edge.video.sinks.packet_ring import PacketRing
from bas_edge.video.sinks.video_sink import VideoSink
from bas_edge.video.sources.video_source import VideoSource


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Lets a test say which encoders are of hardware; what was probed is forgotten after it."""
    encoders._works_here.cache_clear()
    yield monkeypatch
    encoders._works_here.cache_clear()


def pretend(patch: pytest.MonkeyPatch, *names: str) -> None:
    patch.setattr(encoders, "HARDWARE_ENCODERS", names)


def test_hardware_that_works_comes_first(
    hardware: pytest.MonkeyPatch, clips: ModuleType, tmp_path: Path
) -> None:
    pretend(hardware, "h264_nothing", "mpeg4")
    assert encoders.available_encoders()[0] == "mpeg4"
    with VideoSink(tmp_path / "a.mp4", 25) as sink:
        sink.write(clips.noise_frames(1)[0])
        assert sink.codec == "mpeg4"


def test_hardware_that_does_not_take_this_size_is_passed_over(
    hardware: pytest.MonkeyPatch, clips: ModuleType, tmp_path: Path
) -> None:
    hardware.setattr(encoders, "_PROBE_SIZE", (288, 352))
    pretend(hardware, "h263")  # knows five sizes only
    with VideoSink(tmp_path / "a.mp4", 25) as sink:
        assert sink.codec == "h263"
        sink.write(clips.noise_frames(1)[0])
        assert sink.codec == encoders.PREFERRED_ENCODERS[0]
    assert len(list(VideoSource(tmp_path / "a.mp4"))) == 1
    ring = PacketRing((48, 64), 25, before_s=1, codec="auto", max_bytes=1 << 20)
    assert ring.codec == encoders.PREFERRED_ENCODERS[0]
    ring.finish()


def test_a_named_encoder_is_used_or_refused(
    hardware: pytest.MonkeyPatch, clips: ModuleType, tmp_path: Path
) -> None:
    pretend(hardware, "h263")
    with (
        pytest.raises(InputError, match="The encoder 'h263' cannot write an mp4 of 64×48"),
        VideoSink(tmp_path / "a.mp4", 25, codec="h263") as sink,
    ):
        sink.write(clips.noise_frames(1)[0])


@pytest.mark.parametrize("name", encoders.HARDWARE_ENCODERS)
def test_hardware_is_probed_without_an_error(name: str) -> None:
    """Machines differ in what is true; a library or device that is missing must not raise."""
    assert encoders.encoder_works(name, (352, 640), 25.0) in (True, False)


def test_what_cannot_encode_does_not_work() -> None:
    assert encoders.encoder_works("mpeg4", (48, 64), 25.0)
    assert not encoders.encoder_works("h263", (48, 64), 25.0)
    assert not encoders.encoder_works("no such encoder", (48, 64), 25.0)
