"""A threaded HTTP/1.1 server on loopback with keep-alive, whose application may cut the connection.

werkzeug's own development server closes every connection after one answer and waits 10 ms each time; SDK
clients reuse connections, and the load of a demo run needs that. So only its parsing of requests is used
here.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import ThreadedWSGIServer

# The largest body taken. S3's single PutObject goes to 5 GB, but a test or a demo has no use for that in
# memory.
MAX_BODY_BYTES = 256 * 1024 * 1024


_PIECE_BYTES = 1024 * 1024


@dataclass
class HttpRequest:
    """One request: `environ` is WSGI's, `body` the whole body as sent."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    environ: dict[str, Any] = field(repr=False)


@dataclass
class HttpResponse:
    """One answer; `headers` without Content-Length, which the server adds."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first value of a header, by its name in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


Application = Callable[[HttpRequest], "HttpResponse | None"]
"""Answers a request; None closes the connection without an answer."""


class _Handler(MotoRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body go out in two writes at most; without this a kept-alive client waits 40 ms for its own
    # ACK.
    disable_nagle_algorithm = True
    server: HttpServer

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        with contextlib.suppress(OSError):  # the peer may be gone
            super().finish()

    def run_wsgi(self) -> None:
        """Serve one request (the name is werkzeug's: its `do_*` methods come here)."""
        if self.headers.get("Expect", "").strip().lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        environ = self.make_environ()
        body = self._read_body(environ)
        if body is None:
            self.close_connection = True
            response: HttpResponse | None = HttpResponse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            request = HttpRequest(self.command, self.path, dict(self.headers.items()), body, environ)
            response = self.server.application(request)
        if response is None:
            self.close_connection = True
            with contextlib.suppress(OSError):  # the peer may be gone already
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._write(response)

    def _read_body(self, environ: dict[str, Any]) -> bytes | None:
        if environ.get("wsgi.input_terminated"):
            body = b""
            while len(body) <= MAX_BODY_BYTES and (piece := environ["wsgi.input"].read(_PIECE_BYTES)):
                body += piece
            # moto must not read the chunks again.
            environ.pop("HTTP_TRANSFER_ENCODING", None)
            environ["CONTENT_LENGTH"] = str(len(body))
            return body if len(body) <= MAX_BODY_BYTES else None
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > MAX_BODY_BYTES:
            return None
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError(f"expected a body of {length} bytes, found {len(body)}")
        return body

    def _write(self, response: HttpResponse) -> None:
        head = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
        names = {name.lower() for name, _ in response.headers}
        head += [f"{name}: {value}" for name, value in response.headers]
        bodiless = self.command == "HEAD" or response.status in (204, 304)
        if "content-length" not in names and response.status != HTTPStatus.NO_CONTENT:
            head.append(f"Content-Length: {len(response.body)}")
        if self.close_connection:
            head.append("Connection: close")
        payload = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + (b"" if bodiless else response.body)
        self.wfile.write(payload)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: calls are recorded as data."""


def _unused(*_: object) -> Iterable[bytes]:
    raise AssertionError("_Handler.run_wsgi calls no WSGI application")


class HttpServer(ThreadedWSGIServer):
    """Serves `application` on 127.0.0.1 from `start` to `close`; port 0 takes a free one."""

    def __init__(self, application: Application, port: int = 0) -> None:
        self.application = application
        self.connections: set[socket.socket] = set()
        super().__init__("127.0.0.1", port, app=_unused, handler=_Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def bound_port(self) -> int:
        """The port that is listened on."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Begin to answer, in threads of this process."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening and close every connection."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):  # closed meanwhile
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that went away; show everything else, which is a bug here."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)
