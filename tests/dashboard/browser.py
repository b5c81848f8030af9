"""A headless Chromium, driven by its own DevTools protocol: opens pages, measures them, takes their picture.

`python -m tests.dashboard.browser page.html picture.png` takes one.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
MISSING = f"no browser to look at the page with (one of {', '.join(NAMES)}): apt-get install chromium"
WISH = "DASHBOARD_BROWSER"
"""Environment variable: with `required`, a missing browser fails the tests that need one."""
START_SECONDS = 60.0
ANSWER_SECONDS = 60.0
UNTIL_SECONDS = 30


def find() -> str | None:
    """Where a browser is; None on a machine without."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def need() -> None:
    """Skips what needs a browser on a machine without one, or fails it where `WISH` requires one."""
    wish = os.environ.get(WISH, "")
    if wish not in ("", "required"):
        pytest.fail(f"{WISH}: expected required or nothing, found {wish!r}", pytrace=False)
    if find() is None and wish:
        pytest.fail(f"{MISSING}; {WISH}={wish} does not let this be skipped", pytrace=False)
    if find() is None:
        pytest.skip(MISSING)


@contextmanager
def running() -> Iterator[Page]:
    """Starts a browser of its own, with an empty page, and ends it."""
    command = find()
    if command is None:
        raise FileNotFoundError(MISSING)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = [*FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
        with (
            open(Path(profile) / "output", "wb") as output,
            subprocess.Popen([command, *flags], stdout=output, stderr=output) as process,
        ):
            try:
                port = _port(process, Path(profile))
                with _connect(port) as page:
                    yield page
            finally:
                process.terminate()


def _port(process: subprocess.Popen[bytes], profile: Path) -> int:
    """The port that the browser writes down when it is ready."""
    limit = time.monotonic() + START_SECONDS
    file = profile / "DevToolsActivePort"
    while time.monotonic() < limit:
        if process.poll() is not None:
            raise RuntimeError(f"the browser ended at once: {(profile / 'output').read_text()[-2000:]}")
        if file.exists() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.02)
    raise TimeoutError(f"expected the browser to be ready in {START_SECONDS:.0f} s")


@contextmanager
def _connect(port: int) -> Iterator[Page]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
        targets = json.load(answer)
    address = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
    connection = websocket.create_connection(address, timeout=ANSWER_SECONDS, suppress_origin=True)
    try:
        yield Page(connection)
    finally:
        connection.close()


class Page:
    """One tab. `problems` are its console's errors and uncaught exceptions, `requests` what it asked for."""

    def __init__(self, connection: websocket.WebSocket) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._loaded = False
        self.problems: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and gives its result; raises `RuntimeError` when the browser refuses."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (message := self._receive()).get("id") != number:
            pass
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        result: dict[str, Any] = message["result"]
        return result

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv())
        parameters = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                self.problems.append(details.get("exception", {}).get("description") or details["text"])
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning", "assert"):
                self.problems.append(" ".join(str(one.get("value", one)) for one in parameters["args"]))
            case "Log.entryAdded" if parameters["entry"]["level"] in ("error", "warning"):
                self.problems.append(parameters["entry"]["text"])
        return message

    def resize(self, width: int, height: int, *, scale: float = 1, phone: bool = False) -> None:
        """Gives the window a size in CSS pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=phone,
        )
        self.send("Emulation.setTouchEmulationEnabled", enabled=phone)

    def prefer(self, theme: str) -> None:
        """Sets what the system prefers: light or dark."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def open(self, url: str) -> None:
        """Goes to an address and waits until it is loaded and its charts are drawn."""
        self._loaded = False
        self.requests.clear()
        self.problems.clear()
        result = self.send("Page.navigate", url=url)
        if "errorText" in result:
            raise RuntimeError(f"{url}: {result['errorText']}")
        while not self._loaded:
            self._receive()
        self.settle()

    def settle(self) -> None:
        """Waits until what was asked of the page is drawn: two frames later."""
        frame = "requestAnimationFrame"
        self.run(f"new Promise((done) => {frame}(() => {frame}(() => done(1))))")

    def until(self, expression: str) -> None:
        """Waits until a JavaScript expression is true, looking after each frame; raises `TimeoutError`."""
        limit = time.monotonic() + UNTIL_SECONDS
        while not self.run(f"Boolean({expression})"):
            if time.monotonic() > limit:
                raise TimeoutError(f"expected in {UNTIL_SECONDS} s: {expression}")
            self.settle()

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of what it promises."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def point(self, x: float, y: float) -> None:
        """Moves the mouse."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, path: Path, *, top: float = 0, height: float | None = None) -> None:
        """Takes a picture of the page: all of it, or so many CSS pixels of its height."""
        root = self.run("(({ scrollWidth: x, scrollHeight: y }) => [x, y])(document.documentElement)")
        height = root[1] - top if height is None else height
        clip = {"x": 0, "y": top, "width": root[0], "height": height, "scale": 1}
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def widgets(self) -> list[dict[str, Any]]:
        """What each widget shows: `title`, `view`, `state`, `text`, and how many `marks` of data.

        Marks are what can be seen: lines, areas and dots that have an extent, numbers, bars, slices, rows
        of a table that are not blank, texts.
        """
        found: list[dict[str, Any]] = self.run(_WIDGETS)
        return found


_WIDGETS = """
[...document.querySelectorAll("main > section")].map((section) => {
  const all = (selector) => [...section.querySelectorAll(selector)];
  const isSeen = (element) => {
    const { width, height } = element.getBoundingClientRect();
    return width + height > 2 && getComputedStyle(element).visibility !== "hidden";
  };
  const isDrawn = (trace) => [...trace.querySelectorAll(".js-line, .point")].some(isSeen);
  const isFilled = (element) => isSeen(element) && element.innerText.trim() !== "";
  const marks = {
    timeSeries: () => all(".scatterlayer .trace").filter(isDrawn),
    pie: () => all(".pielayer .slice").filter(isSeen),
    gauge: () => all(".indicatorlayer .value-arc path").filter(isSeen),
    singleValue: () => all(".value b").filter((b) => isSeen(b) && /^-?[0-9]/.test(b.innerText)),
    bar: () => all(".bar .track i").filter(isSeen),
    table: () => all("tbody tr").filter(isFilled),
    logTable: () => all("tbody tr").filter(isFilled),
    text: () => all(".text").filter(isFilled),
  }[section.dataset.view];
  return {
    title: section.querySelector(":scope > h2")?.textContent ?? "", view: section.dataset.view,
    state: section.dataset.state, text: section.innerText.trim(), marks: marks ? marks().length : 0,
  };
})
"""


def main() -> None:
    """Takes a picture of a page."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.dashboard.browser", description="Takes a page's picture."
    )
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--top", type=int, default=0, help="begin there (default: %(default)s)")
    parser.add_argument("--height", type=int, help="so many pixels (default: the whole page)")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    options = parser.parse_args()
    with running() as page:
        page.resize(options.width, 900, phone=options.width < 600)
        page.prefer(options.theme)
        page.open(options.page.resolve().as_uri())
        page.picture(options.picture, top=options.top, height=options.height)
        print(*page.problems, sep="\n")


if __name__ == "__main__":
    main()
