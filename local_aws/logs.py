"""CloudWatch Logs' PutLogEvents with every documented limit; all but this and queries is moto's.

Limits: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from local_aws.calls import Call
from local_aws.clock import Clock
from local_aws.cloudwatch.store import MetricStore
from local_aws.emf import extract
from local_aws.errors import AwsError, request_id
from local_aws.http import HttpResponse
from local_aws.moto_backend import MotoBackend

MAX_BATCH_BYTES = 1_048_576
EVENT_OVERHEAD_BYTES = 26
MAX_EVENT_BYTES = 1_048_576
MAX_EVENTS = 10_000
MAX_SPAN_MS = 24 * 3600 * 1000
OLDEST_MS = 14 * 24 * 3600 * 1000
NEWEST_MS = 2 * 3600 * 1000
_DAY_MS = 24 * 3600 * 1000


def check_events(
    events: Sequence[Mapping[str, Any]], now_ms: int, retention_days: int | None
) -> tuple[list[Mapping[str, Any]], dict[str, int]]:
    """The events that are taken, and `rejectedLogEventsInfo` ({} if all are).

    `tooNewLogEventStartIndex` is the first rejected event, `tooOldLogEventEndIndex` and
    `expiredLogEventEndIndex` are one past the last. What breaks a limit of the whole batch raises `AwsError`.
    """
    _check_batch(events)
    times = [int(event["timestamp"]) for event in events]
    too_old = sum(time < now_ms - OLDEST_MS for time in times)
    expired = sum(time < now_ms - retention_days * _DAY_MS for time in times) if retention_days else 0
    too_new = sum(time > now_ms + NEWEST_MS for time in times)
    start, end = max(too_old, expired), len(events) - too_new
    if start < end and times[end - 1] - times[start] > MAX_SPAN_MS:
        _refuse("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
    rejected: dict[str, int] = {}
    if too_new:
        rejected["tooNewLogEventStartIndex"] = end
    if too_old:
        rejected["tooOldLogEventEndIndex"] = too_old
    if expired > too_old:
        rejected["expiredLogEventEndIndex"] = expired
    return list(events[start:end]), rejected


def _check_batch(events: Sequence[Mapping[str, Any]]) -> None:
    if not 1 <= len(events) <= MAX_EVENTS:
        _refuse(f"'logEvents' failed to satisfy constraint: 1 to {MAX_EVENTS} events, found {len(events)}")
    total = sum(_checked_size(event, f"logEvents.{at}.member") for at, event in enumerate(events, 1))
    if total > MAX_BATCH_BYTES:
        _refuse(f"Upload too large: {total} bytes exceeds limit of {MAX_BATCH_BYTES}")
    if any(later["timestamp"] < earlier["timestamp"] for earlier, later in itertools.pairwise(events)):
        _refuse("Log events in a single PutLogEvents request must be in chronological order.")


def _checked_size(event: Mapping[str, Any], path: str) -> int:
    """What an event counts in its batch, in bytes."""
    message, timestamp = event.get("message"), event.get("timestamp")
    if not isinstance(message, str) or not message:
        _refuse(f"Value at '{path}.message' failed to satisfy constraint: at least 1 character, found none")
    if not isinstance(timestamp, int) or isinstance(timestamp, bool) or timestamp < 0:
        _refuse(f"Value at '{path}.timestamp' failed to satisfy constraint: found {timestamp!r}")
    size = len(message.encode())
    if size > MAX_EVENT_BYTES:
        _refuse(f"Log event too large: {size} bytes exceeds limit of {MAX_EVENT_BYTES} (at '{path}.message')")
    return size + EVENT_OVERHEAD_BYTES


class Logs:
    """PutLogEvents, and Lambda's own way into a log group. Metrics in log events go to `metrics`."""

    def __init__(self, moto: MotoBackend, clock: Clock, metrics: MetricStore) -> None:
        self._moto = moto
        self._clock = clock
        self._metrics = metrics

    def put_log_events(self, call: Call, parameters: Mapping[str, Any], account: str) -> HttpResponse:
        """Answer PutLogEvents; events go into moto's stream, past moto's own time window and real clock."""
        group = self._moto.log_group(account, call.region, str(parameters.get("logGroupName")))
        if group is None:
            raise AwsError(400, "ResourceNotFoundException", "The specified log group does not exist.")
        stream = group.streams.get(parameters.get("logStreamName"))
        if stream is None:
            raise AwsError(400, "ResourceNotFoundException", "The specified log stream does not exist.")
        retention = int(group.retention_in_days) if group.retention_in_days else None
        now_ms = _milliseconds(self._clock.now())
        events, rejected = check_events(parameters.get("logEvents") or [], now_ms, retention)
        answer: dict[str, Any] = {"nextSequenceToken": self._store(stream, events)}
        if rejected:
            answer["rejectedLogEventsInfo"] = rejected
        headers = [("x-amzn-RequestId", request_id()), ("Content-Type", "application/x-amz-json-1.1")]
        return HttpResponse(200, headers, json.dumps(answer).encode())

    def write(
        self, account: str, region: str, group_name: str, stream_name: str, lines: Sequence[str]
    ) -> None:
        """Write a function's output to its group, if that exists; empty lines are left out."""
        group = self._moto.log_group(account, region, group_name)
        if group is None:
            return
        with self._moto.lock:
            if stream_name not in group.streams:
                group.create_log_stream(stream_name)
        now_ms = _milliseconds(self._clock.now())
        self._store(
            group.streams[stream_name], [{"timestamp": now_ms, "message": line} for line in lines if line]
        )

    def _store(self, stream: Any, events: Sequence[Mapping[str, Any]]) -> str:
        with self._moto.lock:
            token: str = stream.put_log_events([dict(event) for event in events])
        extract(self._metrics, (event["message"] for event in events), self._clock.now())
        return token


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _refuse(message: str) -> NoReturn:
    raise AwsError(400, "InvalidParameterException", message)
