"""A sample shop to put under load: an HTTP server with fast, slow and failing pages.

`python -m examples.shop` serves it on loopback and says its address on the first line of its output.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import gevent
from gevent.pywsgi import WSGIServer

StartResponse = Callable[[str, list[tuple[str, str]]], object]

ITEMS = 200
"""Items have the numbers 1 to ITEMS; others are not found."""


@dataclass
class Page:
    """How long a page takes and how often it fails.

    Times are lognormal, as those of real services are: most near the median, a few much longer.
    """

    median_ms: float
    spread: float
    """Standard deviation of the time's logarithm: 0.5 puts the 99th percentile at about 3.2 medians."""
    failing: float = 0.0
    """Share of the requests that are answered with `failure`."""
    failure: str = "500 Internal Server Error"
    size: int = 500
    """About how many bytes the answer has."""
    generator: random.Random = field(default_factory=random.Random)

    def seconds(self) -> float:
        """The time that the next request takes."""
        return self.median_ms / 1000 * self.generator.lognormvariate(0, self.spread)

    def fails(self) -> bool:
        """Whether the next request fails."""
        return self.generator.random() < self.failing


class Shop:
    """The shop as a WSGI application."""

    def __init__(self, seed: int = 0) -> None:
        """The same seed gives each page the same times and failures in the same order."""
        self.pages = {
            ("GET", "/"): Page(median_ms=4, spread=0.4, size=4000),
            ("GET", "/search"): Page(median_ms=25, spread=0.6, size=2500),
            ("GET", "/item"): Page(median_ms=8, spread=0.5, size=1200),
            ("GET", "/recommendations"): Page(median_ms=220, spread=0.35, size=1800),
            ("POST", "/login"): Page(median_ms=45, spread=0.3, size=120),
            ("POST", "/cart"): Page(
                median_ms=12, spread=0.5, failing=0.01, failure="503 Service Unavailable", size=300
            ),
            ("POST", "/checkout"): Page(median_ms=90, spread=0.7, failing=0.06, size=700),
        }
        for (method, path), page in self.pages.items():
            page.generator.seed(f"{seed} {method} {path}")

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
        method = environ["REQUEST_METHOD"]
        first, _, rest = environ["PATH_INFO"].removeprefix("/").partition("/")
        page = self.pages.get((method, f"/{first}"))
        if page is None:
            return answer(start_response, "404 Not Found", {"error": f"no page {method} /{first}"})
        gevent.sleep(page.seconds())
        if first == "item" and not (rest.isdecimal() and 1 <= int(rest) <= ITEMS):
            return answer(start_response, "404 Not Found", {"error": f"no item {rest}"})
        if page.fails():
            return answer(start_response, page.failure, {"error": "out of order"})
        body: dict[str, object] = {"page": f"/{first}", "text": "x" * page.size}
        if first == "search":
            words = parse_qs(environ["QUERY_STRING"]).get("q", [""])[0]
            # One search in eight finds nothing: an answer that only the client can tell to be a failure.
            body["found"] = 0 if page.generator.random() < 1 / 8 else 1 + len(words)
        return answer(start_response, "200 OK", body)


@contextmanager
def running(seed: int = 0) -> Iterator[str]:
    """Serves the shop from a process of its own; gives its address."""
    command = [sys.executable, "-m", "examples.shop", "--seed", str(seed)]
    folder = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().strip() if process.stdout else ""
            if not address:
                raise RuntimeError(
                    f"expected the shop to say its address, found it ended: {' '.join(command)}"
                )
            yield address
        finally:
            process.terminate()


def answer(start_response: StartResponse, status: str, body: dict[str, object]) -> list[bytes]:
    """Starts a response and returns its body as JSON."""
    content = json.dumps(body).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
    return [content]


def main() -> None:
    """Serves the shop until it is told to end."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.shop", description="A sample shop to put under load."
    )
    parser.add_argument("--port", type=int, default=0, help="port on loopback (default: any free one)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of times and failures (default: %(default)s)"
    )
    arguments = parser.parse_args()
    server = WSGIServer(("127.0.0.1", arguments.port), Shop(arguments.seed), log=None)
    server.start()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, server.stop)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
