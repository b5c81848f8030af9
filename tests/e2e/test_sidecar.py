"""The sidecar's whole road: CloudWatch shows what a Locust counted that nothing is attached to."""

from __future__ import annotations

import signal
import string
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from examples.reconcile import Endpoint, Series, published_endpoints, totals
from local_aws import CallRecord, LocalAws
from local_aws.cloudwatch.store import Cell, Distribution, MetricKey
from local_aws.dashboard.clients import Clients
from local_aws.dashboard.snapshot import get_body, take
from locust_hook.sidecar.answers import Statistics, read_statistics
from tests.e2e.conftest import DELIVERY_SECONDS, Cloud, deployed
from tests.hook.locusts import free_port, master_arguments, site, wait_for
from tests.sidecar.bench import SidecarBench

STACK = "sidecar"
DASHBOARD = "Sidecar"
TEST = "without hook"
USERS = 6
WORKERS = 2
LOOKS = 2
"""At least so many times does CloudWatch show new requests while the test runs; workers report every three
seconds."""
STATISTICS = ("SampleCount", "Sum", "Minimum", "Maximum")
MICROSECOND = 0.001
"""In milliseconds."""

pytestmark = pytest.mark.timeout(300)


@dataclass
class Relayed:
    """A test that is over: Locust's own numbers, and the cloud that has them."""

    cloud: Cloud
    start: datetime
    end: datetime
    final: dict[str, Any]
    """What Locust had counted at its end, as `tests/sidecar/visitors.py` writes it."""
    shown: Statistics
    """What Locust's web interface showed when the test had ended."""

    @property
    def endpoints(self) -> dict[Endpoint, dict[str, Any]]:
        """What Locust counted, by endpoint."""
        return {Endpoint(entry["method"], entry["name"]): entry for entry in self.final["endpoints"]}

    @property
    def timed(self) -> set[Endpoint]:
        """Endpoints that have response times."""
        return {endpoint for endpoint, entry in self.endpoints.items() if in_milliseconds([entry])}

    def statistics(self, metric: str, **dimensions: str) -> dict[str, float]:
        """A metric over the whole test, by CloudWatch's statistics; {} without data."""
        wanted = (("Test", TEST), *dimensions.items())
        series = [Series(metric, statistic, wanted) for statistic in STATISTICS]
        found = totals(self.cloud.cloudwatch, "Locust", series, self.start, self.end)
        return {one.statistic: value for one, value in found.items()}

    def cells(self, metric: str, **dimensions: str) -> list[tuple[Cell, Distribution]]:
        """What CloudWatch keeps of a metric, second by second."""
        pairs = tuple(sorted({"Test": TEST, **dimensions}.items()))
        return self.cloud.aws.metrics.cells(MetricKey("Locust", metric, pairs))

    @cached_property
    def log_events(self) -> dict[str, list[dict[str, Any]]]:
        """The messages of the log group, by type."""
        by_type = defaultdict(list)
        for event in self.cloud.log_events():
            by_type[event["type"]].append(event)
        return by_type

    @property
    def run(self) -> str:
        """The one run that all log events tell of."""
        (run,) = {(event["test"], event["run"]) for events in self.log_events.values() for event in events}
        assert run[0] == TEST
        return str(run[1])

    @property
    def calls(self) -> list[CallRecord]:
        """All calls of this stack's relay."""
        return [call for call in self.cloud.aws.calls if f"assumed-role/{STACK}-RelayRole" in call.principal]


def dimensions(endpoint: Endpoint) -> dict[str, str]:
    """An endpoint's dimensions: CloudWatch takes only ASCII."""
    return {"Method": endpoint.method, "Name": quote(endpoint.name, safe=string.printable)}


def in_milliseconds(entries: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Response times as Locust counted them at these endpoints, by statistic; {} without any."""
    timed = [entry for entry in entries if entry["requests"] > entry["without_time"]]
    if not timed:
        return {}
    return {
        "SampleCount": sum(entry["requests"] for entry in timed),
        "Sum": sum(entry["sum_ms"] for entry in timed),
        "Minimum": min(entry["min_ms"] for entry in timed),
        "Maximum": max(entry["max_ms"] for entry in timed),
    }


@pytest.fixture(scope="module")
def relayed(aws: LocalAws, relay_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relayed]:
    stack = deployed(aws, relay_binary, STACK, DashboardName=DASHBOARD, ShowWorkers="true")
    with stack as cloud, site() as host:
        bench = SidecarBench(tmp_path_factory.mktemp("sidecar"), host, port=free_port())
        try:
            yield follow_a_test(cloud, bench)
        finally:
            bench.end_all()


def follow_a_test(cloud: Cloud, bench: SidecarBench) -> Relayed:
    """Has the sidecar, with the rights of a load generator, follow a Locust from its start to its end."""
    start = datetime.now(timezone.utc)
    sidecar = bench.sidecar("--to", cloud.relay_to, "--test", TEST, environment=cloud.uploader_environment)
    sidecar.says("trying again")  # it is there before Locust is
    port = free_port()
    master = bench.locust(
        *(*master_arguments(port, WORKERS), "--autostart", "--users", str(USERS), "--spawn-rate", "100")
    )
    workers = [bench.visitors(port) for _ in range(WORKERS)]

    def is_live() -> bool:
        shown = [
            cloud.aws.metrics.distribution("Locust", metric, {"Test": TEST})
            for metric in ("Requests", "LocustCurrentP95", "WorkerCpu")
        ]
        return all(one.sample_count >= LOOKS and one.maximum > 0 for one in shown)

    wait_for(is_live, "what the sidecar sees in CloudWatch", sidecar)
    bench.stop_test()
    sidecar.says("the test has ended")
    sidecar.signal(signal.SIGTERM)  # it looks on until all workers have told what they counted last
    assert "nothing lost" in sidecar.ends()
    shown = read_statistics(bench.ask("/stats/requests/csv"))
    master.signal(signal.SIGTERM)
    for process in (master, *workers):
        process.ends()
    cloud.function.wait_idle(timeout=DELIVERY_SECONDS)
    return Relayed(cloud, start, datetime.now(timezone.utc), bench.final, shown)


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
    calls = [call for call in relayed.calls if call.operation == "PutMetricData"]
    assert {call.status for call in calls} == {200}
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
    assert labels["Response time, p95"] >= {"ms, as Locust says LocustCurrentP95"}
    assert labels["Response time"] >= {"LocustCurrentP50", "LocustCurrentP95"}
    assert labels["Users by class"] == {"Visitor", "Buyer"}
    assert labels["Processor time of workers"] == {"Average", "Maximum", "workers (right)"}
    assert labels["Memory of workers"] == {"Average", "Maximum"}
