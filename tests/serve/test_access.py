"""Tokens, names and origins: each rule on its own."""

from __future__ import annotations

import base64

import pytest

from bas_edge.errors import InputError
from bas_edge.serve.access import Access
from bas_edge.serve.buckets import Bucket, Buckets
from bas_edge.serve.options import ServeOptions, is_loopback, new_token

TOKEN = "the-token-of-the-tests"


def access(**options: object) -> Access:
    return Access(ServeOptions(**{"token": TOKEN, **options}))


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


def protocol(token: str) -> str:
    return "bas-edge.token." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("authorization", "protocols", "with_basic", "verdict"),
    [
        (f"Bearer {TOKEN}", (), False, "welcome"),
        (f"bearer {TOKEN}", (), False, "welcome"),
        ("", ("bas-edge.v1", protocol(TOKEN)), False, "welcome"),
        (basic(TOKEN), (), True, "welcome"),
        (basic(TOKEN), (), False, "missing"),
        (basic(TOKEN[:-1]), (), True, "wrong"),
        ("Basic not-base64!", (), True, "wrong"),
        ("", (), True, "missing"),
        ("", ("bas-edge.v1",), False, "missing"),
        ("", ("bas-edge.token.!",), False, "wrong"),
        ("", (protocol(TOKEN + "x"),), False, "wrong"),
        ("Bearer", (), False, "wrong"),
        (f"Bearer {TOKEN[:-1]}", (), False, "wrong"),
        (f"Bearer {TOKEN}x", (), False, "wrong"),
        (f"Bearer {TOKEN.upper()}", (), False, "wrong"),
        ("Bearer \xff", (), False, "wrong"),
    ],
)
def test_only_the_token_is_welcome(
    authorization: str, protocols: tuple[str, ...], with_basic: bool, verdict: str
) -> None:
    assert access().token("here", authorization, protocols, basic=with_basic) == verdict


def test_after_some_wrong_tokens_an_address_is_refused_and_others_are_not() -> None:
    there = access(wrong_tokens_per_minute=3)
    tries = [there.token("a", "Bearer guess", (), basic=False) for _ in range(5)]
    assert tries == ["wrong"] * 3 + ["too many"] * 2
    assert there.token("a", f"Bearer {TOKEN}", (), basic=False) == "too many"
    assert there.token("b", f"Bearer {TOKEN}", (), basic=False) == "welcome"
    assert 1 <= there.wait_s("a") <= 20


def test_a_missing_token_is_no_guess() -> None:
    there = access(wrong_tokens_per_minute=1)
    assert [there.token("a", "", (), basic=False) for _ in range(5)] == ["missing"] * 5


HOME = ["localhost", "localhost:8765", "127.0.0.1:1", "[::1]:8765", "127.0.0.2", "LocalHost:80"]
AWAY = ["evil.example", "localhost.evil.example:8765", "", "127.0.0.1.nip.io", "a@localhost", "x:y"]


@pytest.mark.parametrize("host", HOME)
def test_the_server_goes_by_the_names_of_this_machine(host: str) -> None:
    assert access().host(host)


@pytest.mark.parametrize("host", [*AWAY, "192.168.1.5:8765", "localhost/x", "localhost?x"])
def test_it_goes_by_no_other_name(host: str) -> None:
    assert not access().host(host)


def test_beyond_the_loopback_it_goes_by_ip_addresses_and_by_what_is_allowed() -> None:
    there = access(host="0.0.0.0", allowed_hosts=("Jetson.local",))
    assert there.host("192.168.1.5:8765")
    assert there.host("[fe80::1]:8765")
    assert there.host("jetson.local")
    assert not any(there.host(name) for name in AWAY)


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("", "localhost:8765", True),
        ("http://localhost:8765", "localhost:8765", True),
        ("https://cams.example", "cams.example", True),
        ("https://cams.example", "cams.example:443", True),
        ("http://127.0.0.1:8765", "localhost:8765", False),
        ("http://localhost:8766", "localhost:8765", False),
        ("http://evil.example", "localhost:8765", False),
        ("null", "localhost:8765", False),
        ("file://", "localhost:8765", False),
        ("ftp://localhost:8765", "localhost:8765", False),
    ],
)
def test_only_its_own_page_may_change_something(origin: str, host: str, own: bool) -> None:
    assert access().origin(origin, host) is own


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"token": None, "host": "0.0.0.0"}, "loopback"),
        ({"token": None, "host": "192.168.1.5"}, "loopback"),
        ({"token": "short"}, "5 characters"),
        ({"token": ""}, "0 characters"),
        ({"port": 70000}, "70000"),
        ({"max_clients": 0}, "max_clients is 0"),
        ({"max_view_fps": 0}, "max_view_fps is 0"),
        ({"token": "Schlüssel-zum-Garten"}, "not ASCII"),
        ({"token": " key-to-the-garden"}, "a space"),
        ({"token": "key-to-the-garden\n"}, "a character"),
        ({"trusted_proxies": ("nginx",)}, "'nginx', which is no address"),
        ({"trusted_proxies": ("*",)}, r"'\*', which is no address"),
    ],
)
def test_options_that_open_the_door_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ServeOptions(**{"token": TOKEN, **options})


def test_new_tokens_are_long_and_differ() -> None:
    assert len({new_token() for _ in range(50)}) == 50
    assert len(new_token()) >= 43


def test_loopback_is_what_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "localhost", "::1", "127.9.9.9"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "192.168.0.1", "example.com", ""]))


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    now = [0.0]
    bucket = Bucket(2.0, 3.0, lambda: now[0])
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_s() == 1
    now[0] = 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]
    now[0] = 100.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_buckets_forget_whoever_came_longest_ago() -> None:
    buckets = Buckets(0.001, 1.0, most=2)
    assert buckets.of("a").take()
    assert not buckets.of("a").take()
    buckets.of("b")
    buckets.of("c")
    assert buckets.of("a").take()
