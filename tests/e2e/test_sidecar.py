"""The sidecar's whole road: CloudWatch shows what a Locust counted that nothing is attached to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.reconcile import Endpoint, published_endpoints
from local_aws import LocalAws
from local_aws.cloudwatch.limits import MAX_REQUEST_BYTES
from local_aws.dashboard.clients import Clients
from local_aws.dashboard.snapshot import get_body, take
from tests.e2e.batches import Batch
from tests.e2e.conftest import deployed
from tests.e2e.followed import (
    LOOKS,
    TEST,
    USERS,
    WORKERS,
    Relayed,
    dimensions,
    follow_a_test,
    in_milliseconds,
)
from tests.hook.locusts import free_port, site
from tests.sidecar.bench import SidecarBench

DASHBOARD = "Sidecar"
FULL = "full calls"
"""The test of a batch that fills calls."""
MANY = 200
"""Endpoints that the relay publishes by name if not set otherwise."""
MICROSECOND = 0.001
"""In milliseconds."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def relayed(aws: LocalAws, relay_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relayed]:
    stack = deployed(aws, relay_binary, "sidecar", DashboardName=DASHBOARD, ShowWorkers="true")
    with stack as cloud, site() as host:
        bench = SidecarBench(tmp_path_factory.mktemp("sidecar"), host, port=free_port())
        try:
            yield follow_a_test(cloud, bench)
        finally:
            bench.end_all()


def test_every_endpoint_s_requests_failures_and_sizes_are_locust_s(relayed: Relayed) -> None:
    assert {key.method for key in relayed.endpoints} == {"GET", "MQTT"}
    assert sum(entry["failures"] for entry in relayed.endpoints.values()) > 0
    assert published_endpoints(relayed.cloud.cloudwatch, "Locust", TEST).keys() == {
        Endpoint(**{name.lower(): value for name, value in dimensions(key).items()})
        for key in relayed.endpoints
    }
    for endpoint, entry in relayed.endpoints.items():
        names = dimensions(endpoint)
        assert relayed.statistics("Requests", **names)["Sum"] == entry["requests"], endpoint
        assert relayed.statistics("Failures", **names)["Sum"] == entry["failures"], endpoint
        sizes = relayed.statistics("ResponseSize", **names)
        assert (sizes["SampleCount"], sizes["Sum"]) == (entry["requests"], entry["bytes"]), endpoint


def test_every_endpoint_s_response_times_are_locust_s(relayed: Relayed) -> None:
    assert 0 < len(relayed.timed) < len(relayed.endpoints), "one has no response times"
    for endpoint, entry in relayed.endpoints.items():
        expected = in_milliseconds([entry])
        shown = relayed.statistics("ResponseTime", **dimensions(endpoint))
        assert shown == pytest.approx(expected, abs=2 * MICROSECOND, rel=0), endpoint


def test_the_test_s_and_the_run_s_numbers_are_those_of_all_endpoints(relayed: Relayed) -> None:
    entries = relayed.endpoints.values()
    for names in ({}, {"Run": relayed.run}):
        for metric, field in (("Requests", "requests"), ("Failures", "failures"), ("ResponseSize", "bytes")):
            assert relayed.statistics(metric, **names)["Sum"] == sum(entry[field] for entry in entries)
        expected = pytest.approx(in_milliseconds(entries), abs=2 * MICROSECOND * len(entries), rel=0)
        assert relayed.statistics("ResponseTime", **names) == expected


def test_response_times_are_statistic_sets_that_cloudwatch_takes(relayed: Relayed) -> None:
    assert {call.status for call in relayed.metric_calls} == {200}
    sets = 0
    for names in ({}, *(dimensions(endpoint) for endpoint in relayed.endpoints)):
        for metric in ("ResponseTime", "ResponseSize"):
            for _, kept in relayed.cells(metric, **names):
                assert kept.minimum <= kept.average * (1 + 1e-9)
                assert kept.average <= kept.maximum * (1 + 1e-9)
                # Only where a request was alone in a second, or in a batch of it, are its numbers known.
                assert kept.sample_count <= 2 or not kept.exact
                sets += not kept.exact
    assert sets > 0
    assert relayed.cloud.statistic("ResponseTime", "p95", relayed.start, relayed.end, Test=TEST) is None


def test_many_endpoints_with_long_names_keep_to_the_limits_of_a_call(relayed: Relayed) -> None:
    cloud, looks = relayed.cloud, 3
    batch = Batch(FULL, source="host-sidecar")
    largest = 2**53 - 1
    for look in range(looks):
        at_ms = batch.from_ms + 1000 * (look + 1)
        statistics = {
            "requests": 3,
            "failures": 1,
            "response_times": 3,
            "response_time_us": {"sum": largest, "min": 0, "max": largest},
            "response_bytes": largest,
            "percentiles_ms": {"50": 1, "90": 1500, "95": 0.5, "99": largest / 1000},
        }
        endpoints = [{"method": "GET", "name": f"/ü{n}/" + "x" * 2000, **statistics} for n in range(MANY)]
        batch.records.append({"snapshot": {"from_ms": at_ms - 1000, "at_ms": at_ms, "endpoints": endpoints}})
    before = len(relayed.metric_calls)
    cloud.put(batch.key, batch.content())
    assert cloud.failed_events() == []
    calls = relayed.metric_calls[before:]
    assert {call.status for call in calls} == {200}
    assert 0.9 * MAX_REQUEST_BYTES < max(call.request_bytes for call in calls) <= MAX_REQUEST_BYTES
    assert len(published_endpoints(cloud.cloudwatch, "Locust", FULL)) == MANY
    assert cloud.recently("Requests", "Sum", Test=FULL) == 3 * looks * MANY
    assert cloud.recently("ResponseTime", "SampleCount", Test=FULL) == 3 * looks * MANY
    assert cloud.recently("ResponseTime", "Maximum", Test=FULL) == largest / 1000
    assert cloud.recently("ResponseSize", "Sum", Test=FULL) == pytest.approx(largest * looks * MANY)


