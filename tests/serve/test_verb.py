"""`bas-edge serve`, as a program of its own."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from served import LONG_S, TOKEN, glow, tiny_engine

from bas_edge.cli import main
from bas_edge.errors import InputError
from bas_edge.serve.from_config import rules_of, serve_options
from bas_edge.video.camera_config import ServerConfig, read_cameras

RULE = """
[[camera.sink]]
type = "clips"
rule = [{ name = "green seen", classes = ["green"] }]
"""


@pytest.fixture
def cameras(tmp_path: Path, clips: Any) -> Path:
    """cameras.toml: two files that are played as cameras would, one with a rule."""
    tiny_engine(tmp_path)
    clips.write_clip(tmp_path / "clip.mp4", [glow(number) for number in range(25)])
    file = tmp_path / "cameras.toml"
    camera = '[[camera]]\nname = "{}"\nsource = "clip.mp4"\npolicy = "newest"\nloop = true\n'
    content = camera.format("door") + RULE + camera.format("gate")
    file.write_text(f'engine = "tiny.engine"\n{content}')
    return file


@contextmanager
def program(*words: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "bas_edge.cli", "serve", *map(str, words), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def get(url: str, path: str, token: str) -> Any:
    host = re.match(r"http://([^/]+)/", url)
    assert host is not None
    connection = http.client.HTTPConnection(host[1], timeout=LONG_S)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    try:
        with connection.getresponse() as response:
            return json.loads(response.read())
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_everything_written(cameras: Path, number: int) -> None:
    with program(cameras, "--json") as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        token = url.partition("#token=")[2]
        assert len(token) == 43
        listed: dict[str, Any] = {"streams": []}
        while not any(stream["results"] for stream in listed["streams"]):
            time.sleep(0.05)  # there is a limit on requests
            listed = get(url, "/api/streams", token)
        assert [stream["name"] for stream in listed["streams"]] == ["door", "gate"]
        events: list[Any] = []
        while not any(event["kind"] == "rule" for event in events):
            time.sleep(0.05)
            events = get(url, "/api/events", token)["events"]
        seen = [event for event in events if event["kind"] == "rule"]
        assert {(event["stream"], event["what"]) for event in seen} == {("door", "green seen")}
        process.send_signal(number)
        out, errors = process.communicate(timeout=LONG_S)
        assert (process.returncode, errors) == (0, "")
    summary = json.loads(out)["summary"]
    assert summary["localized"] >= summary["found"] > 0
    clip, about = sorted((cameras.parent / "out").rglob("*.*"))[-2:][::-1]
    assert {clip.suffix, about.suffix} == {".mp4", ".json"}
    assert "partial" not in clip.name + about.name


@pytest.mark.parametrize("words", [["--json"], ["--no-token"]], ids=" ".join)
def test_messages_that_never_arrived_are_told_at_the_end(cameras: Path, words: list[str]) -> None:
    nobody = """
