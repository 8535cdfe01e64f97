"""MQTT against a small broker: topics, states, last wills, and what waits while it is away."""

from __future__ import annotations

import json
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.mqtt_broker import Broker, Message
from stream_results import STARTED, descriptors, result

from bas_edge.errors import InputError, MissingExtraError
from bas_edge.video import EventRule, Mqtt, StreamEvent
from bas_edge.video.frames import StreamState
from bas_edge.video.sinks import mqtt_link
from bas_edge.video.sinks.event_rules import RuleEvent, RuleWatch


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_link, "_RECONNECT_S", (0.02, 0.05))


def state(of: StreamState, stream: str = "door") -> StreamEvent:
    return StreamEvent(stream, of, STARTED)


def of_topic(messages: list[Message], topic: str) -> list[dict[str, Any]]:
    return [json.loads(one.payload) for one in messages if one.topic == topic]


def rule_event(index: int = 7) -> RuleEvent:
    event = RuleWatch(EventRule("any")).see(result(index))
    assert event is not None
    return event


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("qos", [0, 1])
def test_results_states_and_events_have_their_topics(qos: int) -> None:
    with Broker() as broker:
        sink = Mqtt("127.0.0.1", broker.port, every="result", qos=qos, client_id="sill")
        sink.event(state("running"))
        broker.wait(lambda all_: len(all_) == 1)  # of states only the last one waits
        for index in range(3):
            sink.write(result(index))
        event = rule_event()
        sink.notify(event)
        sink.close(complete=True)
        messages = broker.wait(lambda all_: any(b"offline" in one.payload for one in all_))
    lines = of_topic(messages, "bas-edge/door/result")
    assert lines == [json.loads(json.dumps(result(index).to_dict())) for index in range(3)]
    assert of_topic(messages, "bas-edge/door/event") == [event.to_dict()]
    states = of_topic(messages, "bas-edge/door/state")
    assert states[0] == state("running").to_dict()
    assert states[-1] == {
        "event": "state", "stream": "door", "state": "offline", "reason": "closed",
    }  # fmt: skip
    assert {(one.qos, one.retain) for one in messages if one.topic.endswith("state")} == {(1, True)}
    assert {(one.qos, one.retain) for one in messages if one.topic.endswith("result")} == {
        (qos, False)
    }
    assert broker.logins[0].client_id == "sill-door"
    assert (sink.dropped, sink.problem) == (0, "")


def test_only_changes_by_default() -> None:
    with Broker() as broker:
        sink = Mqtt("127.0.0.1", broker.port)
        for index in range(6):
            sink.write(result(index, found=index >= 3))
        sink.close(complete=True)
        messages = broker.wait(lambda all_: any(b"offline" in one.payload for one in all_))
    assert [line["frame"] for line in of_topic(messages, "bas-edge/door/result")] == [3]


def test_the_broker_says_offline_when_the_device_is_gone_and_it_comes_back() -> None:
    with Broker() as broker:
        sink = Mqtt("127.0.0.1", broker.port)
        for stream in ("door", "yard"):
            sink.event(state("running", stream))
        broker.wait(lambda all_: len(all_) == 2)
        broker.cut()
        offline = {"event": "state", "state": "offline", "reason": "the device is gone"}
        for stream in ("door", "yard"):
            topic, will = f"bas-edge/{stream}/state", offline | {"stream": stream}

            def came_back(all_: list[Message], topic: str = topic, will: object = will) -> bool:
                states = of_topic(all_, topic)
                return will in states and states[-1]["state"] == "running"

            broker.wait(came_back)
        sink.close(complete=True)


def test_messages_wait_for_a_broker_that_is_away() -> None:
    port = free_port()
    sink = Mqtt("127.0.0.1", port, every="result", qos=1, queue_size=4)
    sink.event(state("connecting"))
    sink.event(state("running"))
    for index in range(10):
        sink.write(result(index))
    assert sink.dropped == 6
    with Broker(port) as broker:
        broker.wait(lambda all_: len(all_) >= 5)
        sink.close(complete=True)
        messages = broker.messages
    assert [line["frame"] for line in of_topic(messages, "bas-edge/door/result")] == [6, 7, 8, 9]
    assert [line["state"] for line in of_topic(messages, "bas-edge/door/state")] == [
        "running",
        "offline",
    ]


