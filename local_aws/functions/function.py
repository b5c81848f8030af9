"""A running Lambda function: its queue of asynchronous invocations, retries, and on-failure destination.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.clock import Clock
from local_aws.functions.environment import Environment
from local_aws.functions.invocation import Attempt, FunctionSettings, Invocation

MAX_QUEUED = 100_000
_ENDED = ("succeeded", "failed")


class Function:
    """A function that runs in `concurrency` environments until `close`; use it with `with`.

    `retry_waits` are the seconds before the first and the second retry (AWS: 60 and 120). `send` delivers a
    record to a queue's ARN with the function's own permissions; `ended` is told of each attempt, and of how
    many were at work when it began, itself included.
    """

    def __init__(
        self,
        settings: FunctionSettings,
        command: Sequence[str],
        environment: Callable[[], Mapping[str, str]],
        *,
        clock: Clock,
        send: Callable[[str, str], None],
        ended: Callable[[Attempt, int], None],
        concurrency: int = 1,
        retry_waits: tuple[float, float] = (60.0, 120.0),
    ) -> None:
        if not 1 <= concurrency <= 1000:
            raise ValueError(f"expected a concurrency of 1..1000, found {concurrency}")
        self.settings = settings
        self._clock = clock
        self._send = send
        self._ended = ended
        self._retry_waits = retry_waits
        self._queue: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._invocations: list[Invocation] = []
        self._outstanding = 0
        self._running = 0
        self._timers: set[threading.Timer] = set()
        self._closed = False
        self._environments = [
            Environment(settings, command, environment, self._on_pickup) for _ in range(concurrency)
        ]
        self._workers = [
            threading.Thread(target=self._work, args=(e,), daemon=True) for e in self._environments
        ]
        for worker in self._workers:
            worker.start()

    @property
    def invocations(self) -> list[Invocation]:
        """All invocations so far, in the order they were accepted."""
        with self._changed:
            return list(self._invocations)

    def invoke(self, event: Any, timeout: float | None = None) -> Invocation:
        """Invoke synchronously: no retries. Returns when the function has answered or failed."""
        invocation = self._accept(event, "sync")
        self._wait(lambda: invocation.status in _ENDED, "an answer", timeout or self.settings.timeout + 60)
        return invocation

    def invoke_async(self, event: Any) -> Invocation:
        """Queue an event, as S3 does."""
        return self._accept(event, "async")

    def wait_idle(self, timeout: float = 60) -> None:
        """Block until no invocation is queued, running or waiting for a retry."""
        self._wait(lambda: self._outstanding == 0, "no event left", timeout)

    def wait_working(self, timeout: float = 60) -> None:
        """Block until a process has picked up an event and works on it."""
        self._wait(lambda: any(i.status == "running" for i in self._invocations), "an event at work", timeout)

    def wait_attempts(self, invocation: Invocation, attempts: int, timeout: float = 60) -> None:
        """Block until `attempts` tries at an event are over."""
        self._wait(lambda: len(invocation.attempts) >= attempts, f"{attempts} attempts", timeout)

    def _wait(self, condition: Callable[[], bool], what: str, timeout: float) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                found = [(i.request_id, i.status) for i in self._invocations if i.status not in _ENDED][:10]
                raise TimeoutError(f"{self.settings.name}: expected {what} in {timeout} s, found {found}")

    def kill(self) -> None:
        """Kill all of the function's processes; what they work on fails with Runtime.ExitError."""
        for environment in self._environments:
            environment.kill()

    def close(self) -> list[Any]:
        """Stop; returns the asynchronous events that are not done."""
        with self._changed:
            self._closed = True
            for timer in self._timers:
                timer.cancel()
        for _ in self._workers:
            self._queue.put(None)
        for environment in self._environments:
            environment.close()
        for worker in self._workers:
            worker.join()
        with self._changed:
            return [i.event for i in self._invocations if i.kind == "async" and i.status not in _ENDED]

    def __enter__(self) -> Function:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self, event: Any, kind: Any) -> Invocation:
        invocation = Invocation(event, kind, self._clock.now())
        with self._changed:
            if self._closed:
                raise RuntimeError(f"{self.settings.name} is closed")
            if self._outstanding >= MAX_QUEUED:
                raise RuntimeError(
                    f"{self.settings.name} has {MAX_QUEUED} events in its queue, no more are taken"
                )
            self._invocations.append(invocation)
            self._outstanding += 1
        self._queue.put(invocation)
        return invocation

    def _on_pickup(self, invocation: Invocation) -> None:
        with self._changed:
            invocation.status = "running"
            self._changed.notify_all()

    def _work(self, environment: Environment) -> None:
        while (invocation := self._queue.get()) is not None and not self._closed:
            age = (self._clock.now() - invocation.accepted).total_seconds()
            if invocation.kind == "async" and age > self.settings.max_age:
                self._fail(invocation, "EventAgeExceeded")
                continue
            with self._changed:
                self._running += 1
                running = self._running
            attempt = environment.invoke(invocation)
            with self._changed:
                self._running -= 1
            self._ended(attempt, running)
            if not self._closed:
                self._settle(invocation, attempt)

    def _settle(self, invocation: Invocation, attempt: Attempt) -> None:
        with self._changed:
            invocation.attempts.append(attempt)
            invocation.status = "queued"
            tries = len(invocation.attempts)
            self._changed.notify_all()
        if attempt.outcome == "success":
            self._end(invocation, "succeeded")
        elif invocation.kind == "sync":
            self._end(invocation, "failed")
        elif tries > self.settings.max_retries:
            self._fail(invocation, "RetriesExhausted")
        else:
            self._retry(invocation, self._retry_waits[tries - 1])

    def _retry(self, invocation: Invocation, wait: float) -> None:
        with self._changed:
            if self._closed:
                return
            if wait > 0:
                invocation.status = "waiting"
                timer = threading.Timer(wait, self._queue.put, (invocation,))
                timer.daemon = True
                self._timers = {t for t in self._timers if t.is_alive()} | {timer}
                timer.start()
                return
        self._queue.put(invocation)

    def _fail(self, invocation: Invocation, condition: str) -> None:
        if self.settings.on_failure_arn:
            invocation.on_failure = self._record(invocation, condition)
            try:
                self._send(self.settings.on_failure_arn, json.dumps(invocation.on_failure))
            except (ClientError, BotoCoreError) as error:
                # AWS drops the record then, and counts it in the metric DestinationDeliveryFailures.
                invocation.destination_error = str(error)
        self._end(invocation, "failed")

    def _record(self, invocation: Invocation, condition: str) -> dict[str, Any]:
        """https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"""
        now = self._clock.now()
        record: dict[str, Any] = {
            "version": "1.0",
            "timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z",
            "requestContext": {
                "requestId": invocation.request_id,
                "functionArn": f"{self.settings.arn}:$LATEST",
                "condition": condition,
                "approximateInvokeCount": len(invocation.attempts),
            },
            "requestPayload": invocation.event,
        }
        if invocation.last:
            context = {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
            record |= {"responseContext": context, "responsePayload": invocation.last.response}
        return record

    def _end(self, invocation: Invocation, status: Any) -> None:
        with self._changed:
            invocation.status = status
            self._outstanding -= 1
            self._changed.notify_all()
