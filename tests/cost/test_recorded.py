"""The estimate of a run is what AWS counted when it was relayed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cost import counts
from cost.__main__ import main
from cost.counts import RELAY_METRICS
from cost.preview import relay
from local_aws import LogEvent
from tests.e2e.conftest import Cloud
from tests.e2e.runs import run_locust

pytestmark = pytest.mark.timeout(300)

TEST = "priced"
EVENT_BYTES = 26
"""What a log event counts beyond its text."""


class Recorded:
    """What local AWS counted while a run was relayed."""

    def __init__(self, cloud: Cloud) -> None:
        self.calls: Counter[tuple[str, int | None]] = Counter()
        for call in cloud.aws.calls:
            prefix = f" {call.resource.split('/')[1]}" if call.service == "s3" else ""
            self.calls[f"{call.operation}{prefix}", call.status] += 1
        self.invocations = sum(len(invocation.attempts) for invocation in cloud.function.invocations)
        self.log_events = cloud.aws.log_events(cloud.stack.outputs["LogGroupName"])
        group = cloud.stack.functions["RelayFunction"].log_group
        self.function_log = cloud.aws.log_events(group)
        self.metrics = {(key.name, key.dimensions) for key in cloud.aws.metrics.keys("Locust")}
        self.relay_metrics = set(cloud.aws.metrics.keys("Locust/Relay"))
        self.objects = [len(content) for content in cloud.objects(f"batches/{TEST}/")]


def size(events: list[LogEvent]) -> int:
    return sum(len(event.message.encode()) + EVENT_BYTES for event in events)


@pytest.fixture(scope="module")
def recorded(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    cloud.aws.calls.clear()
    run_locust(cloud, TEST, tmp_path_factory.mktemp("locust"), "processes")
    return Recorded(cloud)


@pytest.fixture(scope="module")
def estimate(cloud: Cloud, recorded: Recorded, relay_binary: Path) -> dict[str, Any]:
    """What the command says of the run, as JSON."""
    with pytest.MonkeyPatch.context() as patch, pytest.MonkeyPatch.context() as output:
        for name, value in cloud.aws.environment().items():
            patch.setenv(name, value)
        said: list[str] = []
        output.setattr("cost.__main__.say", lambda *lines, to=None: said.extend(lines))
        address = f"s3://{cloud.bucket}/batches/{TEST}"
        assert main([address, "--json", "--relay", str(relay_binary)]) == 0
    found: dict[str, Any] = json.loads("\n".join(said))
    return found


def test_every_number_of_the_bill_is_the_recorded_one(recorded: Recorded, estimate: dict[str, Any]) -> None:
    expected = {
        "S3 PUT: batches": recorded.calls["PutObject batches", 200],
        "S3 GET: batches": recorded.calls["GetObject batches", 200],
        "Lambda: requests": recorded.invocations,
        "CloudWatch: PutMetricData": recorded.calls["PutMetricData", 200],
        "Logs: of the test": size(recorded.log_events),
    }
    metrics = len(recorded.metrics) + len(recorded.relay_metrics)
    if estimate["counts"]["hours"] == 1:
        expected["CloudWatch: custom metrics"] = metrics
    else:  # a new hour began just then: not every metric was sent in both
        assert metrics <= estimate["counts"]["hours"] * estimate["items"][6]["number"] <= 2 * metrics
    numbers = {item["name"]: item["number"] for item in estimate["items"]}
    assert recorded.calls["PutObject batches", 200] > 5
    assert {name: numbers[name] for name in expected} == pytest.approx(expected, rel=0.05)


def test_writes_of_the_ledger_are_the_recorded_ones(recorded: Recorded, estimate: dict[str, Any]) -> None:
    written = recorded.calls["PutObject ledger", 200]
    assert estimate["counts"]["ledger_writes"] == pytest.approx(written, rel=0.05)


def test_calls_and_bytes_that_are_not_billed_agree_too(recorded: Recorded, estimate: dict[str, Any]) -> None:
    found = estimate["counts"]
    assert found["log_calls"] == recorded.calls["PutLogEvents", 200]
    assert found["log_events"] == len(recorded.log_events)
    assert found["processes"] == recorded.calls["PutLogEvents", 400] == recorded.calls["CreateLogStream", 200]
    assert found["uploaded_bytes"] == sum(recorded.objects)
    assert found["batches"] == len(recorded.objects)


def test_what_the_relay_says_of_itself_is_counted(recorded: Recorded, estimate: dict[str, Any]) -> None:
    assert len(recorded.relay_metrics) == RELAY_METRICS
    # Lambda's own lines are not written by local AWS. Names of tests and hosts are longer or shorter.
    printed = size(recorded.function_log) / recorded.invocations
    assert printed == pytest.approx(counts.RELAY_LOG_BYTES, rel=0.2)


def test_a_metric_that_is_not_sent_is_not_paid_for(
    recorded: Recorded, cloud: Cloud, relay_binary: Path, tmp_path: Path
) -> None:
    """The metrics that another setting saves are those that CloudWatch holds for it."""
    files = []
    for number, content in enumerate(cloud.objects(f"batches/{TEST}/")):
        files.append(tmp_path / str(number))
        files[-1].write_bytes(content)
    without_run = relay(relay_binary)(files, {"RELAY_DIMENSION_SETS": "Test;Test,Method,Name"})
    assert without_run.metrics == sum("Run" not in dict(dimensions) for _, dimensions in recorded.metrics)
