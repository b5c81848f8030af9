"""The Lambda host: Runtime API, retries, on-failure record, time-outs, crashes; fed by S3 notifications."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

import pytest

from local_aws import LocalAws, Stack

from .conftest import BINARY, HERE


def run(aws: LocalAws, stack: Stack, **options: Any) -> Any:
    return aws.run_function(stack, "Function", BINARY, retry_waits=(0, 0), **options)


def messages(aws: LocalAws, stack: Stack) -> list[dict[str, Any]]:
    sqs, url = aws.client("sqs"), stack.outputs["QueueUrl"]
    found = []
    while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in batch:
            found.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_a_synchronous_invocation_returns_the_answer_and_keeps_the_process(
    aws: LocalAws, stack: Stack
) -> None:
    with run(aws, stack) as function:
        first, second = function.invoke({"do": "answer", "ä": [1]}), function.invoke({"do": "answer"})
    assert first.status == "succeeded"
    assert first.response["event"] == {"do": "answer", "ä": [1]}
    assert first.response["pid"] == second.response["pid"]
    assert first.log == [f"working on {first.request_id}"]
    assert second.log == [f"working on {second.request_id}"]


def test_a_synchronous_failure_is_not_retried(aws: LocalAws, stack: Stack) -> None:
    with run(aws, stack) as function:
        failed = function.invoke({"do": "fail"})
    assert (failed.status, failed.error_type, failed.error_message, len(failed.attempts)) == (
        "failed",
        "BatchError",
        "line 3: expected JSON",
        1,
    )
    assert messages(aws, stack) == []


def test_the_environment_is_lambdas(aws: LocalAws, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUST_LOG", "debug")
    monkeypatch.setenv("SECRET_OF_THIS_MACHINE", "x")
    with run(aws, stack, variables={"EXTRA": "1"}) as function:
        environment = function.invoke({"do": "environment"}).response
    settings = stack.functions["Function"]
    expected = {
        "GREETING": "hello",
        "NUMBER": "3",
        "EXTRA": "1",
        "_HANDLER": "bootstrap",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_LAMBDA_FUNCTION_NAME": settings.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{settings.name}",
        "RUST_LOG": "debug",
    }
    assert {key: environment.get(key) for key in expected} == expected
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert environment["AWS_SESSION_TOKEN"]
    assert "SECRET_OF_THIS_MACHINE" not in environment


def test_an_object_invokes_the_function(aws: LocalAws, stack: Stack) -> None:
    bucket = stack.outputs["BucketName"]
    s3 = aws.client("s3")
    with run(aws, stack) as function:
        put = s3.put_object(Bucket=bucket, Key="in/a b+c/ü.gz", Body=b"12345")
        s3.put_object(Bucket=bucket, Key="out/elsewhere", Body=b"")
        function.wait_idle(30)
        s3.copy_object(Bucket=bucket, Key="in/copy", CopySource={"Bucket": bucket, "Key": "in/a b+c/ü.gz"})
        function.wait_idle(30)
        created, copied = function.invocations
    record = created.event["Records"][0]
    assert record["s3"]["object"] == {
        "key": "in/a+b%2Bc/%C3%BC.gz",
        "size": 5,
        "eTag": put["ETag"].strip('"'),
        "versionId": put["VersionId"],
        "sequencer": record["s3"]["object"]["sequencer"],
    }
    assert (record["eventVersion"], record["eventSource"], record["eventName"], record["awsRegion"]) == (
        "2.1",
        "aws:s3",
        "ObjectCreated:Put",
        "us-east-1",
    )
    assert record["s3"]["bucket"]["name"] == bucket
    assert set(record) >= {"eventTime", "userIdentity", "requestParameters", "responseElements"}
    assert copied.event["Records"][0]["eventName"] == "ObjectCreated:Copy"
    assert [created.status, copied.status] == ["succeeded", "succeeded"]


def test_events_wait_for_the_function_to_run(aws: LocalAws, stack: Stack) -> None:
    aws.client("s3").put_object(Bucket=stack.outputs["BucketName"], Key="in/early", Body=b"")
    with run(aws, stack) as function:
        function.wait_idle(30)
        assert [i.status for i in function.invocations] == ["succeeded"]


def test_a_failing_event_is_retried_and_ends_in_the_queue(aws: LocalAws, stack: Stack) -> None:
    with run(aws, stack) as function:
        aws.client("s3").put_object(Bucket=stack.outputs["BucketName"], Key="in/fail", Body=b"")
        function.wait_idle(30)
        (failed,) = function.invocations
    assert [attempt.outcome for attempt in failed.attempts] == ["error", "error"]  # MaximumRetryAttempts: 1
    assert failed.destination_error is None
    (record,) = messages(aws, stack)
    assert record == failed.on_failure
    assert record["version"] == "1.0"
    assert record["requestContext"] == {
        "requestId": failed.request_id,
        "functionArn": stack.functions["Function"].arn + ":$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 2,
    }
    assert record["requestPayload"] == failed.event
    assert record["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    assert record["responsePayload"] == {"errorType": "BatchError", "errorMessage": "line 3: expected JSON"}
    (sent,) = aws.calls.of("sqs", "SendMessage")
    assert "assumed-role/small-Role" in sent.principal


def test_the_record_needs_the_roles_permission(aws: LocalAws, stack: Stack) -> None:
    iam, role = aws.client("iam"), stack.resources["Role"].physical_id
    deny = {"Statement": [{"Effect": "Deny", "Action": "sqs:*", "Resource": "*"}]}
    iam.put_role_policy(
        RoleName=role, PolicyName="deny", PolicyDocument=json.dumps({"Version": "2012-10-17", **deny})
    )
    with run(aws, stack) as function:
        failed = function.invoke_async({"do": "fail"})
        function.wait_idle(30)
    iam.delete_role_policy(RoleName=role, PolicyName="deny")
    assert "explicit deny" in str(failed.destination_error)
    assert messages(aws, stack) == []


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("exit", "Runtime exited with error: exit status 7"),
        ("die", "Runtime exited with error: signal: SIGKILL"),
    ],
)
def test_a_crash_is_an_exit_error_and_the_next_event_gets_a_new_process(
    aws: LocalAws, stack: Stack, command: str, message: str
) -> None:
    with run(aws, stack) as function:
        before = function.invoke({"do": "answer"})
        crashed = function.invoke({"do": command})
        after = function.invoke({"do": "answer"})
    assert (crashed.attempts[0].outcome, crashed.error_type) == ("crash", "Runtime.ExitError")
    assert message in str(crashed.error_message)
    assert crashed.log[0] == f"working on {crashed.request_id}"
    assert ("leaving" in crashed.log) == (command == "exit")
    assert after.status == "succeeded"
    assert before.response["pid"] != after.response["pid"]


def test_a_slow_event_times_out_and_the_process_is_replaced(aws: LocalAws) -> None:
    quick = aws.deploy(HERE / "small.yaml", {"Timeout": 1}, name="quick")
    with run(aws, quick) as function:
        slow, after = function.invoke({"do": "sleep"}), function.invoke({"do": "answer"})
    assert (slow.attempts[0].outcome, slow.error_type) == ("timeout", "Sandbox.Timedout")
    assert str(slow.error_message).endswith(f"{slow.request_id} Task timed out after 1.00 seconds")
    assert 1 <= slow.attempts[0].seconds < 5
    assert after.status == "succeeded"


@pytest.mark.parametrize(
    ("init", "error_type", "message"),
    [("fail", "ConfigError", "RELAY_X: expected a number"), ("exit", "Runtime.ExitError", "exit status 3")],
)
def test_a_process_that_does_not_start_fails_the_event(
    aws: LocalAws, stack: Stack, init: str, error_type: str, message: str
) -> None:
    with run(aws, stack, variables={"TEST_INIT": init}) as function:
        failed = function.invoke({"do": "answer"})
    assert (failed.status, failed.error_type) == ("failed", error_type)
    assert message in str(failed.error_message)


def test_a_binary_that_is_not_there_fails_the_event(aws: LocalAws, stack: Stack) -> None:
    with aws.run_function(stack, "Function", ["/nowhere/bootstrap"]) as function:
        failed = function.invoke({"do": "answer"})
    assert (failed.status, failed.error_type) == ("failed", "Runtime.InvalidEntrypoint")
    assert "/nowhere/bootstrap" in str(failed.error_message)


def test_killed_processes_fail_their_event_and_it_is_retried(aws: LocalAws, stack: Stack) -> None:
    with aws.run_function(stack, "Function", BINARY, retry_waits=(0, 0), concurrency=2) as function:
        hanging = function.invoke_async({"do": "sleep"})
        function.wait_working(timeout=30)
        function.kill()
        function.wait_attempts(hanging, 1, timeout=30)
        function.wait_working(timeout=30)
        function.kill()
        function.wait_idle(30)
    assert [attempt.outcome for attempt in hanging.attempts] == ["crash", "crash"]
    assert len(messages(aws, stack)) == 1


def test_concurrent_environments_are_separate_processes(aws: LocalAws, stack: Stack) -> None:
    with run(aws, stack, concurrency=3) as function:
        for _ in range(30):
            function.invoke_async({"do": "answer"})
        function.wait_idle(60)
        pids = {invocation.response["pid"] for invocation in function.invocations}
        assert all(invocation.status == "succeeded" for invocation in function.invocations)
    assert 1 < len(pids) <= 3


def test_deliveries_can_be_doubled_held_and_shuffled(aws: LocalAws, stack: Stack) -> None:
    s3, bucket = aws.client("s3"), stack.outputs["BucketName"]
    with run(aws, stack) as function:
        aws.notifications.duplicates = 2
        s3.put_object(Bucket=bucket, Key="in/three", Body=b"")
        function.wait_idle(30)
        assert len(function.invocations) == 3
        aws.notifications.duplicates = 0
        aws.notifications.hold()
        for number in range(8):
            s3.put_object(Bucket=bucket, Key=f"in/{number}", Body=b"")
        function.wait_idle(30)
        assert len(function.invocations) == 3
        assert aws.notifications.release(random.Random(1)) == 8  # noqa: S311
        function.wait_idle(30)
        keys = [i.event["Records"][0]["s3"]["object"]["key"] for i in function.invocations[3:]]
    assert sorted(keys) == [f"in/{number}" for number in range(8)]
    assert keys != sorted(keys)


def test_an_event_that_is_too_old_is_not_tried_again(aws: LocalAws, stack: Stack) -> None:
    with aws.run_function(stack, "Function", BINARY, retry_waits=(0.2, 0.2)) as function:
        failed = function.invoke_async({"do": "fail"})
        function.wait_attempts(failed, 1, timeout=30)
        aws.clock.advance(timedelta(hours=7))
        function.wait_idle(30)
    assert len(failed.attempts) == 1
    assert failed.on_failure is not None
    assert failed.on_failure["requestContext"]["condition"] == "EventAgeExceeded"
    assert len(messages(aws, stack)) == 1


def test_an_unfinished_event_is_delivered_to_the_next_run(aws: LocalAws) -> None:
    stack = aws.deploy(HERE / "small.yaml", name="unfinished")
    with run(aws, stack) as function:
        function.invoke_async({"do": "sleep"})
        function.wait_working(timeout=30)
    with run(aws, stack) as function:
        function.wait_working(timeout=30)
        assert [i.event for i in function.invocations] == [{"do": "sleep"}]