def test_locust_s_own_percentiles_are_gauges(relayed: Relayed) -> None:
    assert relayed.shown.total.percentiles_ms.keys() == {"50", "90", "95", "99"}
    for percent, value in relayed.shown.total.percentiles_ms.items():
        assert value in relayed.cells(f"LocustP{percent}")[-1][1].counts, percent
    for entry in relayed.shown.entries:
        endpoint = Endpoint(entry.method, entry.name)
        for percent, value in entry.percentiles_ms.items():
            cells = relayed.cells(f"LocustP{percent}", **dimensions(endpoint))
            if endpoint in relayed.timed:
                assert value in cells[-1][1].counts, (endpoint, percent)
            else:
                assert cells == [], "Locust says 0 where there is no response time"
    longest = relayed.statistics("ResponseTime")["Maximum"]
    for shown_in_charts in (50, 95):
        current = relayed.statistics(f"LocustCurrentP{shown_in_charts}")
        assert current["SampleCount"] >= LOOKS
        assert 0 <= current["Minimum"] <= current["Maximum"] <= 1.05 * longest + 1, "two digits of it"


def test_users_and_workers_are_gauges(relayed: Relayed) -> None:
    assert relayed.statistics("Users")["Maximum"] == USERS
    for name in ("Visitor", "Buyer"):
        assert relayed.statistics("Users", UserClass=name)["Maximum"] == USERS / 2
    workers = relayed.statistics("Workers")
    assert workers["Minimum"] == workers["Maximum"] == WORKERS
    processor = relayed.statistics("WorkerCpu")
    assert processor["SampleCount"] >= LOOKS
    assert 0 < processor["Maximum"] < 1000
    assert relayed.statistics("WorkerMemory")["Minimum"] > 10**7


def test_log_events_add_up_to_what_locust_counted(relayed: Relayed) -> None:
    errors: Counter[Endpoint] = Counter()
    for event in relayed.log_events["error"]:
        assert event["error"].endswith("code=404)")
        errors[Endpoint(event["method"], event["name"])] += event["count"]
    assert errors == {key: entry["failures"] for key, entry in relayed.endpoints.items() if entry["failures"]}
    summaries = defaultdict(list)
    for event in relayed.log_events["summary"]:
        summaries[Endpoint(event["method"], event["name"])].append(event)
    assert summaries.keys() == relayed.endpoints.keys()
    for endpoint, events in summaries.items():
        entry = relayed.endpoints[endpoint]
        assert sum(event["requests"] for event in events) == entry["requests"]
        assert sum(event["failures"] for event in events) == entry["failures"]
        longest = max((event["max_ms"] for event in events if "max_ms" in event), default=0)
        assert longest == pytest.approx(entry["max_ms"] or 0, abs=MICROSECOND)
    exceptions = relayed.log_events["exception"]
    assert sum(event["count"] for event in exceptions) == relayed.final["exceptions"] > 0
    kinds = Counter(event["kind"] for event in relayed.log_events["event"])
    assert kinds.items() >= {"test_start": 1, "spawning_complete": 1, "test_stop": 1}.items()
    assert kinds["worker_connect"] == WORKERS
    assert relayed.log_events.keys() == {"error", "summary", "exception", "event"}


def test_every_batch_is_relayed_at_the_first_attempt(relayed: Relayed) -> None:
    invocations = relayed.cloud.function.invocations
    assert len(invocations) >= LOOKS
    assert {(call.status, len(call.attempts)) for call in invocations} == {("succeeded", 1)}
    assert relayed.cloud.failed_events() == []


def test_the_dashboard_shows_what_the_sidecar_sees(relayed: Relayed) -> None:
    clients = Clients(lambda service, _: relayed.cloud.aws.client(service))
    body = get_body(clients, DASHBOARD)
    wanted = {"test": TEST, "period": "1"}
    taken = take(DASHBOARD, body, clients, relayed.start, relayed.end, selected=wanted, most=1)
    assert taken.errors == []
    contents = {content["title"]: content for content in taken.data["contents"]}
    empty = {
        title
        for title, content in contents.items()
        if content["view"] != "text" and not (content.get("series") or content.get("rows"))
    }
    assert empty <= {"Responses per second by status", "Response time by run, p95"}, (
        "only the hook tells these"
    )
    labels = {
        title: {series["label"] for series in content.get("series", [])}
        for title, content in contents.items()
    }
    for percent in (50, 90, 95, 99):
        assert labels[f"Response time by endpoint, p{percent}"] >= {
            f"{method} {name} (since the start)" for method, name in relayed.timed
        }
    assert labels["Response time, p95"] >= {"ms at most, as Locust says LocustCurrentP95"}
    assert labels["Response time"] >= {"LocustCurrentP50", "LocustCurrentP95"}
    assert labels["Users by class"] == {"Visitor", "Buyer"}
    assert labels["Processor time of workers"] == {"Average", "Maximum", "workers (right)"}
    assert labels["Memory of workers"] == {"Average", "Maximum"}
