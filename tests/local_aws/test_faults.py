"""Each kind of fault, as the real boto3 sees it, and what the record says."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from local_aws import LocalAws

ONCE = Config(retries={"total_max_attempts": 1})
IMPATIENT = Config(retries={"total_max_attempts": 1}, read_timeout=0.5)


@pytest.fixture(scope="module")
def bucket(aws: LocalAws) -> str:
    aws.client("s3").create_bucket(Bucket="faults")
    return "faults"


@pytest.fixture
def s3(aws: LocalAws, bucket: str) -> Any:
    aws.calls.clear()
    return aws.client("s3", config=ONCE)


def put(s3: Any, key: str) -> Any:
    return s3.put_object(Bucket="faults", Key=key, Body=b"x")


def exists(aws: LocalAws, key: str) -> bool:
    return "Contents" in aws.client("s3").list_objects_v2(Bucket="faults", Prefix=key)


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "kind", "code", "status"),
    [
        ("s3", "put_object", {"Bucket": "faults", "Key": "e"}, "throttle", "SlowDown", 503),
        ("s3", "put_object", {"Bucket": "faults", "Key": "e"}, "error500", "InternalError", 500),
        ("s3", "put_object", {"Bucket": "faults", "Key": "e"}, "error503", "ServiceUnavailable", 503),
        ("cloudwatch", "list_metrics", {}, "throttle", "Throttling", 400),
        ("cloudwatch", "list_metrics", {}, "error500", "InternalServiceError", 500),
        ("cloudwatch", "list_metrics", {}, "error503", "ServiceUnavailable", 503),
        ("logs", "describe_log_groups", {}, "throttle", "ThrottlingException", 400),
        ("logs", "describe_log_groups", {}, "error500", "InternalFailure", 500),
        ("logs", "describe_log_groups", {}, "error503", "ServiceUnavailableException", 503),
        ("sqs", "list_queues", {}, "throttle", "RequestThrottled", 403),
        ("sts", "get_caller_identity", {}, "throttle", "Throttling", 400),
    ],
)
def test_errors(
    aws: LocalAws,
    bucket: str,
    service: str,
    operation: str,
    arguments: Any,
    kind: Any,
    code: str,
    status: int,
) -> None:
    client = aws.client(service, config=ONCE)
    aws.calls.clear()
    fault = aws.faults.add(service=service, kind=kind)
    with pytest.raises(ClientError) as raised:
        getattr(client, operation)(**arguments)
    response = raised.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    (record,) = aws.calls
    assert (record.fault, record.status, record.error) == (kind, status, code)
    assert fault.hits == 1
    getattr(client, operation)(**arguments)


def test_default_retries_get_over_a_throttle(aws: LocalAws, bucket: str) -> None:
    aws.calls.clear()
    aws.faults.add(service="s3", operation="PutObject", kind="throttle", times=2)
    put(aws.client("s3"), "retried")
    assert [call.status for call in aws.calls.of("s3", "PutObject")] == [503, 503, 200]


def test_cut_before_does_no_work(aws: LocalAws, s3: Any) -> None:
    aws.faults.add(service="s3", operation="PutObject", kind="cut_before")
    with pytest.raises(ConnectionClosedError):
        put(s3, "before")
    assert not exists(aws, "before")
    (record,) = aws.calls.of("s3", "PutObject")
    assert (record.status, record.fault) == (None, "cut_before")


def test_cut_after_does_the_work(aws: LocalAws, s3: Any) -> None:
    aws.faults.add(service="s3", operation="PutObject", kind="cut_after")
    with pytest.raises(ConnectionClosedError):
        put(s3, "after")
    assert exists(aws, "after")
    (record,) = aws.calls.of("s3", "PutObject")
    assert (record.status, record.fault) == (None, "cut_after")


def test_cut_after_a_refused_call_is_cut_too(aws: LocalAws, s3: Any) -> None:
    aws.faults.add(service="s3", operation="GetBucketPolicy", kind="cut_after")
    with pytest.raises(ConnectionClosedError):
        s3.get_bucket_policy(Bucket="faults")


def test_timeout_holds_until_released(aws: LocalAws, s3: Any) -> None:
    fault = aws.faults.add(service="s3", operation="PutObject", kind="timeout")
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            aws.client("s3", config=ONCE).put_object(Bucket="faults", Key="held")
        except ConnectionClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    fault.wait_hit(timeout=10)
    assert aws.calls.of("s3", "PutObject") == []
    fault.release()
    thread.join(10)
    assert len(errors) == 1
    assert not exists(aws, "held")


def test_a_client_gives_up_on_a_timeout(aws: LocalAws, bucket: str) -> None:
    aws.calls.clear()
    fault = aws.faults.add(service="s3", operation="PutObject", kind="timeout")
    with pytest.raises(ReadTimeoutError):
        put(aws.client("s3", config=IMPATIENT), "slow")
    fault.release()
    aws.calls.wait_for("s3", "PutObject")


def test_latency_delays_the_work(aws: LocalAws, s3: Any) -> None:
    aws.faults.add(service="s3", operation="PutObject", kind="latency_ms", latency_ms=120)
    put(s3, "late")
    put(s3, "soon")
    late, soon = aws.calls.of("s3", "PutObject")
    assert (late.fault, soon.fault) == ("latency_ms", None)
    assert late.seconds >= 0.12
    assert exists(aws, "late")


def test_which_calls_are_hit(aws: LocalAws, s3: Any) -> None:
    aws.faults.add(service="s3", operation="PutObject", kind="error500", skip=1, times=2, match="/hit")
    aws.faults.add(kind="error503", times=None, match=lambda call: call.key == "always")
    outcomes = []
    for key in ("other", "hit-1", "hit-2", "hit-3", "hit-4", "always", "always"):
        try:
            outcomes.append(put(s3, key)["ResponseMetadata"]["HTTPStatusCode"])
        except ClientError as error:
            outcomes.append(error.response["ResponseMetadata"]["HTTPStatusCode"])
    assert outcomes == [200, 200, 500, 500, 200, 503, 503]
    aws.faults.clear()
    put(s3, "always")


def test_a_fault_that_does_not_exist_is_refused(aws: LocalAws) -> None:
    with pytest.raises(ValueError, match=r"cut_before.*found 'explode'"):
        aws.faults.add(kind="explode")  # type: ignore[arg-type]
