"""What Lambda and SQS say about themselves."""

from __future__ import annotations

from local_aws import LocalAws, Stack

from .conftest import BINARY


def test_lambda_counts_attempts_and_errors(aws: LocalAws, stack: Stack) -> None:
    with aws.run_function(stack, "Function", BINARY, concurrency=2, retry_waits=(0, 0)) as function:
        function.invoke({"do": "answer"})
        function.invoke_async({"do": "fail"})
        function.wait_idle()
        attempts = [attempt for invocation in function.invocations for attempt in invocation.attempts]
    dimensions = {"FunctionName": stack.functions["Function"].name}
    sums = {
        name: aws.metrics.distribution("AWS/Lambda", name, dimensions).sum
        for name in ("Invocations", "Errors", "Throttles")
    }
    assert sums == {"Invocations": 3, "Errors": 2, "Throttles": 0}
    duration = aws.metrics.distribution("AWS/Lambda", "Duration", dimensions, unit="Milliseconds")
    assert duration.sample_count == len(attempts) == 3
    assert duration.maximum == max(attempt.seconds for attempt in attempts) * 1000
    assert aws.metrics.distribution("AWS/Lambda", "ConcurrentExecutions", dimensions).maximum == 1


def test_sqs_tells_how_many_messages_wait(aws: LocalAws, stack: Stack) -> None:
    sqs, url = aws.client("sqs"), stack.outputs["QueueUrl"]
    dimensions = {"QueueName": url.rpartition("/")[2]}

    def waiting() -> float | None:
        return aws.metrics.distribution(
            "AWS/SQS", "ApproximateNumberOfMessagesVisible", dimensions, unit="Count"
        ).maximum

    sqs.purge_queue(QueueUrl=url)
    aws.metrics.clear()
    sqs.get_queue_attributes(QueueUrl=url)
    assert waiting() == 0
    for _ in range(2):
        sqs.send_message(QueueUrl=url, MessageBody="text")
    assert waiting() == 2
    aws.metrics.clear()
    sqs.receive_message(QueueUrl=url)
    assert waiting() == 1
