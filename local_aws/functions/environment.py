"""One execution environment of a function: a process of its binary, and the Runtime API that it talks to.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html and .../runtimes-extensions-api.html
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from local_aws.functions.invocation import Attempt, FunctionSettings, Invocation
from local_aws.http import HttpRequest, HttpResponse, HttpServer

# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
INIT_SECONDS = 10.0
SHUTDOWN_SECONDS = 2.0
MAX_LOG_LINES = 50_000
_RUNTIME = "/2018-06-01/runtime/"
_EXTENSION = "/2020-01-01/extension/"


class _Output:
    """The lines that a process writes, read as they come and on demand."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._rest = b""
        self._lines: deque[str] = deque(maxlen=MAX_LOG_LINES)
        self._closed = False
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._closed:
            select.select([self._descriptor], [], [])
            self._pump()
        os.close(self._descriptor)

    def _pump(self) -> None:
        with self._lock:
            while not self._closed:
                try:
                    data = os.read(self._descriptor, 65536)
                except BlockingIOError:
                    return
                self._closed = not data
                *lines, self._rest = (self._rest + data).split(b"\n")
                self._lines.extend(line.decode("utf-8", "replace") for line in lines)
            if self._rest:
                self._lines.append(self._rest.decode("utf-8", "replace"))
                self._rest = b""

    def take(self) -> list[str]:
        """All complete lines written until now."""
        self._pump()
        with self._lock:
            lines = list(self._lines)
            self._lines.clear()
            return lines

    def finish(self) -> list[str]:
        """All lines, after the process has ended."""
        self._thread.join(timeout=SHUTDOWN_SECONDS)
        return self.take()