def test_closing_without_a_broker_counts_what_is_lost() -> None:
    before, threads = descriptors(), threading.active_count()
    sink = Mqtt("127.0.0.1", free_port(), every="result", close_s=0.2)
    for index in range(3):
        sink.write(result(index))
    sink.close(complete=False)
    assert sink.dropped == 3
    assert "cannot be reached" in sink.problem
    assert descriptors() <= before  # others may end meanwhile
    assert threading.active_count() <= threads


def test_a_broker_that_has_not_answered_is_a_problem() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        sink = Mqtt("127.0.0.1", silent.getsockname()[1], close_s=0.0)
        assert sink.problem == ""  # nothing to say yet
        sink.event(state("running"))
        assert "has not answered yet" in sink.problem
        sink.close(complete=False)
    assert "has not answered yet" in sink.problem


def test_events_after_closing_are_counted_and_connect_to_nothing() -> None:
    with Broker() as broker:
        sink = Mqtt("127.0.0.1", broker.port)
        sink.event(state("running"))
        broker.wait(lambda all_: len(all_) == 1)
        sink.close(complete=True)
        threads = threading.active_count()
        sink.notify(rule_event())
        sink.notify(replace(rule_event(), stream="yard"))
        assert threading.active_count() <= threads
        sink.close(complete=True)
        assert len(broker.logins) == 1
    assert sink.dropped == 2


def test_an_event_while_it_closes_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with Broker(answers=False) as broker:
        sink = Mqtt("127.0.0.1", broker.port, every="result", qos=1, close_s=0.5)
        sink.write(result())  # closing waits for the answer to this one
        broker.wait(lambda all_: len(all_) == 1)
        waits = mqtt_link.time.sleep
        events = [rule_event()]

        def sleep(seconds: float) -> None:
            if events:
                sink.notify(events.pop())
            waits(seconds)

        monkeypatch.setattr(mqtt_link.time, "sleep", sleep)
        sink.close(complete=True)
        messages = broker.wait(lambda all_: any(b"offline" in one.payload for one in all_))
    assert of_topic(messages, "bas-edge/door/event") == [rule_event().to_dict()]


def test_a_result_and_an_event_at_once_make_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Mqtt("127.0.0.1", free_port(), close_s=0.0)
    came = threading.Event()  # the second thread waits for the first, or is through

    class Lock:
        real = threading.Lock()

        def __enter__(self) -> None:
            if threading.current_thread() is second:
                came.set()
            self.real.acquire()

        def __exit__(self, *_: object) -> None:
            self.real.release()

    def notify() -> None:
        sink.notify(rule_event())
        came.set()

    def client(stream: str) -> Any:
        made.append(stream)
        if len(made) == 1:
            second.start()
            assert came.wait(20)
        return make(stream)

    made: list[str] = []
    make, second = sink._client, threading.Thread(target=notify)
    monkeypatch.setattr(sink, "_lock", Lock(), raising=False)
    monkeypatch.setattr(sink, "_client", client)
    sink.write(result())
    second.join()
    sink.close(complete=False)
    assert made == ["door"]
    assert sink.dropped == 2


def test_what_paho_cannot_understand_ends_nothing() -> None:
    no_topic = bytes([0x30, 0])
    with Broker(rubbish=[no_topic, no_topic]) as broker:
        sink = Mqtt("127.0.0.1", broker.port)
        sink.event(state("running"))
        broker.wait(lambda _: len(broker.logins) == 3 and not broker.rubbish)
        sink.notify(rule_event())
        messages = broker.wait(lambda all_: any(one.topic.endswith("event") for one in all_))
        sink.close(complete=True)
    assert of_topic(messages, "bas-edge/door/event") == [rule_event().to_dict()]
    assert (sink.dropped, sink.problem) == (0, "")


