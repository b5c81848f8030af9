"""As much of S3, CloudWatch and its logs as a batch needs: each call takes a fixed time, and no work is done.

What a relay takes beyond its calls can only be seen when the calls themselves take no processor time: the
machine's local AWS, in Python, takes several times as much for a call as the relay.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from local_aws.calls import classify
from local_aws.http import HttpRequest, HttpResponse, HttpServer

_ETAG = ("ETag", '"00000000000000000000000000000000"')
_CBOR = [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")]
_JSON = [("Content-Type", "application/x-amz-json-1.1")]


@dataclass(frozen=True)
class AnsweredCall:
    """One call; times in seconds of `time.perf_counter`."""

    name: str
    """Service and operation."""
    start: float
    end: float
    bytes: int
    """Of the request's body, as sent."""


class InstantAws:
    """Answers from `__enter__` to `__exit__`; `objects` is what S3 has, by key."""

    def __init__(self, latency_ms: float, objects: Mapping[str, bytes]) -> None:
        self._latency = latency_ms / 1000
        self._objects = objects
        self._lock = threading.Lock()
        self._calls: list[AnsweredCall] = []
        self._server = HttpServer(self._serve)

    def __enter__(self) -> InstantAws:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    @property
    def environment(self) -> dict[str, str]:
        """The `AWS_*` variables of a process that is to call it."""
        return {
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://localhost:{self._server.bound_port}",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def take(self) -> list[AnsweredCall]:
        """The calls since the last time, in the order of their ends."""
        with self._lock:
            calls, self._calls = self._calls, []
            return calls

    def _serve(self, http: HttpRequest) -> HttpResponse:
        start = time.perf_counter()
        call = classify(http)
        answer = self._answer(call.operation, call.key)
        time.sleep(max(0.0, start + self._latency - time.perf_counter()))
        name = f"{call.service} {call.operation}"
        with self._lock:
            self._calls.append(AnsweredCall(name, start, time.perf_counter(), len(http.body)))
        return answer

    def _answer(self, operation: str, key: str | None) -> HttpResponse:
        match operation:
            case "GetObject" if key is not None and key in self._objects:
                return HttpResponse(200, [_ETAG, ("Content-Type", "binary/octet-stream")], self._objects[key])
            case "PutObject":
                return HttpResponse(200, [_ETAG])
            case "PutMetricData":
                return HttpResponse(200, _CBOR, b"\xa0")  # an empty map, RFC 8949 section 3
            case "PutLogEvents" | "CreateLogStream":
                return HttpResponse(200, _JSON, b"{}")
            case _:
                return HttpResponse(
                    501, [], f"expected a call that a batch needs, found {operation} {key}".encode()
                )
