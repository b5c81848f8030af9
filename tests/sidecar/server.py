"""A modelled Locust behind HTTP, in a thread; what it answers can be replaced."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.sidecar.model import Model

PAGE = 'window.templateArgs = {"version": "2.40.0", "host": "http://x", "locustfile": "a.py,b.py"}</script>'
REPORT = '<script>window.templateArgs = {"start_time": "2026-11-21T11:09:00Z"};</script>'

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class FakeLocust:
    """Answers as `model` says, or as `answers` says for a path."""

    model: Model = field(default_factory=Model)
    answers: dict[str, Callable[[dict[str, str], bytes], Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """The answer to a request."""
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path](headers, body)
        texts: dict[str, Callable[[], str]] = {
            "/": lambda: PAGE,
            "/stats/report": lambda: REPORT,
            "/stats/requests": self.model.status,
            "/stats/requests/csv": self.model.statistics,
            "/stats/failures/csv": self.model.failures,
            "/exceptions/csv": self.model.raised,
            "/tasks": lambda: '{"per_class": {"Visitor": {"ratio": 1.0}}}',
        }
        return (200, {}, texts[path]().encode()) if path in texts else (404, {}, b"nothing here")


@contextmanager
def served(locust: FakeLocust) -> Iterator[FakeLocust]:
    """Serves it on `port`, or any."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, content = locust.answer(self.path, dict(self.headers), body)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve  # noqa: N815  # the library's names

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """Clients that hang up are part of the tests."""

    server = Server(("127.0.0.1", locust.port), Handler)
    locust.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield locust
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
