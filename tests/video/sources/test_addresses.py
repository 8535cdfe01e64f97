"""Addresses: what they lead to, what they are called, and that no secret is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bas_edge.errors import InputError
from bas_edge.video.sources.addresses import kind_of, local_path, name_of, redacted, redacted_uri

SCHEMES = st.sampled_from(["rtsp", "rtsps", "http", "https", "rtmp", "srt", "RTSP"])
HOSTS = st.sampled_from(["10.0.0.7", "camera.local:8554", "[fe80::1]:554", "h"])
SAFE = "abcXYZ019-._~%"
NASTY = SAFE + "@:/?#[]!$&'()*+,;=\"\\|<>{}^`é€"
USERS = st.text(SAFE, max_size=8)
# A password that is one or two letters occurs in any text: it shows nothing.
PASSWORDS = st.text(NASTY, min_size=1, max_size=12).map(lambda text: f"Qz{text}zQ")


@given(scheme=SCHEMES, user=USERS, password=PASSWORDS, host=HOSTS)
@example(scheme="rtsp", user="admin", password="1234/5zQ", host="10.0.0.7")  # no port
@example(scheme="rtsp", user="admin", password="p@q/r#zQ", host="h")
@example(scheme="rtsp", user="admin", password="it's\"zQ", host="h")
def test_a_password_is_never_shown(scheme: str, user: str, password: str, host: str) -> None:
    uri = f"{scheme}://{user}:{password}@{host}/live?quality=1"
    assert redacted(uri) == redacted_uri(uri) == f"{scheme}://***@{host}/live?quality=1"
    sentence = f"What was read of {uri} is empty; ask somebody@example.org."
    assert password not in redacted(sentence)
    assert redacted(sentence).startswith("What was read of ")
    assert redacted(sentence).endswith(" ask somebody@example.org.")


@example(user="admin", password="hunter ! 2")
@given(user=st.text(NASTY + " \n", max_size=8), password=st.text(NASTY + " \n", max_size=12))
def test_an_address_alone_may_hold_blanks(user: str, password: str) -> None:
    password = f"Qz{password}zQ"
    uri = f"rtsp://{user}:{password}@10.0.0.7/live"
    assert redacted_uri(uri) == "rtsp://***@10.0.0.7/live"
    if '"' not in password + user:
        pipeline = f'rtspsrc location="{uri}" ! appsink'
        assert redacted(pipeline) == 'rtspsrc location="rtsp://***@10.0.0.7/live" ! appsink'


@given(
    key=st.sampled_from(
        [
            "password",
            "pwd",
            "user-pw",
            "user-id",
            "token",
            "access_token",
            "accessToken",
            "apikey",
            "api-key",
            "streamkey",
            "X-Amz-Signature",
            "sig",
            "passphrase",
            "secret",
            "Login",
            "loginuse",
            "loginpas",
            "psw",
            "passcode",
            "session",
            "session-id",
            "_sid",
            "cookies",
            "Password%3D",
        ]
    ),
    value=st.text(SAFE + "@:/!$,;'=", min_size=1, max_size=12).map(lambda text: f"Qz{text}zQ"),
)
def test_secrets_in_queries_and_pipelines(key: str, value: str) -> None:
    mark = "" if key.endswith("%3D") else "="
    url = f"https://host/live?{key}{mark}{value}&size=2"
    assert value not in redacted(url)
    if "@" not in value:  # as then it might be the end of a password
        assert redacted(url) == redacted_uri(url) == f"https://host/live?{key}{mark}***&size=2"
    if not mark:
        return
    pipeline = f'souphttpsrc location=http://h/x {key}={value} ! appsink name="{value[:2]}"'
    assert value not in redacted(pipeline)
    assert redacted(pipeline).endswith(' ! appsink name="Qz"')
    assert value not in redacted(f'rtspsrc {key}="{value} and more" ! appsink')


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://h/a?b=1&password=a b c&d=2", "http://h/a?b=1&password=***&d=2"),
        ("http://h/a?b=1&pass%77ord=abc&d=2", "http://h/a?b=1&***&d=2"),
        ("http://h/pass%77ord=abc", "http://h/***"),
        ("rtsp://h/user=me&password=x?y z&channel=1", "rtsp://h/user=***&password=***&channel=1"),
        ("rtsp://me:hunter ! 2@h/a?token=b ! c", "rtsp://***@h/a?token=***"),
        ("csi://0?width=640", "csi://0?width=640"),
    ],
)
def test_a_secret_of_an_address_ends_at_the_next_key(uri: str, shown: str) -> None:
    assert redacted_uri(uri) == redacted_uri(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://10.0.0.7:554/live", "rtsp://10.0.0.7:554/live"),
        ("rtsp://token@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        (
            "rtspsrc location=\"rtsp://a:b@h/x\" user-pw='b c' ! appsink",
            'rtspsrc location="rtsp://***@h/x" user-pw=*** ! appsink',
        ),
        ('location="http://h/?token=abc" ! appsink', 'location="http://h/?token=***" ! appsink'),
        ("Authorization: Basic YWI6Y2Q=", "Authorization: ***"),
        ("/videos/birds@dawn.mp4", "/videos/birds@dawn.mp4"),
        ("", ""),
    ],
)
def test_redacted(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("uri", "kind", "name"),
    [
        ("rtsp://me:secret@10.0.0.7:554/cam/1", "network", "10.0.0.7-cam-1"),
        ("http://host/live.mjpg", "network", "host-live.mjpg"),
        ("udp://:5000", "network", "udp"),
        ("0", "device", "video0"),
        ("/dev/video2", "device", "video2"),
        ("v4l2:///dev/video2?video_size=640x480", "device", "video2"),
        ("csi://1?width=640", "csi", "csi1"),
        ("csi://", "csi", "csi"),
        ("videotestsrc ! appsink", "gstreamer", "videotestsrc"),
        ("videotestsrc ! " + "queue ! " * 200 + "appsink", "gstreamer", "videotestsrc"),
        ("rtsp://me:hunter ! 2@10.0.0.7/live", "network", "10.0.0.7-live"),
    ],
)
def test_kinds_and_names(uri: str, kind: str, name: str) -> None:
    assert kind_of(uri) == kind
    assert name_of(uri) == name


def test_paths_and_file_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a b.mp4").touch()
    for uri in (f"{tmp_path}/a b.mp4", f"file://{tmp_path}/a%20b.mp4"):
        assert kind_of(uri) == "file"
        assert name_of(uri) == "a b"
        assert local_path(uri) == tmp_path / "a b.mp4"
    for name in ("wow ! cat.mp4", "0"):  # what is there wins over what a name looks like
        (tmp_path / name).touch()
        monkeypatch.chdir(tmp_path)
        assert kind_of(name) == kind_of(f"{tmp_path}/{name}") == "file"
    assert name_of("wow ! cat.mp4") == "wow ! cat"
    assert kind_of(str(tmp_path)) == "folder"
    assert name_of(str(tmp_path)) == tmp_path.name


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("gopher://me:secret@h/x", r"gopher://\*\*\*@h/x has the scheme 'gopher'"),
        ("nothing.mp4", r"nothing.mp4: no such file or folder."),
        ("rtsp://me:secret@[::1/live", r"rtsp://\*\*\*@\[::1/live is no address: "),
        ("file:///no/such/clip.mp4", r"no such file or folder."),
    ],
)
def test_addresses_that_lead_nowhere(uri: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        kind_of(uri)
    assert "secret" not in str(caught.value) + repr(caught.value) + (caught.value.hint or "")


@pytest.mark.parametrize("host", ["h:99999", "u:Qzword@h:65536", "[fe80::1]:70000"])
def test_a_port_that_cannot_be_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="has a port over 65535") as caught:
        kind_of(f"rtsp://{host}/live")
    assert "Qzword" not in str(caught.value)
    for good in ("h:65535", "u:99999@h", "[fe80::9999]", "h"):
        assert kind_of(f"rtsp://{good}/live") == "network"
