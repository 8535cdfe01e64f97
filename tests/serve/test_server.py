"""Start, stop, failure, health and metrics."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from served import LONG_S, TOKEN, Served, a_camera, glow, our_threads, until
from websockets.exceptions import ConnectionClosed

from bas_edge import Localizer
from bas_edge.errors import BackendError, InputError
from bas_edge.serve import Controls, LiveViews, ServeOptions, Server, serve
from bas_edge.video import FrameResult, Pipeline, StreamEvent, open_source

Serve = Callable[..., AbstractContextManager[Served]]


def test_stopping_lets_every_viewer_go_and_leaves_no_thread(serve: Serve) -> None:
    before = our_threads()
    with serve() as running, running.request("GET", "/streams/door.mjpeg") as video:
        with running.page() as page:
            page.watch()
            page.picture()
            assert video.read(2) == b"--"
            assert our_threads() > before
            running.server.stop()
            with pytest.raises(ConnectionClosed):
                page.picture()
        running.server.stop()  # safe to call twice
    until(lambda: our_threads() <= before)


def test_a_port_in_use_is_said_in_a_sentence(serve: Serve) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(InputError, match=f"Port {port} of 127.0.0.1 is in use") as caught,
            serve(port=port),
        ):
            pass
    assert "--port" in str(caught.value.hint)


def test_an_address_of_another_machine_is_said_in_a_sentence(serve: Serve) -> None:
    with pytest.raises(InputError, match=r"Cannot listen on port 0 of '192\.0\.2\.1'"):
        serve(host="192.0.2.1").__enter__()


def test_the_address_to_open_holds_the_token_where_no_server_sees_it(serve: Serve) -> None:
    with serve() as running:
        assert running.server.url == f"http://127.0.0.1:{running.port}/#token={TOKEN}"
        assert TOKEN not in running.server.address
    with serve(token=None) as running:
        assert running.server.url == f"http://127.0.0.1:{running.port}/"


class FullDisk:
    """A sink that fails at once."""

    failed_at: int | None = None

    def write(self, result: FrameResult) -> None:
        self.failed_at = result.index
        raise OSError(f"/secret/place is full at frame {result.index}")

    def event(self, event: StreamEvent) -> None:
        pass

    def close(self, *, complete: bool) -> None:
        pass


class HangingDisk(FullDisk):
    """A sink that does not come back before it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.held: FrameResult | None = None

    def write(self, result: FrameResult) -> None:
        self.held = result
        self.go.wait(LONG_S)


