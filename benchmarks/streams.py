"""A real RTSP server, broken in every way a network and a camera break, and a client that copes.

    python -m benchmarks.streams faults --video FILE [--engine NAME.engine]

GStreamer's RTSP server plays the film with a number in each picture, through a proxy that kills,
stalls, damages and slows. Every frame that the client delivers must be a whole picture of the
film, and none may come twice; after every fault it must go on, or say why not. One JSON line per
fault; exit code 1 where one was not mastered.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

from bas_edge import Localizer
from bas_edge.errors import StreamAuthenticationError
from bas_edge.video import LiveOptions, Reconnect, Stream, open_source

from .fault_proxy import FaultProxy
from .harness import SkippedCaseError
from .rtsp_process import RtspProcess
from .stream_watch import Film, Watch

__all__ = ["FAULTS", "Lab", "Verdict", "main"]

SECRET = "pass-word"
QUICKLY = Reconnect(first_s=0.3, longest_s=1.0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one fault went.

    Attributes:
        fault: Its name.
        mastered: Everything was as it must be.
        frames: Delivered.
        false_frames: Of those, how many are no whole picture of the film.
        repeated: Of those, how many came twice, or backwards.
        gap_s: The longest gap that a frame reported.
        states: The stream's states, in order.
        said: Why it stalled, reconnected or ended: the last reason that it gave.
        missed: What did not happen.
    """

    fault: str
    mastered: bool
    frames: int
    false_frames: int
    repeated: int
    gap_s: float
    states: list[str]
    said: str
    missed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Lab:
    """What a fault has to play with. `missed` collects what should have happened."""

    server: RtspProcess
    proxy: FaultProxy
    watch: Watch
    missed: list[str] = field(default_factory=list)

    def expect(self, happened: bool, what: str) -> None:
        if not happened:
            self.missed.append(what)


def client(uri: str) -> Stream:
    """The client under test."""
    return open_source(
        uri,
        name="lab",
        policy="oldest",
        depth=8,
        stall_s=1.0,
        live=LiveOptions(connect_s=5.0, silence_s=3.0, hardware="off"),
        reconnect=QUICKLY,
    )


def restart(lab: Lab) -> None:
    """The server is gone, as after a power cut, and comes back."""
    lab.server.kill()
    lab.expect(lab.watch.until(lambda: "reconnecting" in lab.watch.states), "reconnecting")
    lab.server.start()
    lab.expect(lab.watch.until(lambda: any(seen.gap_s for seen in lab.watch.sights)), "a gap")


def stall(lab: Lab) -> None:
    """Nothing comes for a while; the connection stays."""
    lab.proxy.stalled = True
    lab.expect(lab.watch.until(lambda: "stalled" in lab.watch.states), "stalled")
    lab.proxy.stalled = False
    lab.expect(lab.watch.until(lambda: lab.watch.states[-1] == "running"), "running again")


def silence(lab: Lab) -> None:
    """Nothing comes for longer than the client puts up with."""
    lab.proxy.stalled = True
    lab.expect(lab.watch.until(lambda: "reconnecting" in lab.watch.states), "reconnecting")
    lab.proxy.stalled = False
    lab.expect(lab.watch.until(lambda: any(seen.gap_s for seen in lab.watch.sights)), "a gap")


def reset(lab: Lab) -> None:
    """The connection breaks; the server is well."""
    lab.proxy.kill()
    lab.expect(lab.watch.until(lambda: "reconnecting" in lab.watch.states), "reconnecting")
    lab.proxy.restart()
    lab.expect(lab.watch.until(lambda: any(seen.gap_s for seen in lab.watch.sights)), "a gap")


def flipped(lab: Lab) -> None:
    """Bytes of some packets are wrong."""
    for _ in range(6):
        lab.proxy.flip(3)
        lab.expect(lab.watch.more(15), "frames after the damage")


def lost(lab: Lab) -> None:
    """Some packets are missing."""
    for _ in range(6):
        lab.proxy.drop(3)
        lab.expect(lab.watch.more(15), "frames after the loss")


def slow(lab: Lab) -> None:
    """The network carries less than the camera sends."""
    lab.proxy.bytes_per_s = 60_000.0
    lab.expect(lab.watch.more(20), "frames on a slow network")
    lab.proxy.bytes_per_s = None


def resized(lab: Lab) -> None:
    """The camera changes its resolution."""
    lab.server.resize(320, 180)
    lab.expect(lab.watch.until(lambda: lab.watch.sights[-1].size == (180, 320)), "the new size")


