"""The alarms watch what is published, tell whom they are told to tell, and stay quiet when no test runs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.template.dashboard import Reference
from tests.template.intrinsics import resolver
from tests.template.names import names

TOPIC = "arn:aws:sns:eu-central-1:123456789012:load-tests"
ALWAYS = {
    "UndeliveredAlarm",
    "RefusedAlarm",
    "ErrorsAlarm",
    "LagAlarm",
    "ThrottledAlarm",
    "ConcurrencyAlarm",
}
OF_A_TEST = {"TestFailuresAlarm": {"AlarmFailurePercent": "2.5"}, "TestP95Alarm": {"AlarmP95Ms": "300"}}
"""Alarms that are there when their limit is given."""


def alarms(**parameters: str) -> dict[str, dict[str, Any]]:
    """The alarms' properties, by logical id."""
    return {
        name: resource["Properties"]
        for name, resource in resolver(**parameters).resources.items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }


@pytest.fixture(scope="module")
def every_alarm() -> dict[str, dict[str, Any]]:
    limits = {name: value for parameters in OF_A_TEST.values() for name, value in parameters.items()}
    return alarms(AlarmTopicArn=TOPIC, AlarmTest="checkout", AlarmLagSeconds="90", **limits)


def watched(alarm: dict[str, Any]) -> list[tuple[Reference, int]]:
    """The metrics that an alarm looks at, and with which period."""
    queries = alarm.get("Metrics") or [{"MetricStat": {"Metric": alarm, "Period": alarm["Period"]}}]
    found = []
    for stat in (query["MetricStat"] for query in queries if "MetricStat" in query):
        metric = stat["Metric"]
        dimensions = tuple(dimension["Name"] for dimension in metric.get("Dimensions", []))
        found.append((Reference(metric["Namespace"], metric["MetricName"], dimensions), stat["Period"]))
    return found


def test_alarms_of_a_test_are_there_when_they_have_a_test_and_a_limit() -> None:
    assert set(alarms()) == ALWAYS
    assert set(alarms(AlarmTest="checkout")) == ALWAYS
    for name, limit in OF_A_TEST.items():
        assert set(alarms(**limit)) == ALWAYS
        assert set(alarms(AlarmTest="checkout", **limit)) == ALWAYS | {name}


def test_a_limit_without_what_it_is_for_is_refused() -> None:
    def broken(**parameters: str) -> list[str]:
        resolved = resolver(**parameters)
        rules = resolved.template["Rules"]
        return [
            name
            for name, rule in rules.items()
            if resolved.resolve(rule["RuleCondition"])
            and not all(resolved.resolve(assertion["Assert"]) for assertion in rule["Assertions"])
        ]

    assert broken() == []
    assert broken(AlarmFailurePercent="2.5") == ["FailureAlarmHasTest"]
    assert broken(AlarmP95Ms="300") == ["P95AlarmHasTest"]
    assert broken(EcsService="checkout") == ["EcsServiceHasCluster"]
    assert broken(AlarmP95Ms="300", AlarmFailurePercent="1", AlarmTest="checkout", EcsCluster="shop") == []


def test_alarms_tell_the_topic_or_nobody(every_alarm: dict[str, dict[str, Any]]) -> None:
    for alarm in every_alarm.values():
        assert (alarm["AlarmActions"], alarm["OKActions"]) == ([TOPIC], [TOPIC])
    for alarm in alarms().values():
        assert not alarm.keys() & {"AlarmActions", "OKActions", "InsufficientDataActions"}


def test_alarms_say_whose_they_are_and_what_to_do(every_alarm: dict[str, dict[str, Any]]) -> None:
    assert len({alarm["AlarmName"] for alarm in every_alarm.values()}) == len(every_alarm)
    for alarm in every_alarm.values():
        assert alarm["AlarmName"].startswith("stack-")
        assert len(alarm["AlarmDescription"]) > 40
    assert "2.5 % of the requests of checkout" in every_alarm["TestFailuresAlarm"]["AlarmDescription"]
    assert "300 ms" in every_alarm["TestP95Alarm"]["AlarmDescription"]


def test_alarms_watch_what_is_published(every_alarm: dict[str, dict[str, Any]]) -> None:
    published = names()
    for alarm in every_alarm.values():
        for metric, period in watched(alarm):
            # What has only minutes cannot be watched by the second; what has seconds need not be.
            assert period == 60
            if metric.namespace == published.namespace:
                assert metric.dimensions in published.metrics[metric.metric]
            elif metric.namespace == published.relay_namespace:
                assert metric.metric in published.relay_metrics
                assert metric.dimensions == ()
            else:
                assert (metric.namespace, metric.dimensions) in [
                    ("AWS/Lambda", ("FunctionName",)),
                    ("AWS/SQS", ("QueueName",)),
                ]
    everything = {metric.metric for alarm in every_alarm.values() for metric, _ in watched(alarm)}
    assert {"BatchesRefused", "Lag", "Throttles", "Errors", "ApproximateNumberOfMessagesVisible"} < everything


def test_alarms_compare_with_the_limits_given(every_alarm: dict[str, dict[str, Any]]) -> None:
    assert {alarm["ComparisonOperator"] for alarm in every_alarm.values()} == {"GreaterThanThreshold"}
    thresholds = {name: float(alarm["Threshold"]) for name, alarm in every_alarm.items()}
    assert thresholds == {
        **dict.fromkeys(ALWAYS, 0.0),
        # Lag is measured in milliseconds.
        "LagAlarm": 90_000.0,
        "TestFailuresAlarm": 2.5,
        "TestP95Alarm": 300.0,
    }
    assert names().units["Lag"] == names().units["ResponseTime"] == "Milliseconds"
    returned = [
        query for query in every_alarm["TestFailuresAlarm"]["Metrics"] if query.get("ReturnData", True)
    ]
    assert [query["Expression"] for query in returned] == ["100 * failures / requests"]


def test_no_data_is_no_alarm_but_leaves_the_queue_s_as_it_is(every_alarm: dict[str, dict[str, Any]]) -> None:
    treatments = {name: alarm["TreatMissingData"] for name, alarm in every_alarm.items()}
    assert treatments.pop("UndeliveredAlarm") == "ignore"
    assert set(treatments.values()) == {"notBreaching"}
