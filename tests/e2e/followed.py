"""A distributed Locust that the sidecar followed, with the hook attached to nothing."""

from __future__ import annotations

import signal
import string
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import Any
from urllib.parse import quote

from examples.reconcile import Endpoint, Series, totals
from local_aws import CallRecord
from local_aws.cloudwatch.store import Cell, Distribution, MetricKey
from locust_hook.sidecar.answers import Statistics, read_statistics
from tests.e2e.conftest import DELIVERY_SECONDS, Cloud
from tests.hook.locusts import free_port, master_arguments, wait_for
from tests.sidecar.bench import SidecarBench

TEST = "without hook"
USERS = 6
WORKERS = 2
LOOKS = 2
"""At least so many times does CloudWatch show new requests while the test runs; workers report every three
seconds."""
STATISTICS = ("SampleCount", "Sum", "Minimum", "Maximum")


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
        """The messages of the test's log events, by type."""
        by_type = defaultdict(list)
        for event in self.cloud.log_events():
            if event["test"] == TEST:
                by_type[event["type"]].append(event)
        return by_type

    @property
    def run(self) -> str:
        """The one run that all log events tell of."""
        (run,) = {event["run"] for events in self.log_events.values() for event in events}
        return str(run)

    @property
    def metric_calls(self) -> list[CallRecord]:
        """All calls with which this stack's relay published metrics."""
        calls = self.cloud.aws.calls.of("cloudwatch", "PutMetricData")
        return [call for call in calls if f"assumed-role/{self.cloud.stack.name}-RelayRole" in call.principal]


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
