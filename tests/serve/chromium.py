"""A headless Chromium, driven by the DevTools protocol over its WebSocket.

One page, one thread: commands wait for their answer, and what the browser tells meanwhile
(requests, messages of the console) is kept.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

LONG_S = 60.0
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --mute-audio "
    "--disable-background-networking --disable-component-update --disable-default-apps "
    "--disable-extensions --disable-sync --no-default-browser-check --metrics-recording-only "
    "--disable-features=Translate,OptimizationHints,MediaRouter --remote-debugging-port=0"
)


def executable() -> str | None:
    """The browser of this machine: BAS_EDGE_BROWSER, or the first one on the path."""
    named = os.environ.get("BAS_EDGE_BROWSER")
    if named:
        return named
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab."""

    def __init__(self, address: str) -> None:
        import websockets.sync.client

        connection = websockets.sync.client.connect(address, max_size=None, open_timeout=LONG_S)
        self._open = ExitStack()
        self._socket = self._open.enter_context(connection)
        self._last = 0
        self.requested: list[str] = []
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command; its result."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        deadline = time.monotonic() + LONG_S
        while True:
            said = json.loads(self._socket.recv(timeout=deadline - time.monotonic()))
            if said.get("id") == self._last:
                assert "error" not in said, said["error"]
                result: dict[str, Any] = said["result"]
                return result
            self._notice(said)

    def _notice(self, said: dict[str, Any]) -> None:
        method, told = said.get("method"), said.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requested.append(told["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requested.append(told["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["exceptionDetails"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and told["type"] in (
            "error",
            "warning",
            "assert",
        ):
            self.complaints.append(json.dumps(told["args"]))

    def forget(self) -> None:
        """As a new browser: no storage, and nothing that was told before."""
        here = self.evaluate("location.protocol")
        if here.startswith("http"):
            self.evaluate("sessionStorage.clear(), localStorage.clear()")
        self.command("Page.navigate", url="about:blank")
        self.requested.clear()
        self.complaints.clear()

    def open(self, url: str) -> None:
        # Another fragment alone would load nothing.
        self.command("Page.navigate", url="about:blank")
        self.command("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, promises awaited."""
        done = self.command(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, script: str) -> Any:
        """The value of an expression, once it is true."""
        deadline = time.monotonic() + LONG_S
        while not (value := self.evaluate(script)):
            if time.monotonic() >= deadline:
                says = self.evaluate("document.body.innerText")
                told = f"{self.complaints}; the page says:\n{says}"
                pytest.fail(f"it never happened: {script}; {told}")
            time.sleep(0.05)
        return value

    def size(self, width: int, height: int, *, scale: float = 1, mobile: bool = False) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )

    def scheme(self, name: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path: Path, *, quality: int = 82) -> None:
        kind = (
            {"format": "png"} if path.suffix == ".png" else {"format": "jpeg", "quality": quality}
        )
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot", **kind)["data"]))

    def close(self) -> None:
        self._open.close()


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A browser with a profile in `folder`, and its one page."""
    browser = executable()
    assert browser is not None
    command = [browser, *FLAGS.split(), f"--user-data-dir={folder}", "about:blank"]
    # The wrapper script of a distribution would split what this holds.
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    log = folder / "browser.log"
    with log.open("wb") as errors, subprocess.Popen(command, stderr=errors, **quiet) as process:
        try:
            page = Page(_page_address(folder, log))
            try:
                yield page
            finally:
                page.command("Browser.close")
                page.close()
            process.wait(LONG_S)
        finally:
            process.kill()


def _page_address(folder: Path, log: Path) -> str:
    """Where the first tab is driven: the port is in a file that the browser writes."""
    import websockets.sync.client

    deadline = time.monotonic() + LONG_S
    port = folder / "DevToolsActivePort"
    while not (port.exists() and len(port.read_text().split()) == 2):
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
        time.sleep(0.02)
    number, path = port.read_text().split()
    with websockets.sync.client.connect(f"ws://127.0.0.1:{number}{path}") as browser:
        command = {"id": 1, "method": "Target.getTargets"}
        browser.send(json.dumps(command))
        while "id" not in (said := json.loads(browser.recv(timeout=LONG_S))):
            pass
    targets = said["result"]["targetInfos"]
    target = next(each["targetId"] for each in targets if each["type"] == "page")
    return re.sub(r"/devtools/.*", f"/devtools/page/{target}", f"ws://127.0.0.1:{number}{path}")
