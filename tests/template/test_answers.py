"""Every widget and saved query has an answer when what the relay publishes is there, and nothing else is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from local_aws import LocalAws, Stack
from local_aws.dashboard.body import Body
from local_aws.dashboard.clients import Clients
from local_aws.dashboard.logs import run
from local_aws.dashboard.snapshot import get_body, take
from local_aws.functions.invocation import Attempt
from local_aws.vended_metrics import VendedMetrics
from tests.template.dashboard import entries
from tests.template.names import names

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
SYSTEM = {
    "LoadBalancer": "app/shop/0123456789abcdef",
    "AutoScalingGroup": "web servers",
    "InstanceId": "i-0123456789abcdef0",
    "EcsCluster": "shop",
    "EcsService": "checkout",
}
"""Systems whose metrics nobody publishes here; their widgets show the test's requests at least."""
VALUES = {
    "Test": ["checkout", "checkout@before"],
    "Run": ["build-12", "build-1"],
    "Method": ["GET"],
    "Name": ["/", "/cart"],
    "Status": ["200", "ConnectionError"],
    "UserClass": ["Visitor", "Buyer"],
}
"""Values of each dimension, some of which begin with another; all combinations are published."""
TEXTS = {"error", "kind", "message", "method", "name", "run", "source", "test", "traceback", "type"}
"""Fields of log events that are texts; all others are numbers."""


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as running:
        yield running


@pytest.fixture(scope="module")
def stack(aws: LocalAws) -> Stack:
    stack = aws.deploy(TEMPLATE, {**SYSTEM, "ShowWorkers": "true"}, name="full")
    moment = aws.clock.now() - timedelta(minutes=2)
    publish_metrics(aws, moment)
    publish_another_test(aws, moment)
    write_log_events(aws, stack.outputs["LogGroupName"], moment)
    VendedMetrics(aws.metrics, aws.clock).attempted(stack.outputs["FunctionName"], Attempt("success"), 1)
    return stack


def publish_metrics(aws: LocalAws, moment: datetime) -> None:
    """Everything that the relay publishes about load tests and about itself, and nothing more."""
    published = names()
    cloudwatch = aws.client("cloudwatch")
    for metric, sets in published.metrics.items():
        for dimensions in sets:
            for values in product(*(VALUES[dimension] for dimension in dimensions)):
                pairs = zip(dimensions, values, strict=True)
                datum = {
                    "MetricName": metric,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in pairs],
                    "Timestamp": moment,
                    "Value": 7.0,
                    "Unit": published.units[metric],
                    "StorageResolution": 1,
                }
                cloudwatch.put_metric_data(Namespace=published.namespace, MetricData=[datum])
    own = [
        {"MetricName": metric, "Timestamp": moment, "Value": 1.0, "Unit": published.units[metric]}
        for metric in sorted(published.relay_metrics)
    ]
    cloudwatch.put_metric_data(Namespace=published.relay_namespace, MetricData=own)


def publish_another_test(aws: LocalAws, moment: datetime) -> None:
    """A test of two minutes whose last second has hardly begun."""
    seconds = [
        (moment - timedelta(minutes=1), {"Requests": 200, "Failures": 50, "Users": 40, "ResponseTime": 90}),
        (moment, {"Requests": 24, "Failures": 6, "Users": 2, "ResponseTime": 10}),
    ]
    data = [
        {
            "MetricName": metric,
            "Dimensions": [{"Name": "Test", "Value": "shop"}],
            "Timestamp": second,
            "Value": float(value),
            "StorageResolution": 1,
        }
        for second, values in seconds
        for metric, value in values.items()
    ]
    aws.client("cloudwatch").put_metric_data(Namespace=names().namespace, MetricData=data)


