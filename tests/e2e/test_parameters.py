"""The template's parameters reach the relay, and do there what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.reconcile import Endpoint, Series, published_endpoints, totals
from local_aws import LocalAws, TemplateError
from tests.e2e import batches
from tests.e2e.batches import Batch
from tests.e2e.conftest import TEMPLATE, Cloud, deployed


def hand_in(cloud: Cloud, test: str, *records: batches.Record) -> None:
    batch = Batch(test, list(records), source="host-worker-1")
    cloud.put(batch.key, batch.content())
    assert cloud.failed_events() == []


def test_metrics_go_to_the_namespace_and_dimensions_that_are_asked_for(
    aws: LocalAws, relay_binary: Path
) -> None:
    with deployed(
        aws,
        relay_binary,
        "elsewhere",
        Namespace="Shop/Load",
        DimensionSets="Test;Run,Source;Host",
        ResolutionSeconds="60",
    ) as cloud:
        hand_in(cloud, "elsewhere", batches.requests("GET", "/", [1000] * 4))
        start, end = cloud.recent()
        for dimensions in (
            {"Test": "elsewhere"},
            {"Run": "20261121T102900Z-4f3a", "Source": "host-worker-1"},
            {"Host": "http://shop.example"},
        ):
            series = Series("Requests", "Sum", tuple(dimensions.items()))
            assert totals(cloud.cloudwatch, "Shop/Load", [series], start, end) == {series: 4}
        assert cloud.recently("Requests", "Sum", Test="elsewhere") is None
        assert published_endpoints(cloud.cloudwatch, "Shop/Load", "elsewhere") == {}
        points = cloud.cloudwatch.get_metric_statistics(
            Namespace="Shop/Load", MetricName="Requests", Dimensions=[{"Name": "Test", "Value": "elsewhere"}],
            StartTime=start, EndTime=end, Period=60, Statistics=["Sum"],
        )["Datapoints"]  # fmt: skip
        assert points
        assert all(point["Timestamp"].second == 0 for point in points)


@pytest.mark.parametrize(
    ("log_requests", "sample", "least", "most"),
    [("all", "1", 1100, 1100), ("failures", "1", 100, 100), ("none", "1", 0, 0), ("all", "0.5", 440, 660)],
)
def test_requests_are_logged_as_asked_for(
    aws: LocalAws, relay_binary: Path, log_requests: str, sample: str, least: int, most: int
) -> None:
    name = f"log-{log_requests}-{sample.replace('.', '')}"
    with deployed(aws, relay_binary, name, LogRequests=log_requests, LogSample=sample) as cloud:
        good = batches.requests("GET", "/", [1000] * 1000)
        bad = batches.requests("GET", "/", [1500] * 100, status=500, error="HTTPError('500')")
        hand_in(cloud, name, good, bad)
        events = [event for event in cloud.log_events() if event["type"] == "request"]
        summaries = [event for event in cloud.log_events() if event["type"] == "summary"]
    assert least <= len(events) <= most
    assert {event["response_time_ms"] for event in events} <= {1.0, 1.5}
    assert [(event["requests"], event["failures"]) for event in summaries] == [(1100, 100)]


def test_no_more_endpoints_are_published_by_name_than_asked_for(aws: LocalAws, relay_binary: Path) -> None:
    with deployed(aws, relay_binary, "few", MaxEndpoints="2") as cloud:
        hand_in(cloud, "few", *(batches.requests("GET", f"/{i}", [1000] * (i + 1)) for i in range(5)))
        found = published_endpoints(cloud.cloudwatch, "Locust", "few")
    assert found.keys() == {Endpoint("GET", "/4"), Endpoint("GET", "/3"), Endpoint("(other)", "(other)")}


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("Namespace", "AWS/Lambda"),
        ("DimensionSets", "Test;Users"),
        ("ResolutionSeconds", "7"),
        ("LogRequests", "some"),
        ("LogSample", "1.5"),
        ("MaxEndpoints", "0"),
        ("LogRetentionDays", "2"),
    ],
)
def test_a_parameter_that_cannot_work_is_refused(aws: LocalAws, parameter: str, value: str) -> None:
    with pytest.raises(TemplateError, match=parameter):
        aws.deploy(TEMPLATE, {parameter: value}, name="refused")
