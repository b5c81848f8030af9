"""Lambda's Runtime API on loopback, and the process of a function that talks to it; with their times.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local_aws.http import HttpRequest, HttpResponse, HttpServer

TIMEOUT_SECONDS = 60.0
"""Of one invocation, and of the start."""
_INVOCATION = "/2018-06-01/runtime/invocation/"


class FunctionProcess:
    """One process of a function, from `__enter__` to `__exit__`; it gets one event after the other."""

    def __init__(self, binary: Path, environment: Mapping[str, str]) -> None:
        self._binary = binary
        self._environment = environment
        self._changed = threading.Condition()
        self._api = HttpServer(self._serve)
        self._asked: float | None = None
        self._asks = 0
        self._event: bytes | None = None
        self._answered: float | None = None
        self._error: str | None = None
        self._invocations = 0
        self._stderr = b""
        self._closed = False

    def __enter__(self) -> FunctionProcess:
        self._api.start()
        environment = {
            **self._environment,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.bound_port}",
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/bench",
            "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
        }
        self.started = time.perf_counter()
        self._process = subprocess.Popen(  # noqa: S603  # our own binary
            [self._binary], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._watch = threading.Thread(target=self._until_its_end, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._process.kill()
        self._watch.join()
        self._api.close()

    def wait_ready(self) -> float:
        """Seconds from the start of the process until it asked for its first event."""
        with self._changed:
            self._wait(lambda: self._asked is not None, "a request for the first event")
            assert self._asked is not None  # noqa: S101  # for mypy
            return self._asked - self.started

    def invoke(self, event: Any) -> float:
        """Seconds from handing out an event until its answer was here; raises what the function answered.

        Returns when the function asks for the next event.
        """
        self.wait_ready()
        with self._changed:
            asks = self._asks
            self._answered = self._error = None
            self._event = json.dumps(event).encode()
            self._invocations += 1
            begun = time.perf_counter()
            self._changed.notify_all()
            self._wait(lambda: self._answered is not None and self._asks > asks, "an answer")
            if self._error is not None:
                raise RuntimeError(f"expected a success of {self._binary}, found {self._error}")
            assert self._answered is not None  # noqa: S101
            return self._answered - begun

    @property
    def last_answer(self) -> float:
        """Seconds from the start of the process to its last answer."""
        if self._answered is None:
            raise RuntimeError("expected an event that was answered, found none: call invoke first")
        return self._answered - self.started

    @property
    def cpu_seconds(self) -> float:
        """Time on a processor so far, of all threads that still live."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    @property
    def peak_mb(self) -> float:
        """The most memory that was ever resident, in MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 1024

    def _until_its_end(self) -> None:
        _, self._stderr = self._process.communicate()
        with self._changed:
            self._changed.notify_all()

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        def over() -> bool:
            return condition() or self._process.returncode is not None

        if not self._changed.wait_for(over, TIMEOUT_SECONDS):
            raise TimeoutError(f"expected {what} of {self._binary} in {TIMEOUT_SECONDS} s, found none")
        if not condition():
            text = self._stderr.decode("utf-8", "replace")
            raise RuntimeError(f"expected {what} of {self._binary}, found its end: {text[-2000:]}")

    def _serve(self, http: HttpRequest) -> HttpResponse | None:
        now = time.perf_counter()
        if http.target == f"{_INVOCATION}next":
            return self._next(now)
        with self._changed:
            self._answered = now
            if not http.target.endswith("/response"):
                self._error = f"{http.target}: {http.body.decode('utf-8', 'replace')}"
            self._changed.notify_all()
        return HttpResponse(202, [("Content-Type", "application/json")], b'{"status":"OK"}')

    def _next(self, now: float) -> HttpResponse | None:
        with self._changed:
            if self._asked is None:
                self._asked = now
            self._asks += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._event is not None or self._closed)
            if self._event is None:
                return None
            body, self._event = self._event, None
            headers = [
                ("Lambda-Runtime-Aws-Request-Id", f"00000000-0000-0000-0000-{self._invocations:012}"),
                ("Lambda-Runtime-Deadline-Ms", str(int((time.time() + TIMEOUT_SECONDS) * 1000))),
                (
                    "Lambda-Runtime-Invoked-Function-Arn",
                    "arn:aws:lambda:us-east-1:123456789012:function:bench",
                ),
                ("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000;Sampled=0"),
                ("Content-Type", "application/json"),
            ]
            return HttpResponse(200, headers, body)
