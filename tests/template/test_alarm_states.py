"""The alarms go off when they should, on metrics as CloudWatch has them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from local_aws import LocalAws, Stack
from local_aws.cloudwatch.limits import Datum
from local_aws.functions.invocation import Attempt
from local_aws.vended_metrics import VendedMetrics

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
PARAMETERS = {
    "AlarmTest": "checkout",
    "AlarmFailurePercent": "5",
    "AlarmP95Ms": "300",
    "AlarmLagSeconds": "60",
}


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as running:
        yield running


@pytest.fixture(scope="module")
def stack(aws: LocalAws) -> Stack:
    return aws.deploy(TEMPLATE, PARAMETERS, name="watched")


@pytest.fixture(autouse=True)
def _nothing_published(aws: LocalAws, stack: Stack) -> Iterator[None]:
    aws.metrics.clear()
    yield
    aws.clock.reset()


def going_off(aws: LocalAws) -> set[str]:
    alarms = aws.client("cloudwatch").describe_alarms(AlarmNamePrefix="watched-")["MetricAlarms"]
    assert len(alarms) == 8
    return {alarm["AlarmName"].removeprefix("watched-") for alarm in alarms if alarm["StateValue"] == "ALARM"}


def publish(
    aws: LocalAws, namespace: str, values: dict[str, float], *, minutes: int = 4, test: str | None = None
) -> None:
    """One value of each metric in each of the last minutes."""
    now = aws.clock.now()
    dimensions = [{"Name": "Test", "Value": test}] if test else []
    units = {"Lag": "Milliseconds", "ResponseTime": "Milliseconds"}
    data = [
        {
            "MetricName": metric,
            "Dimensions": dimensions,
            "Timestamp": now - timedelta(minutes=minute),
            "Value": value,
            "Unit": units.get(metric, "Count"),
        }
        for minute in range(minutes)
        for metric, value in values.items()
    ]
    aws.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=data)


def test_no_data_is_no_alarm(aws: LocalAws) -> None:
    assert going_off(aws) == set()


def test_a_good_run_is_no_alarm(aws: LocalAws) -> None:
    publish(aws, "Locust/Relay", {"Lag": 59_000, "Throttles": 0, "BatchesRelayed": 9})
    publish(aws, "Locust", {"Requests": 100, "Failures": 5, "ResponseTime": 299}, test="checkout")
    publish(aws, "Locust", {"Requests": 100, "Failures": 99, "ResponseTime": 999}, test="another")
    assert going_off(aws) == set()


@pytest.mark.parametrize(
    ("values", "alarm"),
    [({"BatchesRefused": 1}, "refused"), ({"Lag": 61_000}, "lag"), ({"Throttles": 1}, "throttled")],
)
def test_the_relay_s_trouble_is_an_alarm(aws: LocalAws, values: dict[str, float], alarm: str) -> None:
    publish(aws, "Locust/Relay", values)
    assert going_off(aws) == {alarm}


def test_a_minute_of_throttling_or_lag_is_no_alarm(aws: LocalAws) -> None:
    publish(aws, "Locust/Relay", {"Throttles": 9, "Lag": 600_000}, minutes=1)
    assert going_off(aws) == set()


@pytest.mark.parametrize(
    ("values", "alarm"),
    [
        ({"Requests": 100, "Failures": 6, "ResponseTime": 10}, "test-failures"),
        ({"Requests": 100, "Failures": 0, "ResponseTime": 301}, "test-p95"),
    ],
)
def test_a_test_s_trouble_is_an_alarm(aws: LocalAws, values: dict[str, float], alarm: str) -> None:
    publish(aws, "Locust", values, test="checkout")
    assert going_off(aws) == {alarm}


def test_a_message_in_the_on_failure_queue_is_an_alarm(aws: LocalAws, stack: Stack) -> None:
    sqs, url = aws.client("sqs"), stack.outputs["OnFailureQueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="what could not be published")
    aws.clock.advance(timedelta(minutes=1))
    assert going_off(aws) == {"undelivered"}
    # SQS no longer tells of a queue that nobody has used for hours: what waits in it still waits.
    aws.clock.advance(timedelta(hours=10))
    assert going_off(aws) == {"undelivered"}
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    aws.clock.advance(timedelta(minutes=1))
    assert going_off(aws) == set()


def test_a_function_that_keeps_failing_is_an_alarm(aws: LocalAws, stack: Stack) -> None:
    vended = VendedMetrics(aws.metrics, aws.clock)
    for _ in range(4):
        vended.attempted(stack.outputs["FunctionName"], Attempt("error"), 1)
        aws.clock.advance(timedelta(minutes=1))
    assert going_off(aws) == {"errors"}


def test_batches_that_lambda_holds_back_are_an_alarm(aws: LocalAws, stack: Stack) -> None:
    dimensions = (("FunctionName", stack.outputs["FunctionName"]),)
    for _ in range(4):
        second = int(aws.clock.seconds())
        aws.metrics.put("AWS/Lambda", [Datum("Throttles", dimensions, "Count", second, 60, [(1.0, 1.0)])])
        aws.clock.advance(timedelta(minutes=1))
    assert going_off(aws) == {"concurrency"}
