from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bas_edge.errors import BasEdgeError, InputError
from bas_edge_training.pretrained import cache_folder, fetch_pretrained

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    requests = 0

    def do_GET(self) -> None:
        type(self).requests += 1
        found = self.path == "/x.safetensors"
        self.send_response(200 if found else 404)
        self.end_headers()
        if found:
            self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (http.server's own name)
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.requests = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_downloaded_once_and_kept(server: str, cache: Path) -> None:
    source = f"{server}/x.safetensors#sha256={SHA256}"
    path = fetch_pretrained(source)
    assert path.read_bytes() == CONTENT
    assert path.name == "x.safetensors"
    assert files(cache) == [path]
    assert fetch_pretrained(source) == path
    assert Handler.requests == 1
    path.write_bytes(b"damaged on disk")
    assert fetch_pretrained(source).read_bytes() == CONTENT
    assert Handler.requests == 2


def test_wrong_hash_leaves_nothing(server: str, cache: Path) -> None:
    with pytest.raises(InputError, match=f"has the sha256 {SHA256}, but {'0' * 64} was expected"):
        fetch_pretrained(f"{server}/x.safetensors#sha256={'0' * 64}")
    assert files(cache) == []


def test_larger_than_allowed(server: str, cache: Path) -> None:
    with pytest.raises(BasEdgeError, match="is larger than 100 bytes"):
        fetch_pretrained(f"{server}/x.safetensors#sha256={SHA256}", max_bytes=100)
    assert files(cache) == []


def test_not_there(server: str) -> None:
    with pytest.raises(BasEdgeError, match="the server answered 404 Not Found"):
        fetch_pretrained(f"{server}/y.safetensors#sha256={SHA256}")


def test_offline_is_said_plainly(cache: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(BasEdgeError, match=r"Cannot download .*refused") as caught:
        fetch_pretrained(f"http://127.0.0.1:{port}/x.safetensors#sha256={SHA256}")
    assert "pass its path to --pretrained" in str(caught.value.hint)
    assert files(cache) == []


def test_file_url_and_plain_paths(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(CONTENT)
    assert fetch_pretrained(f"{path.as_uri()}#sha256={SHA256}").read_bytes() == CONTENT
    assert fetch_pretrained(str(path)) == path
    assert fetch_pretrained(f"{path}#sha256={SHA256.upper()}") == path
    with pytest.raises(InputError, match="was expected"):
        fetch_pretrained(f"{path}#sha256={'1' * 64}")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("https://host/x.safetensors", "has no sha256, so its content could be anything"),
        ("https://host/x#sha256=12", "is not sha256= and 64 hexadecimal digits"),
        ("https://host/x#md5=12", "is not sha256= and 64 hexadecimal digits"),
        (f"ftp://host/x#sha256={SHA256}", "cannot download over ftp"),
        ("missing.safetensors", "does not exist"),
    ],
)
def test_sources_that_are_refused(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fetch_pretrained(source)


def test_a_run_folder_stands_for_its_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder without a checkpoint"):
        fetch_pretrained(str(tmp_path))
    (tmp_path / "checkpoint.safetensors").write_bytes(CONTENT)
    assert fetch_pretrained(str(tmp_path)) == tmp_path / "checkpoint.safetensors"


def test_cache_folder_without_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "bas-edge"