class Environment:
    """Runs invocations one after the other; starts the process when there is none."""

    def __init__(
        self,
        settings: FunctionSettings,
        command: Sequence[str],
        environment: Callable[[], Mapping[str, str]],
        on_pickup: Callable[[Invocation], None],
    ) -> None:
        self._on_pickup = on_pickup
        self._settings = settings
        self._command = list(command)
        self._environment = environment
        self._changed = threading.Condition()
        # Counts processes up, so that what a dead process asked for is never answered to it.
        self._generation = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._output: _Output | None = None
        self._exit: int | None = None
        self._pending: Invocation | None = None
        self._running: Invocation | None = None
        self._deadline_ms = 0
        self._result: Attempt | None = None
        self._closed = False
        self._api = HttpServer(self._serve)
        self._api.start()

    # What the function's host does

    def invoke(self, invocation: Invocation) -> Attempt:
        """Have the process work on an event, and say what came of it."""
        began = time.monotonic()
        try:
            self._ensure_process()
        except OSError as error:
            message = f"RequestId: {invocation.request_id} Error: {error}"
            return _failed("crash", "Runtime.InvalidEntrypoint", message)
        with self._changed:
            self._result = None
            self._pending = invocation
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._pending is None or self._over(), INIT_SECONDS)
            picked_up = self._pending is None
            if picked_up:
                self._changed.wait_for(self._over, self._settings.timeout)
            attempt = self._result or self._failure(invocation, picked_up)
            self._pending = self._running = None
        if attempt.outcome == "timeout" or not picked_up:
            self.kill()
        attempt.log = self._take_log(attempt)
        attempt.seconds = time.monotonic() - began
        return attempt

    def kill(self) -> None:
        """Kill the process, if there is one, and wait until it is gone."""
        with self._changed:
            process = self._process
            if process and self._exit is None:
                with contextlib.suppress(ProcessLookupError):  # just ended by itself
                    os.killpg(process.pid, signal.SIGKILL)
            self._changed.wait_for(
                lambda: process is None or self._exit is not None or self._process is not process
            )

    def close(self) -> None:
        """End the process as Lambda does: SIGTERM, and after a grace time SIGKILL."""
        with self._changed:
            self._closed = True
            if self._process and self._exit is None:
                self._process.terminate()
                self._changed.wait_for(lambda: self._exit is not None, SHUTDOWN_SECONDS)
            self._changed.notify_all()
        self.kill()
        if self._output:
            self._output.finish()
        self._api.close()

    def _over(self) -> bool:
        return self._result is not None or self._exit is not None or self._closed

    def _failure(self, invocation: Invocation, picked_up: bool) -> Attempt:
        prefix = f"RequestId: {invocation.request_id} Error: "
        if self._exit is not None:
            how = (
                f"signal: {signal.Signals(-self._exit).name}"
                if self._exit < 0
                else f"exit status {self._exit}"
            )
            return _failed("crash", "Runtime.ExitError", f"{prefix}Runtime exited with error: {how}")
        if self._closed:
            return _failed("crash", "Runtime.ExitError", f"{prefix}the execution environment was shut down")
        if not picked_up:
            return _failed(
                "timeout", "Sandbox.Timedout", f"{prefix}Init timed out after {INIT_SECONDS:.2f} seconds"
            )
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        message = f"{now} {invocation.request_id} Task timed out after {self._settings.timeout:.2f} seconds"
        return _failed("timeout", "Sandbox.Timedout", message)

    def _take_log(self, attempt: Attempt) -> list[str]:
        if self._output is None:
            return []
        return self._output.take() if attempt.outcome in ("success", "error") else self._output.finish()

    def _ensure_process(self) -> None:
        with self._changed:
            if self._process and self._exit is None:
                return
            self._generation += 1
            self._exit = None
            read, write = os.pipe()
            try:
                self._process = subprocess.Popen(  # noqa: S603  # the caller's own binary
                    self._command,
                    env={
                        **self._environment(),
                        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.bound_port}",
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=write,
                    stderr=write,
                    start_new_session=True,
                )
            except OSError:
                os.close(read)
                raise
            finally:
                os.close(write)
            self._output = _Output(read)
            threading.Thread(target=self._wait_for_exit, args=(self._process,), daemon=True).start()
            self._changed.notify_all()

    def _wait_for_exit(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        with contextlib.suppress(ProcessLookupError):  # no child of it was left
            os.killpg(process.pid, signal.SIGKILL)
        with self._changed:
            if self._process is process:
                self._exit = code
                self._generation += 1
                self._changed.notify_all()

    # What the process asks for

    def _serve(self, http: HttpRequest) -> HttpResponse | None:
        path = http.target
        if path.startswith(_RUNTIME):
            what = path.removeprefix(_RUNTIME)
            if what == "invocation/next":
                return self._next()
            if what == "init/error":
                return self._finish(None, self._error(http, "Runtime.InitError"))
            identifier, _, kind = what.removeprefix("invocation/").partition("/")
            if kind == "response":
                return self._finish(identifier, _response(http))
            if kind == "error":
                return self._finish(identifier, self._error(http, "Unhandled"))
        if path == f"{_EXTENSION}register":
            account = self._settings.arn.split(":")[4]
            body = {"functionName": self._settings.name, "functionVersion": "$LATEST"}
            body |= {"handler": self._settings.handler, "accountId": account}
            return _json(200, body, ("Lambda-Extension-Identifier", str(uuid.uuid4())))
        if path == f"{_EXTENSION}event/next":
            with self._changed:
                generation = self._generation
                self._changed.wait_for(lambda: self._closed or self._generation != generation)
            return None
        return _json(404, {"errorType": "NotFound", "errorMessage": f"the Runtime API has no {path}"})

    def _next(self) -> HttpResponse | None:
        with self._changed:
            generation = self._generation
            self._changed.wait_for(lambda: self._pending or self._closed or self._generation != generation)
            if self._closed or self._generation != generation or self._pending is None:
                return None
            self._running, self._pending = self._pending, None
            self._deadline_ms = int((time.time() + self._settings.timeout) * 1000)
            self._changed.notify_all()
            invocation = self._running
            self._on_pickup(invocation)
            headers = [
                ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
                ("Lambda-Runtime-Deadline-Ms", str(self._deadline_ms)),
                ("Lambda-Runtime-Invoked-Function-Arn", self._settings.arn),
                (
                    "Lambda-Runtime-Trace-Id",
                    f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0",
                ),
                ("Content-Type", "application/json"),
            ]
            return HttpResponse(200, headers, json.dumps(invocation.event).encode())

    def _finish(self, request_id: str | None, attempt: Attempt) -> HttpResponse:
        with self._changed:
            if request_id is not None and (self._running is None or self._running.request_id != request_id):
                return _json(
                    400, {"errorType": "InvalidRequestID", "errorMessage": f"not running: {request_id}"}
                )
            self._result = attempt
            self._changed.notify_all()
        return _json(202, {"status": "OK"})

    @staticmethod
    def _error(http: HttpRequest, default_type: str) -> Attempt:
        try:
            body = json.loads(http.body or b"{}")
        except ValueError:
            body = {"errorMessage": http.body.decode("utf-8", "replace")}
        kind = body.get("errorType") or http.headers.get("Lambda-Runtime-Function-Error-Type") or default_type
        return Attempt("error", body, kind, body.get("errorMessage", ""))


def _response(http: HttpRequest) -> Attempt:
    try:
        return Attempt("success", json.loads(http.body or b"null"))
    except ValueError as error:
        return _failed("error", "Runtime.MalformedResponse", f"expected a response in JSON, found: {error}")


def _failed(outcome: Any, error_type: str, message: str) -> Attempt:
    return Attempt(outcome, {"errorType": error_type, "errorMessage": message}, error_type, message)


def _json(status: int, body: object, *headers: tuple[str, str]) -> HttpResponse:
    return HttpResponse(status, [*headers, ("Content-Type", "application/json")], json.dumps(body).encode())
