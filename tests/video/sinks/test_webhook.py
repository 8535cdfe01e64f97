"""The webhook against a real server: what is posted, tried again, and never shown."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from stream_results import descriptors, ended, result

from bas_edge.errors import InputError, MissingExtraError
from bas_edge.video import EventRule, Webhook
from bas_edge.video.sinks import outbox
from bas_edge.video.sinks.event_rules import RuleWatch


class Server:
    """Answers with the statuses of `answers`, then with 200, and keeps what was posted."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.posted: list[tuple[str, dict[str, str], Any]] = []
        self.body = b""
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = server.answers.pop(0) if server.answers else 200
                if status < 300:
                    server.posted.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(server.body)))
                self.end_headers()
                self.wfile.write(server.body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def bodies(self) -> list[Any]:
        return [body for _, _, body in self.posted]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(outbox, "_FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(outbox, "_LONGEST_WAIT_S", 0.002)
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()
    running.thread.join()


def test_changes_states_and_events_are_posted(server: Server) -> None:
    sink = Webhook(f"{server.address}/hook?key=1")
    for index in range(6):
        sink.write(result(index, found=index >= 3))
    sink.event(ended())
    event = RuleWatch(EventRule("any")).see(result(7))
    assert event is not None
    sink.notify(event)
    sink.close(complete=True)
    path, headers, first = server.posted[0]
    assert path == "/hook?key=1"
    assert headers["Content-Type"] == "application/json"
    assert "Authorization" not in headers
    assert first == result(3).to_dict()
    assert server.bodies()[1:] == [ended().to_dict(), event.to_dict()]
    assert (sink.sent, sink.dropped, sink.problem) == (3, 0, "")


def test_batches_are_arrays(server: Server) -> None:
    sink = Webhook(server.address, every="result", states=False, batch=4, batch_s=60)
    for index in range(6):
        sink.write(result(index))
    sink.event(ended())
    sink.close(complete=True)
    assert [len(body) for body in server.bodies()] == [4, 2]
    assert [line["frame"] for body in server.bodies() for line in body] == list(range(6))


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_errors_that_pass_are_tried_again(server: Server, status: int) -> None:
    server.answers = [status, status]
    sink = Webhook(server.address)
    sink.write(result())
    sink.close(complete=True)
    assert len(server.posted) == sink.sent == 1
    assert sink.dropped == 0


@pytest.mark.parametrize("status", [301, 400, 404])
def test_refusals_are_final_and_redirections_not_followed(server: Server, status: int) -> None:
    server.answers = [status]
    sink = Webhook(f"{server.address}/s3cret")
    sink.write(result())
    sink.close(complete=True)
    assert (sink.sent, sink.dropped) == (0, 1)
    assert sink.problem == f"{server.address} refuses the message with {status}."


def test_a_long_answer_is_not_read(server: Server) -> None:
    server.body = bytes(10_000_000)
    sink = Webhook(server.address, every="result")
    for index in range(3):
        sink.write(result(index))
    sink.close(complete=True)
    assert sink.sent == 3


def test_a_server_that_is_away_holds_nothing_up_and_no_secret_is_shown() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    before, threads = descriptors(), threading.active_count()
    sink = Webhook(f"http://u:s3cret@127.0.0.1:{port}/t0ken?k=t0ken", every="result", close_s=0.2)
    for index in range(3):
        sink.write(result(index))
    sink.close(complete=False)
    assert (sink.sent, sink.dropped) == (0, 3)
    assert sink.problem == f"http://127.0.0.1:{port} cannot be reached (NewConnectionError)."
    assert descriptors() <= before  # others may end meanwhile
    assert threading.active_count() <= threads


def test_a_silent_server_is_given_up_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        sink = Webhook(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.05, close_s=0.3)
        sink.write(result())
        sink.close(complete=False)
        assert sink.dropped == 1
        assert sink.problem.endswith("cannot be reached (ReadTimeoutError).")


def test_a_token_and_basic_authentication(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAS_EDGE_WEBHOOK_TOKEN", "t0ken")
    Webhook(server.address, headers={"X-Kind": "bas"}, states=True).close(complete=True)
    for address in (server.address, server.address.replace("//", "//u:p%40@")):
        sink = Webhook(address, headers={"X-Kind": "bas"})
        sink.write(result())
        sink.close(complete=True)
    sent = [headers for _, headers, _ in server.posted]
    assert [headers["X-Kind"] for headers in sent] == ["bas", "bas"]
    authorizations = [
        value for headers in sent for name, value in headers.items()
        if name.lower() == "authorization"
    ]  # fmt: skip
    assert authorizations == ["Bearer t0ken", "Basic dTpwQA=="]


def test_white_space_around_a_token_is_no_part_of_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAS_EDGE_WEBHOOK_TOKEN", "t0ken\n")
    sink = Webhook(server.address, headers={"X-Kind": " bas\r\n"})
    sink.write(result())
    sink.close(complete=True)
    ((_, headers, _),) = server.posted
    assert (headers["Authorization"], headers["X-Kind"]) == ("Bearer t0ken", "bas")


@pytest.mark.parametrize("token", ["s3cret\nX", "s3cret€", "s3cret\udcff"])
def test_a_token_that_cannot_be_sent_is_said_at_once_and_not_shown(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAS_EDGE_WEBHOOK_TOKEN", token)
    threads = threading.active_count()
    with pytest.raises(InputError, match="The header Authorization of the webhook") as caught:
        Webhook("http://x")
    assert "s3cret" not in f"{caught.value!r} {caught.value.hint}"
    assert threading.active_count() <= threads


@pytest.mark.parametrize("name", ["", "X: s3cret", "s3cret\n", "s3crét"])
def test_header_names_that_cannot_be_are_not_shown(name: str) -> None:
    with pytest.raises(InputError, match="The name of a header") as caught:
        Webhook("http://x", headers={name: "1"})
    assert "s3cr" not in f"{caught.value!r} {caught.value.hint}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout_s": 0.0}, "timeout_s is 0 "),
        ({"timeout_s": -1.0}, "timeout_s is -1 "),
        ({"timeout_s": float("nan")}, "timeout_s is nan "),
        ({"timeout_s": float("inf")}, "timeout_s is inf "),
        ({"close_s": -1.0}, "close_s -1,"),
        ({"close_s": float("nan")}, "close_s nan,"),
        ({"batch_s": float("nan")}, "waited for nan s"),
    ],
)
def test_seconds_that_cannot_be(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Webhook("http://x", **options)


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_bytes(b"")
    for name in ("none.pem", "empty.pem", "."):
        with pytest.raises(InputError, match="cannot be used"):
            Webhook("https://x", ca_file=str(tmp_path / name))


@pytest.mark.parametrize(
    "url", ["", "example.org/s3cret", "ftp://u:s3cret@x", "http://", "http://[s3cret"]
)
def test_addresses_that_cannot_be(url: str) -> None:
    with pytest.raises(InputError, match="no http or https address") as caught:
        Webhook(url)
    assert "s3cret" not in str(caught.value)


def test_without_urllib3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "urllib3", None)
    with pytest.raises(MissingExtraError) as caught:
        Webhook("http://x")
    assert caught.value.hint == "pip install 'bas-edge[webhook]'"
