"""Metrics in log events, and a function's own log."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from local_aws import LocalAws, Stack

from .conftest import BINARY


def document(**changes: Any) -> dict[str, Any]:
    directive = {
        "Namespace": "Locust/Relay",
        "Dimensions": [["Function"], []],
        "Metrics": [
            {"Name": "Batches", "Unit": "Count"},
            {"Name": "Lag", "Unit": "Milliseconds", "StorageResolution": 1},
        ],
    }
    now_ms = int(time.time() * 1000)
    base = {
        "_aws": {"Timestamp": now_ms, "CloudWatchMetrics": [directive]},
        "Function": "relay",
        "Batches": 2,
    }
    return {**base, "Lag": [10, 20, 20], "other": "text", **changes}


def put(aws: LocalAws, *messages: str) -> None:
    logs = aws.client("logs")
    try:
        logs.create_log_group(logGroupName="emf")
        logs.create_log_stream(logGroupName="emf", logStreamName="s")
    except logs.exceptions.ResourceAlreadyExistsException:
        pass
    now_ms = int(time.time() * 1000)
    events = [{"timestamp": now_ms, "message": message} for message in messages]
    logs.put_log_events(logGroupName="emf", logStreamName="s", logEvents=events)


def test_log_events_become_metrics(aws: LocalAws) -> None:
    put(aws, json.dumps(document()), json.dumps(document()), 'says "_aws" only', '["_aws"]', "{}")
    lag = aws.metrics.distribution("Locust/Relay", "Lag", {"Function": "relay"}, unit="Milliseconds")
    assert lag.counts == {10: 2, 20: 4}
    assert aws.metrics.distribution("Locust/Relay", "Batches").sum == 4
    assert aws.metrics.keys("AWS/Logs") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"Batches": "two"},
        {"Function": ""},
        {"Lag": [1] * 101},
        {"_aws": {}},
        {"_aws": {**document()["_aws"], "Timestamp": 1}},
    ],
)
def test_broken_documents_are_counted(aws: LocalAws, changes: dict[str, Any]) -> None:
    put(aws, json.dumps(document(**changes)))
    assert aws.metrics.distribution("AWS/Logs", "EMFValidationErrors").sum == 1


def test_a_functions_output_reaches_its_log_group(aws: LocalAws, stack: Stack) -> None:
    group = f"/aws/lambda/{stack.functions['Function'].name}"
    aws.client("logs").create_log_group(logGroupName=group)
    with aws.run_function(stack, "Function", BINARY) as function:
        function.invoke({"do": "answer"})
        assert aws.log_events(group) == []  # the role may not
        statement = {
            "Effect": "Allow",
            "Action": "logs:*",
            "Resource": f"arn:aws:logs:*:*:log-group:{group}:*",
        }
        aws.client("iam").put_role_policy(
            RoleName=stack.resources["Role"].physical_id,
            PolicyName="logs",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )
        invocation = function.invoke({"do": "answer"})
    (event,) = aws.log_events(group)
    assert event.message == f"working on {invocation.request_id}"
    assert "/[$LATEST]" in event.stream
