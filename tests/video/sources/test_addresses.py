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


@given(user=st.text(NASTY + " \n", max_size=8), password=st.text(NASTY + " \n", max_size=12))
def test_an_address_alone_may_hold_blanks(user: str, password: str) -> None:
    password = f"Qz{password}zQ"
    if " ! " not in password and " ! " not in user:
        assert password not in redacted_uri(f"rtsp://{user}:{password}@10.0.0.7/live")


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
        ]
    ),
    value=st.text(SAFE + "@:/!$,;'=", min_size=1, max_size=12).map(lambda text: f"Qz{text}zQ"),
)
def test_secrets_in_queries_and_pipelines(key: str, value: str) -> None:
    url = f"https://host/live?{key}={value}&size=2"
    assert value not in redacted(url)
    if "@" not in value:  # as then it might be the end of a password
        assert redacted(url) == f"https://host/live?{key}=***&size=2"
    pipeline = f'souphttpsrc location=http://h/x {key}={value} ! appsink name="{value[:2]}"'
    assert value not in redacted(pipeline)
    assert redacted(pipeline).endswith(' ! appsink name="Qz"')
    assert value not in redacted(f'rtspsrc {key}="{value} and more" ! appsink')


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
    ],
)
def test_kinds_and_names(uri: str, kind: str, name: str) -> None:
    assert kind_of(uri) == kind
    assert name_of(uri) == name


def test_paths_and_file_addresses(tmp_path: Path) -> None:
    (tmp_path / "a b.mp4").touch()
    for uri in (f"{tmp_path}/a b.mp4", f"file://{tmp_path}/a%20b.mp4"):
        assert kind_of(uri) == "file"
        assert name_of(uri) == "a b"
        assert local_path(uri) == tmp_path / "a b.mp4"
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