def write_log_events(aws: LocalAws, group: str, moment: datetime) -> None:
    """One log event of each type and test, with all fields that the relay knows."""
    logs = aws.client("logs")
    logs.create_log_stream(logGroupName=group, logStreamName="stream")
    events = []
    for (kind, fields), test in product(names().log_events.items(), VALUES["Test"]):
        known = {"type": kind, "test": test, "run": VALUES["Run"][0]}
        message: dict[str, Any] = {field: f"some {field}" if field in TEXTS else 5 for field in fields}
        events.append(json.dumps(message | known))
    timestamp = int(moment.timestamp() * 1000)
    logs.put_log_events(
        logGroupName=group,
        logStreamName="stream",
        logEvents=[{"timestamp": timestamp, "message": message} for message in events],
    )


@pytest.fixture(scope="module")
def clients(aws: LocalAws, stack: Stack) -> Clients:
    return Clients(lambda service, _: aws.client(service))


@pytest.fixture(scope="module")
def body(clients: Clients) -> Body:
    return get_body(clients, "Locust")


def shown(aws: LocalAws, clients: Clients, body: Body, **selected: str) -> list[dict[str, Any]]:
    """What each widget shows."""
    now = aws.clock.now()
    start, end = now - timedelta(minutes=10), now + timedelta(minutes=1)
    snapshot = take("Locust", body, clients, start, end, selected=selected, most=1)
    assert snapshot.errors == []
    assert len(snapshot.data["contents"]) == len(body.widgets)
    contents: list[dict[str, Any]] = snapshot.data["contents"]
    return contents


@pytest.mark.parametrize(("test", "period"), [("checkout", 1), ("checkout@before", 10), ("checkout", 60)])
def test_every_widget_shows_what_is_published(
    aws: LocalAws, clients: Clients, body: Body, test: str, period: int
) -> None:
    contents = shown(aws, clients, body, test=test, period=str(period))
    for widget, content in zip(body.widgets, contents, strict=True):
        if widget.type == "log":
            assert content["rows"], content
        elif widget.type == "metric":
            lines = [
                options.get("label")
                for metric, options in entries({"properties": widget.properties})
                if options.get("visible", True)
                and (not metric or metric[0] in ("Locust", "Locust/Relay", "AWS/Lambda", "AWS/SQS"))
            ]
            assert len(content["series"]) >= len(lines) > 0, content
            assert all(value >= 0 for series in content["series"] for value in series["values"])


def test_endpoints_statuses_classes_and_runs_are_found_by_themselves(
    aws: LocalAws, clients: Clients, body: Body
) -> None:
    labels = {
        content["title"]: {series["label"] for series in content.get("series", [])}
        for content in shown(aws, clients, body)
    }
    endpoints = {"GET /", "GET /cart"}
    assert labels["Response time by endpoint, p95"] == endpoints | {
        f"{endpoint} (since the start)" for endpoint in endpoints
    }
    assert labels["Response time"] > {"p95", "LocustCurrentP95"}
    assert labels["Responses per second by status"] == set(VALUES["Status"])
    assert labels["Users by class"] == set(VALUES["UserClass"])
    assert labels["Requests per second by run"] == set(VALUES["Run"])


def test_a_run_narrows_the_tables_to_it(aws: LocalAws, clients: Clients, body: Body) -> None:
    with_events, without = VALUES["Run"]
    for run_, found in ((with_events, True), (without, False)):
        contents = shown(aws, clients, body, run=run_)
        tables = {content["title"]: content["rows"] for content in contents if content["view"] == "logTable"}
        assert len(tables.pop("Runs, newest first")) == 1
        assert len(tables) == 4
        assert [bool(table) for table in tables.values()] == [found] * 4


def test_rates_are_per_second_whatever_the_period(aws: LocalAws, clients: Clients, body: Body) -> None:
    for period in (1, 10, 60):
        series = {
            content["title"]: content["series"]
            for content in shown(aws, clients, body, period=str(period))
            if content.get("series")
        }
        # Seven requests were published.
        assert [one["values"] for one in series["Requests and failures per second"]] == [[7 / period]] * 2
        (rate,) = (one for one in series["ECS: CPU and memory"] if one["axis"] == "right")
        assert rate["values"] == [7 / 60]
        for title in ("Requests per second by endpoint", "Failures per second by endpoint"):
            assert [one["values"] for one in series[title]] == [[7 / period]] * len(VALUES["Name"])
        assert [one["values"] for one in series["Failure rate"]] == [[100]]


