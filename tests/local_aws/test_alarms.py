"""The state of alarms."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from local_aws import LocalAws
from local_aws.cloudwatch.alarms import State, next_state

from .wire import call

NOW = datetime(2026, 11, 21, 12, 0, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("window", "to_alarm", "missing", "ignore", "breaching", "not_breaching"),
    [
        # The documentation's tables, 3 of 3 and 2 of 3.
        ("0-X-X", 3, "OK", "OK", "OK", "OK"),
        ("0----", 3, "OK", "OK", "OK", "OK"),
        ("-----", 3, "INSUFFICIENT_DATA", None, "ALARM", "OK"),
        ("0XX-X", 3, "ALARM", "ALARM", "ALARM", "ALARM"),
        ("--X--", 3, "ALARM", None, "ALARM", "OK"),
        ("0-X-X", 2, "ALARM", "ALARM", "ALARM", "ALARM"),
        ("00X0X", 2, "ALARM", "ALARM", "ALARM", "ALARM"),
        ("0-X--", 2, "OK", "OK", "ALARM", "OK"),
        ("----0", 2, "OK", "OK", "ALARM", "OK"),
        ("---X-", 2, "ALARM", None, "ALARM", "OK"),
        # Not at once, as the next one may not be breaching.
        ("----X", 3, None, None, "ALARM", "OK"),
        ("---X-", 3, None, None, "ALARM", "OK"),
    ],
)
@pytest.mark.parametrize("before", ["OK", "ALARM"])
def test_states(
    window: str,
    to_alarm: int,
    missing: State | None,
    ignore: State | None,
    breaching: State,
    not_breaching: State,
    before: State,
) -> None:
    points = [{"0": False, "X": True, "-": None}[point] for point in window]
    expected = {"missing": missing, "ignore": ignore, "breaching": breaching, "notBreaching": not_breaching}
    for treatment, state in expected.items():
        assert next_state(points, 3, to_alarm, treatment, before) == (state or before), treatment


def put(aws: LocalAws, name: str, value: float) -> None:
    data = [{"MetricName": name, "Value": value}]
    aws.client("cloudwatch").put_metric_data(Namespace="Alarms", MetricData=data)


def state(aws: LocalAws, name: str) -> str:
    [alarm] = aws.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return str(alarm["StateValue"])


SIMPLE: dict[str, Any] = {
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 5,
    "ComparisonOperator": "GreaterThanThreshold",
}


def test_an_alarm_follows_its_metric(aws: LocalAws) -> None:
    aws.clock.set(NOW)
    cloudwatch = aws.client("cloudwatch")
    metric = {"Namespace": "Alarms", "MetricName": "M", "Statistic": "Maximum"}
    cloudwatch.put_metric_alarm(AlarmName="plain", **metric, **SIMPLE)
    cloudwatch.put_metric_alarm(AlarmName="kept", **metric, **SIMPLE, TreatMissingData="ignore")
    assert (state(aws, "plain"), state(aws, "kept")) == ("INSUFFICIENT_DATA", "INSUFFICIENT_DATA")
    put(aws, "M", 6)
    assert state(aws, "plain") == "INSUFFICIENT_DATA"  # the minute is not over yet
    aws.clock.advance(timedelta(minutes=1))
    assert (state(aws, "plain"), state(aws, "kept")) == ("ALARM", "ALARM")
    aws.clock.advance(timedelta(minutes=10))
    assert (state(aws, "plain"), state(aws, "kept")) == ("INSUFFICIENT_DATA", "ALARM")
    put(aws, "M", 5)
    aws.clock.advance(timedelta(minutes=1))
    assert (state(aws, "plain"), state(aws, "kept")) == ("OK", "OK")
    names = [a["AlarmName"] for a in cloudwatch.describe_alarms(StateValue="OK")["MetricAlarms"]]
    assert {"plain", "kept"} <= set(names)
    assert cloudwatch.describe_alarms(StateValue="ALARM", AlarmNames=["plain"])["MetricAlarms"] == []
    of_metric = cloudwatch.describe_alarms_for_metric(Namespace="Alarms", MetricName="M")["MetricAlarms"]
    assert {"plain": "OK", "kept": "OK"}.items() <= {
        a["AlarmName"]: a["StateValue"] for a in of_metric
    }.items()
    answer = call(aws, "json", "DescribeAlarms", {"AlarmNames": ["plain"]})
    assert answer.body["MetricAlarms"][0]["StateValue"] == "OK"
    assert "5" in answer.body["MetricAlarms"][0]["StateReason"]


def test_an_alarm_on_an_expression(aws: LocalAws) -> None:
    aws.clock.set(NOW)
    metrics = [
        {
            "Id": name.lower(),
            "ReturnData": False,
            "MetricStat": {
                "Metric": {"Namespace": "Alarms", "MetricName": name},
                "Period": 60,
                "Stat": "Sum",
            },
        }
        for name in ("Failures", "Requests")
    ]
    rate = {"Id": "rate", "Expression": "100 * failures / requests"}
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName="rate",
        Metrics=[rate, *metrics],
        EvaluationPeriods=2,
        DatapointsToAlarm=2,
        Threshold=10,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )
    for failures, expected in ((1, "OK"), (10, "OK"), (20, "ALARM"), (0, "OK")):
        put(aws, "Requests", 100)
        put(aws, "Failures", failures)
        aws.clock.advance(timedelta(minutes=1))
        assert state(aws, "rate") == expected


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (
            {**SIMPLE, "Metrics": [{"Id": "x", "Expression": "y * 2"}], "Period": None},
            "Unable to evaluate: Error in expression 'x': 'y' is not the Id of a query",
        ),
        (
            {**SIMPLE, "Namespace": "Alarms", "MetricName": "M", "Statistic": "Sum"}
            | {"ComparisonOperator": "LessThanLowerThreshold"},
            "does not evaluate LessThanLowerThreshold",
        ),
    ],
)
def test_an_alarm_that_cannot_be_evaluated_says_so(aws: LocalAws, asked: dict[str, Any], reason: str) -> None:
    cloudwatch = aws.client("cloudwatch")
    given = {name: value for name, value in asked.items() if value is not None}
    cloudwatch.put_metric_alarm(AlarmName="odd", **given)
    [alarm] = cloudwatch.describe_alarms(AlarmNames=["odd"])["MetricAlarms"]
    assert alarm["StateValue"] == "INSUFFICIENT_DATA"
    assert reason in alarm["StateReason"]
