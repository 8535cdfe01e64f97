"""Results, states and events published to an MQTT broker."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import Any

from bas_edge._require import require
from bas_edge.errors import InputError
from bas_edge.video.frames import FrameResult, StreamEvent
from bas_edge.video.sinks.event_rules import RuleEvent
from bas_edge.video.sinks.file_names import NameTemplate, safe_name
from bas_edge.video.sinks.json_lines import json_line
from bas_edge.video.sinks.result_filter import Every, ResultFilter

__all__ = ["Mqtt"]

_KEEPALIVE_S = 30  # a broker takes a silent device for dead after one and a half of these
_RECONNECT_S = (1, 60)  # the first wait, which doubles, and the longest
_BAD_LOGIN = (134, 135)  # reason codes of MQTT 5, to which paho maps those of 3.1.1


class Mqtt:
    """A sink that publishes JSON (MQTT 3.1.1), the objects of docs/jsonl.md.

    Each stream has a connection of its own, and below its topic: `/result`, `/state` (retained; the
    broker itself says "offline" there when the device is gone) and `/event`.

    A connection that is lost is made again for as long as it takes. Meanwhile messages wait; beyond
    `queue_size` a stream, the oldest are dropped and counted. Of states only the last one waits.

    Args:
        host: The broker.
        port: By default 1883, or 8883 with TLS.
        topic: A template with {stream}.
        every: "change" publishes when something is found, lost, or another class; "result"
            publishes every frame; "event" publishes no results.
        qos: Of results and events, 0 to 2: at most once, at least once, exactly once.
        tls: Encrypt, and check the broker's certificate.
        ca_file: Certificates to trust instead of the system's; needs `tls`.
        username: To log in with.
        password_env: The environment variable that holds the password.
        client_id: What each connection calls itself, followed by the stream. By default, the broker
            chooses.
        queue_size: How many messages of a stream may wait.
        close_s: How long closing may take to publish what waits.

    Raises:
        InputError: An argument cannot be used, or the broker refuses the first login.
        MissingExtraError: paho-mqtt is not installed.
    """

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        topic: str = "bas-edge/{stream}",
        every: Every = "change",
        qos: int = 0,
        tls: bool = False,
        ca_file: str | None = None,
        username: str | None = None,
        password_env: str = "BAS_EDGE_MQTT_PASSWORD",
        client_id: str | None = None,
        queue_size: int = 1000,
        close_s: float = 5.0,
    ) -> None:
        self._paho: Any = require(
            "paho.mqtt.client", extra="mqtt", purpose="Publishing to an MQTT broker"
        )
        self._topic = NameTemplate(topic, allowed=("stream",), required=("stream",))
        if not host or qos not in (0, 1, 2) or queue_size < 1 or set(topic) & set("+#\0"):
            raise InputError(
                f"MQTT cannot use the host {host!r}, the topic {topic!r}, qos {qos} and a queue of "
                f"{queue_size}.",
                hint="A topic has no + or #, qos is 0, 1 or 2, and the queue holds at least 1.",
            )
        if ca_file is not None and not tls:
            raise InputError("ca_file is given, but tls is False.", hint="Pass tls=True.")
        self._filter = ResultFilter(every)
        self._host, self._port = host, port or (8883 if tls else 1883)
        self._tls, self._ca_file, self._client_id = tls, ca_file, client_id
        self._username, self._password_env = username, password_env
        self._qos, self._queue_size, self._close_s = qos, queue_size, close_s
        self._links: dict[str, _Link] = {}

    @property
    def dropped(self) -> int:
        """Messages of all streams that were never published."""
        return sum(link.dropped for link in self._links.values())

    @property
    def problem(self) -> str | None:
        """Why a connection is missing now; None while all are there."""
        return next((one.problem for one in self._links.values() if one.problem), None)

    def write(self, result: FrameResult) -> None:
        """Publish the result, where `every` asks for it."""
        link = self._link(result.stream)
        if self._filter.passes(result):
            link.publish("result", json_line(result.to_dict()))
        else:
            link.publish_waiting()

    def event(self, event: StreamEvent) -> None:
        """Publish the state, retained."""
        self._link(event.stream).set_state(json_line(event.to_dict()))

    def notify(self, event: RuleEvent) -> None:
        """Publish the event of a rule: `Clips(…, on_event=mqtt.notify)`."""
        self._link(event.stream).publish("event", json_line(event.to_dict()))

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 (messages have no end)
        """Publish what waits for at most `close_s`, say "offline", and disconnect."""
        until = time.monotonic() + self._close_s
        for stream, link in self._links.items():
            link.set_state(_offline(stream, "closed"))
        for link in self._links.values():
            link.close(until)

    def _link(self, stream: str) -> _Link:
        link = self._links.get(stream)
        if link is None:
            client = self._client(stream)
            topic = self._topic.fill(stream=stream)
            link = _Link(self._paho, client, topic, self._qos, self._queue_size)
            self._links[stream] = link
            link.open(self._host, self._port, self._tls, _offline(stream, "the device is gone"))
        link.check_login(self._username, self._password_env)
        return link

    def _client(self, stream: str) -> Any:
        name = "" if self._client_id is None else f"{self._client_id}-{safe_name(stream)}"
        client = self._paho.Client(self._paho.CallbackAPIVersion.VERSION2, client_id=name)
        client.reconnect_delay_set(*_RECONNECT_S)
        if self._username is not None:
            client.username_pw_set(self._username, os.environ.get(self._password_env))
        if self._tls:
            try:
                client.tls_set(ca_certs=self._ca_file)
            except OSError as error:
                raise InputError(
                    f"The certificates in {self._ca_file} cannot be used: {error}."
                ) from None
        return client


class _Link:
    """The connection of one stream. Paho's thread calls `_connected` and `_failed`."""

    def __init__(self, paho: Any, client: Any, topic: str, qos: int, queue_size: int) -> None:
        self._paho, self._client, self._topic, self._qos = paho, client, topic, qos
        self._queue_size = queue_size
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._on_the_way: deque[tuple[Any, int]] = deque()  # paho's message infos, and their qos
        self._state: bytes | None = None
        self._login_refused = self._was_connected = False
        self.dropped = 0
        self.problem: str | None = None

    def open(self, host: str, port: int, tls: bool, will: bytes) -> None:
        self._tls = tls
        self._where = f"{host}:{port}"
        self._client.will_set(f"{self._topic}/state", will, qos=1, retain=True)
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._failed
        self._client.on_disconnect = self._lost
        self._client.connect_async(host, port, _KEEPALIVE_S)
        self._client.loop_start()

    def publish(self, kind: str, message: bytes) -> None:
        with self._lock:
            if len(self._waiting) >= self._queue_size:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append((f"{self._topic}/{kind}", message))
            self._send()

    def publish_waiting(self) -> None:
        with self._lock:
            if self._waiting:
                self._send()

    def set_state(self, state: bytes) -> None:
        with self._lock:
            self._state = state
            if self._client.is_connected():
                self._send_state()

    def check_login(self, username: str | None, password_env: str) -> None:
        if self._login_refused and not self._was_connected:
            raise InputError(
                f"The MQTT broker at {self._where} refuses the login"
                + (" without a name." if username is None else f" of '{username}'."),
                hint=f"Check the user name, and the password in {password_env}.",
            )

    def close(self, until: float) -> None:
        while time.monotonic() < until and (self._client.is_connected() or not self.problem):
            with self._lock:
                self._send()
                if self._was_connected and not self._waiting and not self._on_the_way:
                    break
            time.sleep(0.01)
        with self._lock:
            self.dropped += len(self._waiting) + len(self._on_the_way)
            self._waiting.clear()
            self._on_the_way.clear()
        self._client.disconnect()
        self._client.loop_stop()
        self._client = None  # its sockets go with it

    def _send(self) -> None:
        """Hand paho what waits, as far as it gets rid of it; the lock is held."""
        while self._on_the_way and self._arrived(*self._on_the_way[0]):
            self._on_the_way.popleft()
        while self._waiting and self._client.is_connected():
            if len(self._on_the_way) >= self._queue_size + 2:  # two states
                return
            topic, message = self._waiting.popleft()
            info = self._client.publish(topic, message, qos=self._qos)
            self._on_the_way.append((info, self._qos))

    def _send_state(self) -> None:
        info = self._client.publish(f"{self._topic}/state", self._state, qos=1, retain=True)
        self._on_the_way.append((info, 1))

    def _arrived(self, info: Any, qos: int) -> bool:
        """Whether this one is published, or lost, which is counted."""
        try:
            return bool(info.is_published())
        except (RuntimeError, ValueError):
            # Of a message with qos 1 or 2 paho keeps a copy, which it sends when it is back.
            self.dropped += not (qos and info.rc == self._paho.MQTT_ERR_NO_CONN)
            return True

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:  # noqa: ARG002 (paho's signature)
        with self._lock:
            if reason.is_failure:
                self._login_refused = reason.value in _BAD_LOGIN
                self.problem = f"The MQTT broker at {self._where} says: {reason}."
                return
            self.problem, self._login_refused, self._was_connected = None, False, True
            if self._state is not None:
                self._send_state()  # the broker may have said "offline" since
            self._send()

    def _failed(self, client: Any, data: Any) -> None:  # noqa: ARG002 (paho's signature)
        distrust = ", or its certificate is not trusted" if self._tls else ""
        self.problem = f"The MQTT broker at {self._where} cannot be reached{distrust}."

    def _lost(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:  # noqa: ARG002 (paho's signature)
        if self.problem is None and reason.is_failure:
            self.problem = f"The MQTT broker at {self._where} was lost: {reason}."


def _offline(stream: str, reason: str) -> bytes:
    return json_line({"event": "state", "stream": stream, "state": "offline", "reason": reason})
