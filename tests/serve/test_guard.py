"""What the server refuses, asked over the network. Each test fails without its rule."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import pytest
import websockets.exceptions
from served import LONG_S, TOKEN, PageEnd, Served, until

from bas_edge.serve import access, guard
from bas_edge.serve.buckets import Buckets
from bas_edge.serve.operations import OPERATIONS
from bas_edge.serve.page_files import PAGE_FILES

Serve = Callable[..., AbstractContextManager[Served]]
CLOSED = [(each.method, each.path.replace("{name}", "door")) for each in OPERATIONS] + [
    ("GET", "/metrics"),
    ("GET", "/streams/door.mjpeg"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api/nothing"),
    ("POST", "/"),
    ("POST", "/healthz"),
    ("GET", "//"),
]
BASIC = "Basic " + base64.b64encode(f"vlc:{TOKEN}".encode()).decode()


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize("token", [None, "a-token-of-somebody-else"])
def test_nothing_is_said_without_the_token(
    shared: Served, method: str, path: str, token: str | None
) -> None:
    answer = shared.ask(method, path, token=token)
    assert answer.status == 401
    assert "token" in answer.json["error"]
    assert "www-authenticate" in answer.headers
    assert b"door" not in answer.content


@pytest.mark.parametrize("path", [*PAGE_FILES, "/healthz"])
def test_the_page_and_health_need_no_token_and_hold_no_secret(shared: Served, path: str) -> None:
    answer = shared.ask("GET", path, token=None)
    assert answer.status == 200
    assert TOKEN.encode() not in answer.content
    assert b"door" not in answer.content


@pytest.mark.parametrize("place", ["token", "access_token", "auth"])
def test_the_address_is_no_place_for_a_token(shared: Served, place: str) -> None:
    assert shared.ask("GET", f"/api/streams?{place}={TOKEN}", token=None).status == 401


def test_a_password_is_taken_for_pictures_and_metrics_alone(shared: Served) -> None:
    told = {"Authorization": BASIC}
    with shared.request("GET", "/streams/door.mjpeg", token=None, headers=told) as video:
        assert video.status == 200
    assert shared.ask("GET", "/metrics", token=None, headers=told).status == 200
    assert shared.ask("GET", "/api/streams", token=None, headers=told).status == 401
    paused = shared.ask("POST", "/api/streams/door/pause", token=None, headers=told)
    assert paused.status == 401


def refused_page(shared: Served, **options: object) -> int:
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught, shared.page(**options):
        pass
    return caught.value.response.status_code


def test_a_page_needs_the_token_too(shared: Served) -> None:
    assert refused_page(shared, token=None) == 401
    assert refused_page(shared, token="a-token-of-somebody-else") == 401


def test_a_page_of_another_server_is_refused(shared: Served) -> None:
    evil = {"Origin": "http://evil.example"}
    assert refused_page(shared, additional_headers=evil) == 403
    for method, path in (("PATCH", "/api/tuning"), ("POST", "/api/tuning/save")):
        assert shared.ask(method, path, headers=evil, body={}).status == 403
    own = {"Origin": f"http://127.0.0.1:{shared.port}"}
    assert shared.ask("PATCH", "/api/tuning", headers=own, body={}).status == 200
    with shared.page(additional_headers=own) as page:
        page.watch()
        page.picture()


@pytest.mark.parametrize("path", ["/", "/api/streams", "/healthz", "/metrics"])
def test_a_name_that_somebody_else_made_point_here_is_refused(shared: Served, path: str) -> None:
    answer = shared.ask("GET", path, headers={"Host": f"evil.example:{shared.port}"})
    assert answer.status == 400
    assert "evil" not in answer.content.decode()


@pytest.mark.parametrize("size", [16_385, 10_000_000])
def test_a_large_body_is_refused_by_its_length(shared: Served, size: int) -> None:
    told = {"Content-Length": str(size)}
    assert shared.ask("PATCH", "/api/tuning", headers=told, body=b"").status == 413


def test_a_large_body_that_hides_its_length_is_refused_too(shared: Served) -> None:
    parts: Iterator[bytes] = iter([b" " * 8192] * 4)
    assert shared.ask("PATCH", "/api/tuning", body=parts).status == 413  # goes in chunks


def code_at_the_end(page: PageEnd, *messages: str) -> int:
    """Why the server closes the connection of a page that says this."""
    try:
        for message in messages:
            page.socket.send(message)
        for _ in range(1000):
            page.socket.recv(timeout=LONG_S)
    except websockets.exceptions.ConnectionClosed as closed:
        return 0 if closed.rcvd is None else closed.rcvd.code
    raise AssertionError("the connection goes on")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("x" * 20_000, 1009),
        ("no JSON", 1008),
        ('{"run": 1}', 1008),
        ('{"watch": [{"stream": "door", "width": 1e9}]}', 1008),
    ],
)
def test_a_large_or_senseless_message_of_a_page_ends_its_connection(
    shared: Served, message: str, code: int
) -> None:
    with shared.page() as page:
        assert code_at_the_end(page, message) == code


def test_a_page_that_says_too_much_is_cut_off(shared: Served) -> None:
    with shared.page() as page:
        # The server hangs up while it is still talked to, which can cost its last words: 0.
        assert code_at_the_end(page, *['{"watch": []}'] * 500) in (1008, 0)


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/..%2f..%2fpyproject.toml",
        "/page/index.html",
        "/app.js/../../server.py",
        "/style.css%00.py",
        "/%2e%2e/server.py",
        "/index.html",
        "//etc/passwd",
    ],
)
def test_no_path_leads_to_a_file(shared: Served, path: str) -> None:
    assert shared.ask("GET", path).status == 404


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("/", None),
        ("/app.js", None),
        ("/api/streams", TOKEN),
        ("/api/streams", None),
        ("/x", TOKEN),
    ],
)
def test_every_answer_tells_the_browser_to_be_strict(
    shared: Served, path: str, token: str | None
) -> None:
    headers = shared.ask("GET", path, token=token).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] in ("no-store", "no-cache")
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


@pytest.fixture
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, nobody gets a new permit meanwhile."""
    for module in (access, guard):
        monkeypatch.setattr(module, "Buckets", partial(Buckets, clock=lambda: 100.0))