@pytest.mark.parametrize("period", [1, 10, 300])
def test_it_is_right_as_well_if_the_variable_changes_every_period(
    aws: LocalAws, clients: Clients, body: Body, period: int
) -> None:
    """CloudWatch does not say whether a property variable changes what stands in a metric's own options."""

    def changed(source: Any) -> Any:
        if isinstance(source, list):
            return [changed(member) for member in source]
        if isinstance(source, dict):
            return {key: period if key == "period" else changed(member) for key, member in source.items()}
        return source

    widgets = tuple(dataclasses.replace(one, properties=changed(one.properties)) for one in body.widgets)
    series = {
        content["title"]: content["series"]
        for content in shown(aws, clients, dataclasses.replace(body, widgets=widgets), period=str(period))
        if content.get("series")
    }
    assert [one["values"] for one in series["Requests and failures per second"]] == [[7 / period]] * 2
    for title in ("Load balancer: response time", "EC2 instance: CPU", "ECS: CPU and memory"):
        assert [one["values"] for one in series[title]] == [[7 / period]]
    if period < 60:
        return  # what has only minutes has no shorter period
    for title in ("Batches by outcome", "Calls to publish"):
        assert [one["values"] for one in series[title]] == [[1]] * 4
    assert [one["values"] for one in series["Function: invocations"]] == [[1], [0], [0]]


@pytest.mark.parametrize("period", [1, 60])
def test_single_numbers_do_not_stop_at_the_last_period(
    aws: LocalAws, clients: Clients, body: Body, period: int
) -> None:
    contents = shown(aws, clients, body, test="shop", period=str(period))
    numbers = {
        content["title"]: [one["values"] for one in content["series"]]
        for content in contents
        if content["view"] == "singleValue"
    }
    p95 = numbers.pop("Response time, p95")
    assert numbers == {"Most users": [[40]], "Requests": [[224]], "Failure rate": [[25]]}
    assert p95 == [[pytest.approx(90)]]


def test_saved_queries_find_what_they_are_named_for(aws: LocalAws, stack: Stack) -> None:
    logs = aws.client("logs")
    group = stack.outputs["LogGroupName"]
    now = aws.clock.now()
    definitions = logs.describe_query_definitions(queryDefinitionNamePrefix="full/")["queryDefinitions"]
    found = {}
    for definition in definitions:
        assert definition["logGroupNames"] == [group]
        for chosen, tests in ((".+", VALUES["Test"]), ("checkout", ["checkout"])):
            query = definition["queryString"].replace("test like /^.+", f"test like /^{chosen}")
            answer = run(logs, [group], query, now - timedelta(minutes=10), now)
            rows = [{cell["field"]: cell["value"] for cell in row} for row in answer["results"]]
            assert sorted({row["test"] for row in rows}) == tests, query
            found[definition["name"]] = {field for row in rows for field in row}
        for chosen, count in (("build-12", True), ("build-1", False)):
            query = definition["queryString"].replace("run like /^.+", f"run like /^{chosen}")
            assert bool(run(logs, [group], query, now - timedelta(minutes=10), now)["results"]) == count, (
                query
            )
    assert found["full/Errors by status and endpoint"] > {
        "status",
        "method",
        "name",
        "error",
        "failures",
    }
    assert found["full/Slowest requests"] > {"response_time_ms", "method", "name"}
    assert found["full/Exceptions"] > {"message", "traceback", "exceptions"}
    assert found["full/Summary of a run"] > {"run", "requests", "failures", "highest_p95_ms"}
    assert len(found) == 4
