"""The page while a test runs: served on loopback, asking for what is new by itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.dashboard import page
from local_aws.dashboard.body import BodyError

MAX_URL = 8192
"""Characters of an address that is answered; a selection of 25 variables fits."""
HURRY_SECONDS = 5.0
"""How long a page has to fetch the last data: more than the time between two of its questions."""

Take = Callable[[Mapping[str, str]], dict[str, Any]]
"""Gives the data of now for a selection; an empty one stands for the defaults."""


class Live:
    """A server of one page. Its `url` is known from the start; it answers while it is `running`."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._lock = threading.Lock()
        self._final: dict[str, Any] | None = None
        self._watched = False
        self._told = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    @contextmanager
    def running(self) -> Iterator[Live]:
        """Answers until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="dashboard")
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def finish(self, data: Mapping[str, Any], message: str) -> None:
        """Gives an open page the last data, and the message; it then needs the server no more."""
        self._final = {**data, "live": False, "ended": message}
        if self._watched:
            self._told.wait(HURRY_SECONDS)

    def _answer(self, path: str, selection: dict[str, str]) -> tuple[int, str, str]:
        """Status, content type and body."""
        # One after the other: pages that ask faster than AWS answers must not pile up.
        with self._lock:
            final = self._final
            try:
                data = final or {**self._take(selection), "live": True}
            except (BodyError, ClientError, BotoCoreError) as error:
                return 503, "application/json", json.dumps({"message": str(error)})
            if path == "/":
                return 200, "text/html; charset=utf-8", page.make(data, live=final is None)
            self._watched = True
            return 200, "application/json", json.dumps(data)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        live = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                # Another site's name that leads to this machine must not read what is served here.
                if self.headers.get("Host") != urlsplit(live.url).netloc:
                    self.send_error(403)
                elif len(self.path) > MAX_URL or parts.path not in ("/", "/data"):
                    self.send_error(404)
                else:
                    final = live._final is not None
                    status, kind, text = live._answer(parts.path, dict(parse_qsl(parts.query)))
                    content = text.encode()
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(content)))
                    self.send_header("Cache-Control", "no-store")
                    self.send_header("X-Content-Type-Options", "nosniff")
                    self.end_headers()
                    self.wfile.write(content)
                    if final:
                        live._told.set()

            def log_message(self, format: str, *arguments: Any) -> None:
                """Says nothing: the terminal is the test's."""

        return Handler
