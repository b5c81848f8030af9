"""CloudWatch shows what Locust counted, to the last request, however Locust's processes are arranged."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from examples.reconcile import PERCENTILES, Endpoint, differences
from tests.e2e.conftest import Cloud
from tests.e2e.runs import ALONE, SIMPLEST, USERS, Run, run_locust

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", params=["local", "processes", "separate"])
def run(request: pytest.FixtureRequest, cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder: Path = tmp_path_factory.mktemp(request.param)
    return run_locust(cloud, f"shop-{request.param}", folder, request.param)


def test_every_request_is_counted_once(run: Run) -> None:
    assert set(run.locust) >= {Endpoint("GET", "/item/[id]"), Endpoint("POST", "/cart")}
    assert sum(numbers.failures for numbers in run.locust.values()) > 0
    assert differences(run.locust, run.cloudwatch) == []


def test_sums_over_all_endpoints_agree(run: Run) -> None:
    runs = {header["run"] for header, _ in run.batches}
    assert len(runs) == 1
    for dimensions in ({}, {"Run": runs.pop()}):
        assert run.statistic("Requests", "Sum", **dimensions) == sum(n.requests for n in run.locust.values())
        assert run.statistic("Failures", "Sum", **dimensions) == sum(n.failures for n in run.locust.values())
        timed = run.statistic("ResponseTime", "SampleCount", **dimensions)
        assert timed == sum(n.timed for n in run.locust.values())


def test_percentiles_and_averages_are_those_of_all_requests(run: Run) -> None:
    times: dict[Endpoint, list[int]] = defaultdict(list)
    for request in run.requests:
        if request.time_us is not None:
            times[Endpoint(request.method, request.name)].append(request.time_us)
    assert times
    for endpoint, microseconds in times.items():
        shown = run.cloudwatch[endpoint]
        ordered = sorted(microseconds)
        for percent in PERCENTILES:
            exact = ordered[-(-len(ordered) * percent // 100) - 1] / 1000
            assert shown.percentiles[percent] == pytest.approx(exact, rel=0.01), (endpoint, percent)
        assert shown.mean == pytest.approx(sum(microseconds) / len(microseconds) / 1000, rel=1e-4)
        assert shown.mean == pytest.approx(run.locust[endpoint].mean, rel=1e-4)


def test_responses_are_counted_by_status(run: Run) -> None:
    statuses = Counter(str(r.status) if r.status is not None else "(none)" for r in run.requests)
    assert {"200", "404", "(none)"} <= statuses.keys(), "pages, missing items, and events that are not HTTP"
    for status, count in statuses.items():
        assert run.statistic("Responses", "Sum", Status=status) == count


def test_response_sizes_add_up(run: Run) -> None:
    sizes = [request.size for request in run.requests if request.size is not None]
    assert run.statistic("ResponseSize", "SampleCount") == len(sizes)
    assert run.statistic("ResponseSize", "Sum") == pytest.approx(sum(sizes), rel=1e-9)


def test_users_are_shown_in_total_and_by_class(run: Run) -> None:
    assert run.statistic("Users", "Maximum") == USERS
    classes = {"Visitor": 12, "Buyer": 6, "PriceFeed": 2}
    assert {name: run.statistic("Users", "Maximum", UserClass=name) for name in classes} == classes


def test_every_process_s_batches_are_numbered_without_a_gap(run: Run) -> None:
    numbers = defaultdict(list)
    for header, _ in run.batches:
        numbers[header["source"]].append(header["seq"])
    assert all(sorted(found) == list(range(len(found))) for found in numbers.values())
    kinds = sorted(
        match[1] for source in numbers if (match := re.search(r"-(local|master|worker)(-\w+)?$", source))
    )
    assert kinds == (["local"] if run.test == "shop-local" else ["master", "worker", "worker"])


def test_log_events_tell_failures_summaries_and_lifecycle(run: Run) -> None:
    by_type = defaultdict(list)
    for event in run.log_events:
        by_type[event["type"]].append(event)
    failed = Counter((event["method"], event["name"], event["error"]) for event in by_type["request"])
    assert failed == Counter((r.method, r.name, r.error) for r in run.requests if r.error is not None)
    summarised: Counter[Endpoint] = Counter()
    for event in by_type["summary"]:
        summarised[Endpoint(event["method"], event["name"])] += event["requests"]
    assert summarised == {endpoint: numbers.requests for endpoint, numbers in run.locust.items()}
    assert {"test_start", "spawning_complete", "test_stop"} <= {event["kind"] for event in by_type["event"]}
    assert {event["run"] for event in run.log_events} == {header["run"] for header, _ in run.batches}


def test_nothing_ends_in_the_on_failure_queue(run: Run) -> None:
    assert run.cloud.failed_events() == []


def test_one_line_in_a_locustfile_is_enough(cloud: Cloud, tmp_path: Path) -> None:
    run = run_locust(cloud, "simplest", tmp_path, locustfile=SIMPLEST, users=1, program=ALONE)
    assert run.locust[Endpoint("GET", "/")].requests > 0
    assert differences(run.locust, run.cloudwatch) == []
