"""A real Locust run whose requests are odd: nothing is lost, and all is shown where one looks for it."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from examples.reconcile import Endpoint
from tests.e2e.conftest import Cloud
from tests.e2e.runs import ODDITIES, Run, run_locust


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("odd")


@pytest.fixture(scope="module")
def run(cloud: Cloud, folder: Path) -> Run:
    return run_locust(cloud, "odd", folder, "processes", locustfile=ODDITIES)


def test_every_request_is_counted_in_the_sums(run: Run) -> None:
    assert len(run.locust) > 1000, "thousands of names"
    locust = run.locust.values()
    assert run.statistic("Requests", "Sum") == sum(numbers.requests for numbers in locust)
    assert run.statistic("Failures", "Sum") == sum(numbers.failures for numbers in locust)
    assert run.statistic("ResponseTime", "SampleCount") == sum(numbers.timed for numbers in locust)
    assert sum(numbers.requests for numbers in run.cloudwatch.values()) == sum(n.requests for n in locust)


def test_names_that_came_early_and_often_keep_theirs(run: Run) -> None:
    for name, shown in {
        "": "(empty)",
        "/größe/日本": "/gr%C3%B6%C3%9Fe/%E6%97%A5%E6%9C%AC",
        "/numbers": "/numbers",
        "/errors": "/errors",
    }.items():
        counted = run.locust[Endpoint("ODD", name)]
        published = run.cloudwatch[Endpoint("ODD", shown)]
        assert (published.requests, published.failures) == (counted.requests, counted.failures), name
    (counted,) = [numbers for endpoint, numbers in run.locust.items() if len(endpoint.name) > 1024]
    (published,) = [numbers for endpoint, numbers in run.cloudwatch.items() if len(endpoint.name) == 1024]
    assert published.requests == counted.requests
    assert run.cloudwatch[Endpoint("(other)", "(other)")].requests > 0


def test_exceptions_of_the_load_test_are_logged_with_their_count(run: Run, folder: Path) -> None:
    with open(folder / "locust_exceptions.csv") as file:
        raised = sum(int(row["Count"]) for row in csv.DictReader(file))
    logged: Counter[str] = Counter()
    for event in run.log_events:
        if event["type"] == "exception":
            logged[event["message"]] += event["count"]
            assert "in crash" in event["traceback"]
    assert raised > 0
    assert sum(logged.values()) == raised
    assert all("the load test is wrong" in message for message in logged)


def test_nothing_ends_in_the_on_failure_queue(run: Run) -> None:
    assert run.cloud.failed_events() == []