def test_the_password_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_CAM", "s3cret")
    with Broker(password="s3cret") as broker:
        sink = Mqtt("127.0.0.1", broker.port, username="cam", password_env="SECRET_OF_CAM")
        sink.event(state("running"))
        broker.wait(lambda all_: len(all_) == 1)
        sink.close(complete=True)
    assert (broker.logins[0].username, broker.logins[0].password) == ("cam", "s3cret")


def test_a_refused_login_is_an_error_that_shows_no_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BAS_EDGE_MQTT_PASSWORD", "wr0ng")
    with Broker(password="s3cret") as broker:
        sink = Mqtt("127.0.0.1", broker.port, username="cam", close_s=0.1)
        caught: InputError | None = None
        while caught is None:
            try:
                sink.write(result())
            except InputError as error:  # noqa: PERF203 (until the broker has answered)
                caught = error
        sink.notify(rule_event())  # on the thread of other sinks, which go on
        sink.close(complete=False)
    assert sink.dropped >= 1  # the event, and a result that came before the refusal
    assert "refuses the login of 'cam'" in str(caught)
    assert "BAS_EDGE_MQTT_PASSWORD" in str(caught.hint)
    assert "wr0ng" not in f"{caught} {caught.hint} {sink.problem}"


def test_a_stream_cannot_choose_its_topic() -> None:
    with Broker() as broker:
        sink = Mqtt("127.0.0.1", broker.port)
        sink.event(state("running", "../+/#"))
        (message,) = broker.wait(lambda all_: len(all_) == 1)
        sink.close(complete=True)
    assert message.topic.startswith("bas-edge/__")
    assert message.topic.count("/") == 2
    assert not set(message.topic) & set("+#")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": ""}, "no name and no address"),
        ({"topic": "all/+/{stream}"}, "the topic 'all/"),
        ({"topic": "all"}, "lacks the field 'stream'"),
        ({"topic": "all/{stream:d}"}, "cannot be filled in"),
        ({"topic": "{stream}\n"}, "the topic"),
        ({"topic": "{stream}" + "x" * 70_000}, "the topic"),
        ({"port": 0}, "the port 0 "),
        ({"port": -5}, "the port -5 "),
        ({"port": 700_000}, "the port 700000 "),
        ({"close_s": -1.0}, "close_s -1"),
        ({"close_s": float("nan")}, "close_s nan"),
        ({"qos": 3}, "qos 3"),
        ({"queue_size": 0}, "a queue of 0"),
        ({"ca_file": "x.pem"}, "tls is False"),
        ({"every": "frame"}, "every is 'frame'"),
    ],
)
def test_arguments_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Mqtt(**{"host": "127.0.0.1", **options})


@pytest.mark.parametrize(
    "host",
    ["mqtt://u:s3cret@broker", "u:s3cret@broker", "broker/s3cret", "s3cret..local", "s3cret\0"],
)
def test_hosts_that_cannot_be_are_not_shown(host: str) -> None:
    with pytest.raises(InputError, match="no name and no address") as caught:
        Mqtt(host)
    assert "s3cret" not in f"{caught.value!r} {caught.value.hint}"


@pytest.mark.parametrize("text", ["s3cret\n", "s3cret\udcff", "s3cret" * 20_000])
@pytest.mark.parametrize("what", ["user name", "password", "client_id"])
def test_secrets_that_cannot_be_sent_are_not_shown(
    what: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAS_EDGE_MQTT_PASSWORD", text if what == "password" else "")
    with pytest.raises(InputError, match=f"MQTT cannot use the {what}") as caught:
        Mqtt(
            "127.0.0.1",
            username=text if what == "user name" else "cam",
            client_id=text if what == "client_id" else None,
        )
    assert "s3cret" not in f"{caught.value!r} {caught.value.hint}"


def test_certificates_that_are_not_there_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.pem cannot be used"):
        Mqtt("127.0.0.1", tls=True, ca_file=str(tmp_path / "none.pem"))


def test_without_paho(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(MissingExtraError) as caught:
        Mqtt("127.0.0.1")
    assert caught.value.hint == "pip install 'bas-edge[mqtt]'"
