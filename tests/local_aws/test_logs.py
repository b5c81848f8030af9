"""PutLogEvents' limits and its rejected events."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_aws import LocalAws, LogEvent
from local_aws.errors import AwsError
from local_aws.logs import check_events

NOW_MS = 1_795_262_400_000
HOUR, DAY = 3_600_000, 24 * 3_600_000


def event(timestamp: int = NOW_MS, message: Any = "m") -> dict[str, Any]:
    return {"timestamp": timestamp, "message": message}


def filled(total: int) -> list[dict[str, Any]]:
    """Events whose messages and overheads are `total` bytes."""
    half = total // 2
    return [event(message="x" * (half - 26)), event(message="y" * (total - half - 26))]


@pytest.mark.parametrize(
    "events",
    [
        [event()] * 10_000,
        filled(1_048_576),
        [event(message="é" * ((1_048_576 - 26) // 2))],
        [event(NOW_MS), event(NOW_MS), event(NOW_MS + 1)],
        [event(NOW_MS - DAY), event(NOW_MS)],
    ],
    ids=["10,000 events", "1 MiB", "1 MiB in one", "in order", "24 hours"],
)
def test_what_is_legal_is_taken(events: list[dict[str, Any]]) -> None:
    assert check_events(events, NOW_MS, None) == (events, {})


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], "1 to 10000 events, found 0"),
        ([event()] * 10_001, "1 to 10000 events, found 10001"),
        (filled(1_048_577), "Upload too large: 1048577 bytes exceeds limit of 1048576"),
        ([event(message="é" * (1_048_576 // 2) + "x")], "Log event too large: 1048577 bytes"),
        ([event(), event(message="")], "logEvents.2.member.message"),
        ([event(message=None)], "logEvents.1.member.message"),
        ([event(-1)], "logEvents.1.member.timestamp"),
        ([event(NOW_MS), event(NOW_MS - 1)], "chronological order"),
        ([event(NOW_MS - DAY - 1), event(NOW_MS)], "24 hours"),
    ],
)
def test_what_breaks_a_limit_of_the_batch_is_refused(events: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(AwsError, match=message) as raised:
        check_events(events, NOW_MS, None)
    assert (raised.value.status, raised.value.code) == (400, "InvalidParameterException")


@pytest.mark.parametrize(
    ("offsets", "retention", "kept", "rejected"),
    [
        ([-14 * DAY, -14 * DAY + 1], None, [-14 * DAY, -14 * DAY + 1], {}),
        ([-14 * DAY - 1, 0], None, [0], {"tooOldLogEventEndIndex": 1}),
        ([-15 * DAY, -14 * DAY - 1, 0, HOUR], None, [0, HOUR], {"tooOldLogEventEndIndex": 2}),
        ([0, 2 * HOUR], None, [0, 2 * HOUR], {}),
        ([0, 2 * HOUR + 1, 3 * HOUR], None, [0], {"tooNewLogEventStartIndex": 1}),
        (
            [-15 * DAY, 0, 3 * HOUR],
            None,
            [0],
            {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2},
        ),
        ([-3 * DAY - 1, -3 * DAY], 3, [-3 * DAY], {"expiredLogEventEndIndex": 1}),
        ([-15 * DAY, -4 * DAY, 0], 3, [0], {"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2}),
        ([-15 * DAY], None, [], {"tooOldLogEventEndIndex": 1}),
        ([3 * HOUR], None, [], {"tooNewLogEventStartIndex": 0}),
    ],
)
def test_events_outside_the_window_are_rejected_alone(
    offsets: list[int], retention: int | None, kept: list[int], rejected: dict[str, int]
) -> None:
    events = [event(NOW_MS + offset) for offset in offsets]
    assert check_events(events, NOW_MS, retention) == ([event(NOW_MS + offset) for offset in kept], rejected)


def test_by_boto3(aws: LocalAws) -> None:
    logs = aws.client("logs")
    logs.create_log_group(logGroupName="group")
    logs.put_retention_policy(logGroupName="group", retentionInDays=3)
    logs.create_log_stream(logGroupName="group", logStreamName="stream")
    # moto's own window follows the real clock; local AWS' clock is what counts.
    past = datetime.now(timezone.utc) - timedelta(days=400)
    aws.clock.set(past)
    now_ms = int(past.timestamp() * 1000)
    events = [
        event(now_ms - 3 * DAY - HOUR, "expired"),
        event(now_ms, "first"),
        event(now_ms + HOUR, "second"),
    ]
    answer = logs.put_log_events(logGroupName="group", logStreamName="stream", logEvents=events)
    assert answer["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}
    assert aws.log_events("group") == [
        LogEvent(now_ms, "first", "stream"),
        LogEvent(now_ms + HOUR, "second", "stream"),
    ]
    assert aws.log_events("group", "other") == aws.log_events("nothing") == []
    read = logs.get_log_events(logGroupName="group", logStreamName="stream", startFromHead=True)["events"]
    assert [e["message"] for e in read] == ["first", "second"]
    for group, stream, missing in (("nothing", "stream", "group"), ("group", "nothing", "stream")):
        with pytest.raises(ClientError, match=f"ResourceNotFoundException.*log {missing} does not exist"):
            logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[event(now_ms)])
    with pytest.raises(ClientError, match=r"InvalidParameterException.*chronological"):
        logs.put_log_events(logGroupName="group", logStreamName="stream", logEvents=events[::-1])
    with pytest.raises(ClientError, match="ResourceAlreadyExistsException"):
        logs.create_log_stream(logGroupName="group", logStreamName="stream")
