"""The connection of one stream to an MQTT broker, and what waits for it."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from bas_edge.errors import InputError
from bas_edge.video.sinks.json_lines import json_bytes

__all__ = ["MqttLink"]

_KEEPALIVE_S = 30  # a broker takes a silent device for dead after one and a half of these
_RECONNECT_S = (1, 60)  # the first wait, which doubles, and the longest
_BAD_LOGIN = (134, 135)  # reason codes of MQTT 5, to which paho maps those of 3.1.1
_NO_CONNECTION = 4  # paho's MQTT_ERR_NO_CONN


class MqttLink:
    """Publishes below one topic, from any thread. What it cannot publish, it counts.

    Args:
        stream: Whose messages these are.
        topic: Where they begin.
        qos: Of results and events.
        queue_size: How many of them may wait.

    Attributes:
        dropped: Messages that were never published.
        problem: Why there is no connection, in a sentence; "" where there is one, and before
            `open`.
    """

    def __init__(self, stream: str, topic: str, *, qos: int, queue_size: int) -> None:
        self._stream, self._topic, self._qos, self._queue_size = stream, topic, qos, queue_size
        self._client: Any = None  # None before opening and after closing
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._on_the_way: deque[tuple[Any, int]] = deque()  # paho's message infos, and their qos
        self._state: bytes | None = None
        self._login_refused = self._was_connected = False
        self.dropped = 0
        self.problem = ""

    def open(self, client: Any, host: str, port: int, *, tls: bool) -> None:
        """Connect on a thread of paho's, and again whenever the connection is lost.

        Args:
            client: A `paho.mqtt.client.Client` that was not used before.
            host: The broker.
            port: Of the broker.
            tls: Whether the client encrypts, for what is said of failures.
        """
        self._tls, self._address = tls, (host, port)
        self._where = f"The MQTT broker at {host}:{port}"
        self.problem = self._unanswered = f"{self._where} has not answered yet."
        self._client = client
        client.reconnect_delay_set(*_RECONNECT_S)
        will = self._offline("the device is gone")
        client.will_set(f"{self._topic}/state", will, qos=1, retain=True)
        client.on_connect = self._connected
        client.on_connect_fail = self._failed
        client.on_disconnect = self._lost
        # What the thread of loop_start calls. On a thread of ours, where paho has none of its own,
        # it would write to the network in publish, which then may wait.
        client.loop_forever = self._run
        client.connect_async(host, port, _KEEPALIVE_S)
        client.loop_start()

    def publish(self, kind: str, message: bytes) -> None:
        """Send a message, now or when there is a connection. Never waits, never raises."""
        with self._lock:
            if self._client is None:
                self.dropped += 1
                return
            if len(self._waiting) >= self._queue_size:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append((f"{self._topic}/{kind}", message))
            self._send()

    def publish_waiting(self) -> None:
        """Send what waits, as far as it can be."""
        with self._lock:
            if self._waiting and self._client is not None:
                self._send()

    def set_state(self, state: bytes) -> None:
        """Send a state, which is retained; of those that wait only the last is sent."""
        with self._lock:
            self._state = state
            if self._client is not None and self._client.is_connected():
                self._send_state()

    def check_login(self, username: str | None, password_env: str) -> None:
        """Raise InputError where the broker refused the first login."""
        if self._login_refused and not self._was_connected:
            raise InputError(
                f"{self._where} refuses the login"
                + (" without a name." if username is None else f" of '{username}'."),
                hint=f"Check the user name, and the password in {password_env}.",
            )

    def say_offline(self) -> None:
        """The last state, before `close`."""
        self.set_state(self._offline("closed"))

    def close(self, until: float) -> None:
        """Send what waits until so many monotonic seconds, count the rest, and disconnect."""
        while time.monotonic() < until:
            with self._lock:
                if self._client is None or not self._can_send():
                    break
                self._send()
                if self._was_connected and not self._waiting and not self._on_the_way:
                    break
            time.sleep(0.01)
        with self._lock:
            client, self._client = self._client, None  # its sockets go with it
            self.dropped += len(self._waiting) + len(self._on_the_way)
            self._waiting.clear()
            self._on_the_way.clear()
        if client is not None:
            self._closing.set()
            client.disconnect()
            client.loop_stop()

    def _can_send(self) -> bool:
        """Whether there is a connection, or the first one may still come."""
        return self._client.is_connected() or self.problem in ("", self._unanswered)

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
            self.dropped += not (qos and info.rc == _NO_CONNECTION)
            return True

    def _offline(self, reason: str) -> bytes:
        return json_bytes(
            {"event": "state", "stream": self._stream, "state": "offline", "reason": reason}
        )

    # Paho's thread

    def _run(self, **how: Any) -> Any:
        """Paho's loop, begun anew where an answer of the broker is more than it can take."""
        client = self._client
        while client is not None:
            try:
                return type(client).loop_forever(client, **how)
            except Exception as error:  # noqa: BLE001 (the thread would end, and nobody knew)
                self.problem = f"{self._where} cannot be understood ({type(error).__name__})."
            client.connect_async(*self._address, _KEEPALIVE_S)
            if self._closing.wait(_RECONNECT_S[1]):
                return None
        return None

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:  # noqa: ARG002 (paho's signature)
        with self._lock:
            if reason.is_failure:
                self._login_refused = reason.value in _BAD_LOGIN
                self.problem = f"{self._where} says: {reason}."
                return
            self.problem, self._login_refused, self._was_connected = "", False, True
            if self._client is None:
                return
            if self._state is not None:
                self._send_state()  # the broker may have said "offline" since
            self._send()

    def _failed(self, client: Any, data: Any) -> None:  # noqa: ARG002 (paho's signature)
        distrust = ", or its certificate is not trusted" if self._tls else ""
        self.problem = f"{self._where} cannot be reached{distrust}."

    def _lost(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:  # noqa: ARG002 (paho's signature)
        if not self.problem and reason.is_failure:
            self.problem = f"{self._where} was lost: {reason}."