[[camera.sink]]
type = "webhook"
url = "http://127.0.0.1:9/secret-path"
close_s = 0.1
"""
    cameras.write_text(cameras.read_text(encoding="utf-8") + nobody, encoding="utf-8")
    with program(cameras, *words) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = f"{re.findall(r'http://[0-9.:]+', line)[0]}/"
        token = line.partition("#token=")[2].partition('"')[0]
        while not get(url, "/api/streams/gate", token)["results"]:
            time.sleep(0.05)  # there is a limit on requests
        process.terminate()
        out, errors = process.communicate(timeout=LONG_S)
    assert process.returncode == 0
    if words == ["--json"]:
        sinks = {one["kind"]: one for one in json.loads(out)["summary"]["sinks"]}
        assert sinks["Webhook"]["dropped"] > 0
        assert "http://127.0.0.1:9 cannot be reached" in sinks["Webhook"]["problem"]
    else:
        lost = r"note: Webhook: \d+ messages did not arrive. http://127.0.0.1:9 cannot be reached"
        assert re.search(lost, errors)
    assert "secret-path" not in out + errors


def test_a_token_of_the_environment_is_not_printed(
    cameras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAS_EDGE_TOKEN", TOKEN)
    with program(cameras) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("2 cameras on http://127.0.0.1:")
        url = line.split()[-1]
        assert get(f"{url}/", "/api/tuning", TOKEN)["engine"] == "tiny"
        process.terminate()
        out, errors = process.communicate(timeout=LONG_S)
        assert process.returncode == 0
        assert TOKEN not in line + out + errors


def test_a_port_in_use_is_one_sentence(cameras: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["serve", str(cameras), "--port", str(port)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"bas-edge: Port {port} of 127.0.0.1 is in use by another program."
    assert len(said) == 2


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("port = 70000", "server: The port is 70000, but must be 0 to 65535."),
        ("max_clients = 0", "server: max_clients is 0, but must be 1 to 1000."),
        ("max_view_fps = 0.0", "server: max_view_fps is 0.0, but must be over 0"),
        ('token = "short"', "server: The token has 5 characters"),
        ('trusted_proxies = ["x"]', "server: "),
    ],
)
def test_what_is_wrong_with_the_server_is_said_with_its_place(
    cameras: Path, capsys: pytest.CaptureFixture[str], table: str, said: str
) -> None:
    cameras.write_text(f"{cameras.read_text()}\n[server]\n{table}\n")
    assert main(["serve", str(cameras), "--port", "1"]) == 2
    assert capsys.readouterr().err.startswith(f"bas-edge: {cameras}: {said}")


@pytest.mark.parametrize("module", ["uvicorn", "websockets", "starlette", "prometheus_client"])
def test_without_its_extra_it_says_so_first(
    cameras: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
) -> None:
    cameras.with_name("tiny.engine").rename(cameras.with_name("elsewhere"))  # not opened
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["serve", str(cameras)]) == 3
    said = capsys.readouterr().err
    assert f"The server needs the module '{module}'" in said
    assert "pip install 'bas-edge[serve]'" in said
    assert not (cameras.parent / "out").exists()


def test_without_a_token_it_stays_on_this_machine(
    cameras: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(cameras), "--host", "0.0.0.0", "--no-token"]) == 2
    assert "loopback" in capsys.readouterr().err


def chosen(**options: Any) -> tuple[str | None, bool]:
    server = options.pop("server", ServerConfig())
    made, new = serve_options(server, **{"environment": {}, **options})
    return made.token, new


@pytest.mark.parametrize("server", [False, True])
@pytest.mark.parametrize("command_line", [False, True])
def test_metrics_are_open_where_the_file_or_the_command_line_says_so(
    server: bool, command_line: bool
) -> None:
    made, _ = serve_options(ServerConfig(open_metrics=server), open_metrics=command_line)
    assert made.open_metrics == (server or command_line)


def test_the_token_comes_from_the_file_the_configuration_or_the_environment(
    tmp_path: Path,
) -> None:
    file = tmp_path / "token"
    file.write_text(f" {'f' * 20}\n")
    server = ServerConfig(token=f"{'c' * 20} ")
    environment = {"BAS_EDGE_TOKEN": f"{'e' * 20}\n"}
    assert chosen(server=server, token_file=file, environment=environment) == ("f" * 20, False)
    assert chosen(server=server, environment=environment) == ("c" * 20, False)
    assert chosen(environment=environment) == ("e" * 20, False)
    token, new = chosen(environment={"BAS_EDGE_TOKEN": " "})
    assert (new, len(token or "")) == (True, 43)
    assert chosen(no_token=True, server=server, environment=environment) == (None, False)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('token = "short"', "The token has 5 characters"),
        ("port = 70000", "The port is 70000, but must be 0 to 65535"),
        ("max_view_fps = 200", "max_view_fps is 200"),
        ('trusted_proxies = ["nginx"]', "trusted_proxies has 'nginx'"),
    ],
)
def test_what_is_wrong_in_the_servers_table_is_said(
    cameras: Path, capsys: pytest.CaptureFixture[str], table: str, said: str
) -> None:
    cameras.write_text(f"{cameras.read_text()}[server]\n{table}\n")
    assert main(["serve", str(cameras)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"short", "5 characters"), (b"\xff" * 20, "UTF-8")]
)
def test_a_token_file_that_holds_no_token_is_refused(
    tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(InputError, match=said):
        chosen(token_file=file)
    with pytest.raises(InputError, match="cannot be read"):
        chosen(token_file=tmp_path / "nothing")
    with pytest.raises(InputError, match="contradict"):
        chosen(token_file=file, no_token=True)


def test_rules_of_a_camera_are_its_own_and_those_of_all_each_once(
    tmp_path: Path, cameras: Path
) -> None:
    config = read_cameras(cameras)
    assert [[rule.name for rule in rules_of(config, camera)] for camera in config.cameras] == [
        ["green seen"],
        [],
    ]


def test_the_page_is_opened_by_a_file_that_only_this_user_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bas_edge.cli.serve import _in_browser

    opened: list[str] = []
    remember: Callable[[str], None] = opened.append
    monkeypatch.setattr("webbrowser.open", remember)
    with _in_browser(f"http://127.0.0.1:1/#token={TOKEN}"):
        (address,) = opened
        assert TOKEN not in address
        file = Path(address.removeprefix("file://"))
        assert TOKEN in file.read_text()
        assert file.parent.stat().st_mode & 0o077 == 0
    assert not file.exists()