@pytest.mark.usefixtures("no_time_passes")
def test_wrong_tokens_are_refused_unread_after_a_while(serve: Serve) -> None:
    with serve(wrong_tokens_per_minute=4) as running:
        wrong = [running.ask("GET", "/api/streams", token="x" * 20) for _ in range(6)]
        assert [answer.status for answer in wrong] == [401] * 4 + [429] * 2
        right = running.ask("GET", "/api/streams")
        assert right.status == 429
        assert int(right.headers["retry-after"]) == 15
        assert running.ask("GET", "/", token=None).status == 200


def wrong_token_of(running: Served, client: str) -> int:
    told = {"X-Forwarded-For": client}
    return running.ask("GET", "/api/streams", token="x" * 20, headers=told).status


@pytest.mark.usefixtures("no_time_passes")
def test_clients_of_a_trusted_proxy_are_locked_out_one_by_one(serve: Serve) -> None:
    with serve(wrong_tokens_per_minute=4, trusted_proxies=("127.0.0.0/8",)) as running:
        # What a client says of itself stands before what the proxy adds.
        wrong = [wrong_token_of(running, f"192.0.2.{at}, 198.51.100.1") for at in range(6)]
        assert wrong == [401] * 4 + [429] * 2
        for headers in ({"X-Forwarded-For": "198.51.100.2"}, {}):
            assert running.ask("GET", "/api/streams", headers=headers).status == 200
        with running.page(additional_headers={"X-Forwarded-For": "198.51.100.2"}) as page:
            page.watch()
            page.picture()


@pytest.mark.usefixtures("no_time_passes")
def test_nobody_else_chooses_the_address_that_is_counted(serve: Serve) -> None:
    with serve(wrong_tokens_per_minute=4, trusted_proxies=("192.0.2.1",)) as running:
        wrong = [wrong_token_of(running, f"198.51.100.{at}") for at in range(6)]
        assert wrong == [401] * 4 + [429] * 2


@pytest.mark.usefixtures("no_time_passes")
def test_requests_and_changes_have_a_limit_each(serve: Serve) -> None:
    with serve(reads_per_s=3, changes_per_s=1) as running:
        reads = [running.ask("GET", "/", token=None) for _ in range(12)]
        assert [answer.status for answer in reads] == [200] * 6 + [429] * 6
        assert int(reads[-1].headers["retry-after"]) >= 1
        health = [running.ask("GET", "/healthz", token=None).status for _ in range(12)]
        assert health == [200] * 12, "a watchdog would restart the device"
        changes = [running.ask("PATCH", "/api/tuning", body={}) for _ in range(5)]
        assert [answer.status for answer in changes] == [200] * 2 + [429] * 3


def test_without_a_token_everybody_on_this_machine_is_let_in(serve: Serve) -> None:
    with serve(token=None) as running:
        assert running.ask("GET", "/api/streams", token=None).status == 200
        with running.page(token=None) as page:
            page.watch()
            page.picture()
        evil = {"Origin": "http://evil.example"}
        refused = running.ask("PATCH", "/api/tuning", token=None, headers=evil, body={})
        assert refused.status == 403
        host = {"Host": "evil.example"}
        assert running.ask("GET", "/api/streams", token=None, headers=host).status == 400


def test_more_viewers_than_allowed_are_told_to_come_later(serve: Serve) -> None:
    with serve(max_clients=2) as running:
        with running.page() as page, running.request("GET", "/streams/door.mjpeg") as video:
            page.watch()
            page.picture()
            assert video.read(2) == b"--"
            assert refused_page(running) == 503
            answer = running.ask("GET", "/streams/door.mjpeg")
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            until(lambda: running.ask("GET", "/api/streams").json["viewers"] == 2)
        until(lambda: running.ask("GET", "/api/streams").json["viewers"] == 0)
        with running.page() as page:
            page.watch()
            page.picture()