def test_health_is_failing_once_a_stream_ended_with_an_error(serve: Serve, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    with serve(a_camera(), open_source(broken, name="secret name")) as running:
        until(lambda: running.ask("GET", "/healthz", token=None).status == 503)
        health = running.ask("GET", "/healthz", token=None)
        assert health.json == {
            "status": "failing",
            "reasons": ["1 of 2 streams ended with an error."],
        }
        status = running.ask("GET", "/api/streams/secret%20name").json
        assert (status["failed"], status["state"]) == (True, "ended")


def test_health_is_failing_once_a_program_that_gives_frames_raised(serve: Serve) -> None:
    """Its error is none of ours, so no event carries it."""

    def frames() -> Iterator[NDArray[np.uint8]]:
        yield np.zeros((8, 8, 3), dtype=np.uint8)
        raise ValueError("out of paper")

    with serve(a_camera(), open_source(frames(), name="printer")) as running:
        until(lambda: running.ask("GET", "/healthz", token=None).status == 503)
        status = running.ask("GET", "/api/streams/printer").json
        assert (status["failed"], status["state"]) == (True, "ended")
        assert "out of paper" in status["reason"]


def test_health_is_failing_once_a_sink_failed(serve: Serve) -> None:
    with serve(a_camera()) as running:
        disk = FullDisk()
        running.pipeline.add(a_camera("gate"), sinks=[disk])
        until(lambda: running.ask("GET", "/healthz", token=None).status == 503)
        assert running.ask("GET", "/healthz", token=None).json == {
            "status": "failing",
            "reasons": ["Sinks and smoothers that failed: 1."],
        }
        assert running.ask("GET", "/api/streams").json["problems"] == [
            f"FullDisk: /secret/place is full at frame {disk.failed_at}"
        ]


class Messenger(FullDisk):
    """A sink that does without its broker, as some of ours do."""

    problem: str | None = None
    dropped = 0

    def write(self, result: FrameResult) -> None:
        pass


def test_a_sink_that_waits_for_its_broker_is_a_problem_and_no_reason_to_restart(
    serve: Serve,
) -> None:
    messengers = [Messenger(), Messenger()]
    with serve(a_camera()) as running:
        running.pipeline.add(a_camera("gate"), sinks=[*messengers, FullDisk()])
        messengers[0].problem = "The broker at secret:1883 cannot be reached."
        messengers[0].dropped, messengers[1].dropped = 3, 4
        until(lambda: samples(running)["bas_edge_stream_results_missed_total", "gate"] > 5)
        values = samples(running)
        problems = running.ask("GET", "/api/streams").json["problems"]
        assert "Messenger: The broker at secret:1883 cannot be reached." in problems
        assert not any("secret" in label for key in values for label in key)
        assert values["bas_edge_sinks_troubled", "Messenger"] == 1
        assert values["bas_edge_sinks_failed", "Messenger"] == 0
        assert values["bas_edge_sinks_failed", "FullDisk"] == 1
        assert values["bas_edge_sink_dropped_total", "Messenger"] == 7
        assert values["bas_edge_stream_results_missed_total", "door"] == 0
        (reason,) = running.ask("GET", "/healthz", token=None).json["reasons"]
        assert reason.endswith(": 1."), "the sink that failed alone"
        messengers[0].problem = None
        until(lambda: len(running.ask("GET", "/api/streams").json["problems"]) == 1)


def test_health_is_failing_while_a_sink_hangs(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    sink = HangingDisk()
    with serve(a_camera()) as running:
        monkeypatch.setattr(running.pipeline._busy, "_clock", lambda: now[0])
        running.pipeline.add(a_camera("gate"), sinks=[sink])
        until(lambda: sink.held is not None)
        now[0] += 40.0  # what else is at work comes back and begins anew
        said = ["The sink HangingDisk has not come back for 40 s."]
        until(lambda: running.ask("GET", "/healthz", token=None).json["reasons"] == said)
        assert running.ask("GET", "/healthz", token=None).status == 503
        sink.go.set()
        until(lambda: running.ask("GET", "/healthz", token=None).status == 200)


def test_health_is_ok_where_a_stream_came_to_its_end(serve: Serve) -> None:
    with serve(open_source([glow(0)] * 3, name="short", policy="wait")) as running:
        path = "/api/streams/short"
        until(lambda: running.ask("GET", path).json["state"] == "ended")
        until(lambda: (running.ask("GET", path).json["latest"] or {}).get("frame") == 2)
        assert running.ask("GET", "/healthz", token=None).json["status"] == "ok"
        with running.page() as page:
            page.watch("short")
            assert page.picture().header["frame"] == 2, "the last picture can still be seen"


def run_to_its_end(engine: Path, then: Callable[[threading.Event], None]) -> Pipeline:
    """`serve`, and what happens once there is a result; it is given what stops the server."""
    views, stop = LiveViews(), threading.Event()
    with Localizer(engine, spin=False, threads=1) as localizer:
        pipeline = Pipeline(localizer)
        pipeline.add(a_camera(), sinks=[views])

        def started(_: Server) -> None:
            until(lambda: views.newest("door") is not None)
            then(stop)

        options = ServeOptions(token=TOKEN, port=0)
        controls = Controls(pipeline, engine, views.log)
        serve(pipeline, views, controls, options, started=started, stop=stop)
    return pipeline


def test_serving_ends_when_it_is_told_to_and_everything_is_closed(engine: Path) -> None:
    before = our_threads()
    pipeline = run_to_its_end(engine, threading.Event.set)
    assert pipeline.stats().results > 0
    until(lambda: our_threads() <= before)


def test_a_second_signal_does_not_disturb_the_closing(engine: Path) -> None:
    class Clip(FullDisk):
        """A file that is finished while somebody is impatient."""

        finished = False

        def write(self, result: FrameResult) -> None:
            pass

        def close(self, *, complete: bool) -> None:  # noqa: ARG002  (the protocol's)
            os.kill(os.getpid(), signal.SIGTERM)
            self.finished = True

    clip, views = Clip(), LiveViews()
    disturbed: list[int] = []
    former = signal.signal(signal.SIGTERM, lambda number, _: disturbed.append(number))
    try:
        with Localizer(engine, spin=False, threads=1) as localizer:
            pipeline = Pipeline(localizer)
            pipeline.add(a_camera(), sinks=[views, clip])
            options = ServeOptions(token=TOKEN, port=0)
            controls = Controls(pipeline, engine, views.log)
            serve(
                pipeline,
                views,
                controls,
                options,
                started=lambda _: os.kill(os.getpid(), signal.SIGTERM),
            )
    finally:
        signal.signal(signal.SIGTERM, former)
    assert (clip.finished, disturbed) == (True, [])


def test_an_engine_that_fails_ends_the_server_with_its_error(
    engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BackendError("the network caught fire")

    with pytest.raises(BackendError, match="caught fire"):
        run_to_its_end(engine, lambda _: monkeypatch.setattr(Localizer, "run_batch", fail))


def samples(running: Served, **options: object) -> dict[tuple[str, ...], float]:
    text = running.ask("GET", "/metrics", **options).content.decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_what_prometheus_reads(serve: Serve) -> None:
    with serve(a_camera('por"ch\n\\'), a_camera()) as running:
        for name in ("door", 'por"ch\n\\'):
            until(lambda name=name: samples(running)["bas_edge_stream_found_total", name] > 5)
        running.ask("GET", "/api/streams", token=None)
        values = samples(running)
    assert values["bas_edge_stream_state", "running", "door"] == 1
    assert values["bas_edge_stream_state", "stalled", "door"] == 0
    assert values["bas_edge_stream_found_total", 'por"ch\n\\'] > 0
    count = values["bas_edge_stream_age_seconds_count", "door"]
    assert count == values["bas_edge_stream_age_seconds_bucket", "+Inf", "door"]
    assert abs(count - values["bas_edge_stream_results_total", "door"]) <= 1, "it runs"
    assert 0 < values["bas_edge_stream_age_seconds_sum", "door"] < LONG_S * count
    assert values["bas_edge_stage_seconds_bucket", "10.0", "infer"] > 0
    assert values["bas_edge_requests_refused_total", "token"] == 1
    assert values["bas_edge_viewers",] == 0
    assert values["bas_edge_uptime_seconds",] > 0
    assert [key for key in values if key[0] == "bas_edge_info"] == [
        ("bas_edge_info", "onnxruntime", "tiny", "0.1.0")
    ]


def test_metrics_are_open_where_that_was_asked_for_and_nothing_else_is(serve: Serve) -> None:
    with serve(open_metrics=True) as running:
        assert samples(running, token=None)["bas_edge_viewers",] == 0
        assert running.ask("GET", "/api/streams", token=None).status == 401
