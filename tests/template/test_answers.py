"""Every widget and saved query has an answer when what the relay publishes is there, and nothing else is."""

from __future__ import annotations

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
    "Run": ["20261121T102900Z-4f3a", "20261121T112900Z-0c1d"],
    "Method": ["GET"],
    "Name": ["/", "/cart"],
    "Status": ["200", "ConnectionError"],
    "UserClass": ["Visitor", "Buyer"],
}
"""Values of each dimension; with all of their combinations, requests are published."""
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
        assert [one["values"] for one in series["Requests per second"]] == [[7 / period]]
        for title in ("Requests per second by endpoint", "Failures per second by endpoint"):
            assert [one["values"] for one in series[title]] == [[7 / period]] * len(VALUES["Name"])
        assert [one["values"] for one in series["Failure rate"]] == [[100]]


def test_saved_queries_find_what_they_are_named_for(aws: LocalAws, stack: Stack) -> None:
    logs = aws.client("logs")
    group = stack.outputs["LogGroupName"]
    now = aws.clock.now()
    definitions = logs.describe_query_definitions(queryDefinitionNamePrefix="full/")["queryDefinitions"]
    found = {}
    for definition in definitions:
        assert definition["logGroupNames"] == [group]
        for pattern, tests in (("/.+/", VALUES["Test"]), ("/^checkout$/", ["checkout"])):
            query = definition["queryString"].replace("test like /.+/", f"test like {pattern}")
            answer = run(logs, [group], query, now - timedelta(minutes=10), now)
            rows = [{cell["field"]: cell["value"] for cell in row} for row in answer["results"]]
            assert sorted({row["test"] for row in rows}) == tests, query
            found[definition["name"]] = {field for row in rows for field in row}
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
