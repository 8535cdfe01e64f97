"""Results, states and events published to an MQTT broker."""

from __future__ import annotations

import math
import os
import threading
import time
from typing import Any

from bas_edge._require import require
from bas_edge.errors import InputError
from bas_edge.video.frames import FrameResult, StreamEvent
from bas_edge.video.sinks.certificates import tls_context
from bas_edge.video.sinks.event_rules import RuleEvent
from bas_edge.video.sinks.file_names import NameTemplate, safe_name
from bas_edge.video.sinks.json_lines import json_bytes
from bas_edge.video.sinks.mqtt_link import MqttLink
from bas_edge.video.sinks.result_filter import Every, ResultFilter

__all__ = ["Mqtt"]

_LONGEST_BYTES = 60_000  # of a text; MQTT allows 65,535


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
        longest = self._topic.fill(stream="x" * 80)
        if qos not in (0, 1, 2) or queue_size < 1 or set(topic) & set("+#") or not _usable(longest):
            raise InputError(
                f"MQTT cannot use the topic {topic[:80]!r}, qos {qos} and a queue of {queue_size}.",
                hint="A topic has no + or #, qos is 0, 1 or 2, and the queue holds at least 1.",
            )
        if (port is not None and not 1 <= port <= 65535) or not 0 <= close_s < math.inf:
            raise InputError(
                f"MQTT cannot use the port {port} and close_s {close_s:g}.",
                hint="A port is 1 to 65535, by default 1883, or 8883 with TLS; close_s is seconds.",
            )
        if ca_file is not None and not tls:
            raise InputError("ca_file is given, but tls is False.", hint="Set tls too.")
        _check_host(host)
        self._filter = ResultFilter(every)
        self._host, self._port = host, port or (8883 if tls else 1883)
        self._tls = tls_context(ca_file) if tls else None
        self._username, self._password_env = username, password_env
        self._password = None if username is None else os.environ.get(password_env)
        _check_text("user name", username)
        _check_text(f"password in {password_env}", self._password)
        _check_text("client_id", client_id)
        self._client_id = client_id
        self._qos, self._queue_size, self._close_s = qos, queue_size, close_s
        self._lock = threading.Lock()  # of the links; results and events come on several threads
        self._links: dict[str, MqttLink] = {}
        self._closed = False

    @property
    def dropped(self) -> int:
        """Messages of all streams that were never published."""
        return sum(link.dropped for link in self._all_links())

    @property
    def problem(self) -> str:
        """Why a connection is missing now, in a sentence; "" while all are there."""
        return next((link.problem for link in self._all_links() if link.problem), "")

    def write(self, result: FrameResult) -> None:
        """Publish the result, where `every` asks for it."""
        link = self._link(result.stream)
        link.check_login(self._username, self._password_env)
        if self._filter.passes(result):
            link.publish("result", json_bytes(result.to_dict()))
        else:
            link.publish_waiting()

    def event(self, event: StreamEvent) -> None:
        """Publish the state, retained."""
        link = self._link(event.stream)
        link.check_login(self._username, self._password_env)
        link.set_state(json_bytes(event.to_dict()))

    def notify(self, event: RuleEvent) -> None:
        """Publish the event of a rule: `Clips(…, on_event=mqtt.notify)`.

        From any thread. What cannot be published is counted, also after `close`.
        """
        self._link(event.stream).publish("event", json_bytes(event.to_dict()))

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 (messages have no end)
        """Publish what waits for at most `close_s`, say "offline", and disconnect."""
        until = time.monotonic() + self._close_s
        with self._lock:
            self._closed = True
        for link in self._all_links():
            link.say_offline()
        for link in self._all_links():
            link.close(until)

    def _all_links(self) -> list[MqttLink]:
        with self._lock:
            return list(self._links.values())

    def _link(self, stream: str) -> MqttLink:
        with self._lock:
            link = self._links.get(stream)
            if link is None:
                topic = self._topic.fill(stream=stream)
                link = MqttLink(stream, topic, qos=self._qos, queue_size=self._queue_size)
                self._links[stream] = link
                if not self._closed:  # one that is not open counts what it gets as dropped
                    tls = self._tls is not None
                    link.open(self._client(stream), self._host, self._port, tls=tls)
            return link

    def _client(self, stream: str) -> Any:
        name = "" if self._client_id is None else f"{self._client_id}-{safe_name(stream)}"
        client = self._paho.Client(self._paho.CallbackAPIVersion.VERSION2, client_id=name)
        if self._username is not None:
            client.username_pw_set(self._username, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        return client


def _check_host(host: str) -> None:
    """Refuse what is no name or address; it may be a URL, and hold a password."""
    try:
        named = bool(host.encode("idna"))
    except UnicodeError:
        named = False
    port_in_it = host.count(":") == 1  # an IPv6 address has more
    if not named or not host.isprintable() or set(host) & set(" /@?#") or port_in_it:
        raise InputError(
            "The host of the MQTT broker is no name and no address (it is not shown here, as it "
            "may hold a password).",
            hint='Write it alone: host = "broker.local"; port, tls and username have keys of their '
            "own.",
        )


def _check_text(what: str, text: str | None) -> None:
    if text is not None and not _usable(text):
        raise InputError(
            f"MQTT cannot use the {what}: it has a character that is no text, such as a line "
            f"break, or more than {_LONGEST_BYTES:,} bytes.",
            hint="It is not shown here, as it may be secret.",
        )


def _usable(text: str) -> bool:
    """Whether it can be encoded and sent."""
    return text.isprintable() and len(text.encode()) <= _LONGEST_BYTES
