"""The decoder of the hardware is taken where it works; otherwise it is said why not."""

from __future__ import annotations

from collections.abc import Callable, Container
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import pytest
from av.codec import hwaccel
from numbered_frames import numbered

from bas_edge.errors import InputError, StreamCodecError
from bas_edge.video import LiveOptions
from bas_edge.video.sources import hardware
from bas_edge.video.sources.live_capture import LiveCapture

ALL = frozenset({"cuda", "vaapi", "drm"})
NONE: frozenset[str] = frozenset()
REFUSED = av.error.PermissionError(1, "Operation not permitted")


def machine(monkeypatch: pytest.MonkeyPatch, devices: list[str], works: Container[str]) -> None:
    """Pretend that these device files exist, and which decoders work."""
    monkeypatch.setattr(Path, "exists", lambda self: str(self) in devices)
    monkeypatch.setattr(hwaccel, "hwdevices_available", lambda: ["cuda", "vaapi", "drm"])
    monkeypatch.setattr(
        hardware, "_refusal", lambda name: "" if name in works else "Operation not permitted"
    )


def test_auto_takes_the_first_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    both = ["/dev/nvidiactl", "/dev/dri/renderD128"]
    monkeypatch.setattr(hardware, "_accelerator", lambda name, fallback: (name, fallback))
    machine(monkeypatch, both, ALL)
    assert hardware.decoder("auto") == (("cuda", True), "")
    machine(monkeypatch, both, frozenset({"vaapi"}))
    assert hardware.decoder("auto") == (("vaapi", True), "")
    machine(monkeypatch, both[:1], NONE)
    assert hardware.decoder("auto") == (None, " (cuda: Operation not permitted)")
    machine(monkeypatch, [], ALL)
    assert hardware.decoder("auto") == (None, "")
    assert hardware.decoder("off") == (None, "")
    assert hardware.decoder("drm") == (("drm", False), "")


def test_one_that_is_named_must_work(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, ["/dev/nvidiactl"], NONE)
    with pytest.raises(InputError, match=r"cuda of this machine does not work: Operation not"):
        hardware.decoder("cuda")
    with pytest.raises(InputError, match=r"decodes with cuda, vaapi, drm, not vdpau"):
        hardware.decoder("vdpau")
    unknown: Any = "gpu"
    with pytest.raises(InputError, match=r"hardware is 'gpu', but must be one of auto, off"):
        hardware.decoder(unknown)


def test_why_a_driver_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise REFUSED

    monkeypatch.setattr(hardware, "require", lambda *_, **__: _Pretended(refuse))
    assert hardware._refusal("cuda") == "Operation not permitted"


class _Pretended:
    """`av` and `av.codec.hwaccel`, whose CodecContext cannot be patched: it is compiled."""

    def __init__(self, create: Callable[..., None]) -> None:
        self.error = av.error
        self.CodecContext = type("CodecContext", (), {"create": staticmethod(create)})
        self.HWAccel = hwaccel.HWAccel


def test_a_driver_that_refuses_leaves_software_and_says_so(
    monkeypatch: pytest.MonkeyPatch, rtsp: ModuleType
) -> None:
    with rtsp.RtspServer(numbered(10)) as server:
        machine(monkeypatch, ["/dev/nvidiactl"], NONE)
        capture = LiveCapture(server.url, LiveOptions(options=(("analyzeduration", "100000"),)))
        capture.close()
        expected = "h264 128×96, decoded in software (cuda: Operation not permitted)"
        assert capture.details == expected


def test_a_stream_that_the_named_decoder_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    def pretended(*_: Any, **__: Any) -> None:
        raise RuntimeError("Hardware accelerated decode requested but no stream is compatible")

    machine(monkeypatch, [], ALL)
    monkeypatch.setattr(av, "open", pretended)
    with pytest.raises(StreamCodecError, match="sends no video that drm decodes"):
        LiveCapture("rtsp://h/", LiveOptions(hardware="drm"))