def halves(lab: Lab) -> None:
    """Keyframes arrive as two halves: nothing that it could deliver would be whole."""
    lab.watch.until(lambda: False, within_s=4.0)


def refused(lab: Lab) -> None:
    """The password is wrong."""
    lab.expect(lab.watch.until(lambda: lab.watch.error is not None), "an error")
    kind = type(lab.watch.error)
    lab.expect(kind is StreamAuthenticationError, f"another error than {kind.__name__}")
    told = f"{lab.watch.error} {[event.reason for event in lab.watch.events]}"
    lab.expect(SECRET not in told, "the password left out of messages")


@dataclass(frozen=True, slots=True)
class Fault:
    """A name's meaning: what is done, how the server is started, who the client says it is."""

    do: Callable[[Lab], None]
    server: tuple[str, ...] = ()
    login: str = ""
    plays: bool = True  # frames come before the fault and after it


_USER = ("--user", "me", "--password", SECRET)
FAULTS = {
    "restart": Fault(restart),
    "reset": Fault(reset),
    "stall": Fault(stall),
    "silence": Fault(silence),
    "flipped": Fault(flipped),
    "lost": Fault(lost),
    "slow": Fault(slow),
    "resized": Fault(resized),
    "halves": Fault(halves, server=("--halves",), plays=False),
    "digest": Fault(reset, server=_USER, login=f"me:{SECRET}@"),
    "basic": Fault(reset, server=(*_USER, "--scheme", "basic"), login=f"me:{SECRET}@"),
    "refused": Fault(refused, server=_USER, login=f"me:{SECRET}-not@", plays=False),
}


def run_fault(
    name: str,
    film: Film,
    video: Path,
    python: Path,
    *,
    localizer: Localizer | None = None,
    lines: TextIO | None = None,
) -> Verdict:
    """Play one fault through.

    Raises:
        SkippedCaseError: The server cannot be started on this machine.
    """
    fault = FAULTS[name]
    with RtspProcess(video, python, *fault.server) as server, FaultProxy(server.port) as proxy:
        stream = client(f"rtsp://{fault.login}127.0.0.1:{proxy.port}/live")
        with Watch(stream, film, localizer, lines) as watch:
            lab = Lab(server, proxy, watch)
            if fault.plays:
                lab.expect(watch.more(20), "frames before the fault")
            fault.do(lab)
            if fault.plays:
                lab.expect(watch.more(40), "frames after the fault")
    return _verdict(name, watch, lab.missed)


def _verdict(name: str, watch: Watch, missed: list[str]) -> Verdict:
    false = sum(not seen.true for seen in watch.sights)
    repeated = watch.repeated()
    bad = ("stalled", "reconnecting", "ended")
    reasons = [event.reason for event in watch.events if event.state in bad]
    reasons = [reason for reason in reasons if reason not in ("", "closed")]
    return Verdict(
        fault=name,
        mastered=not (missed or false or repeated),
        frames=len(watch.sights),
        false_frames=false,
        repeated=repeated,
        gap_s=round(max((seen.gap_s for seen in watch.sights), default=0.0), 2),
        states=watch.states,
        said=reasons[-1] if reasons else "",
        missed=missed,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where a fault was not mastered; 77 where the server is not installed."""
    options = _parser().parse_args(arguments)
    film = Film(options.video)
    with contextlib.ExitStack() as opened:
        localizer = opened.enter_context(Localizer(options.engine)) if options.engine else None
        lines = opened.enter_context(options.lines.open("w")) if options.lines else None
        failed = []
        for name in options.fault or FAULTS:
            try:
                verdict = run_fault(
                    name,
                    film,
                    options.video,
                    options.system_python,
                    localizer=localizer,
                    lines=lines,
                )
            except SkippedCaseError as error:
                print(f"skipped: {error}", file=sys.stderr)
                return 77
            print(json.dumps(asdict(verdict)), flush=True)
            failed += [] if verdict.mastered else [name]
    if failed:
        print(f"not mastered: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams")
    verbs = parser.add_subparsers(dest="verb", required=True)
    faults = verbs.add_parser("faults", help="break a real RTSP server, and watch a client")
    faults.add_argument("--video", type=Path, required=True, help="H.264 in mp4, 16:9")
    faults.add_argument("--engine", type=Path, help="localizes every frame")
    faults.add_argument("--lines", type=Path, help="frames and states go there as JSON lines")
    faults.add_argument("--fault", action="append", choices=list(FAULTS), help="default: all")
    faults.add_argument("--system-python", type=Path, default=Path("/usr/bin/python3"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
