"""The handler in Python that the relay is measured beside publishes the same metrics as the relay."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from benches import reference_handler
from benches.batches import Batch
from benches.runtime_api import FunctionProcess
from local_aws import LocalAws

ROOT = Path(__file__).parents[2]
RELAY = Path(os.environ.get("RELAY_BINARY") or ROOT / "target" / "debug" / "locust-cloudwatch-relay")
BUCKET, KEY, LOG_GROUP = "load-tests", "batches/bench/run/worker/000000.ndjson.gz", "/locust/bench"
METRICS = ("ResponseTime", "Requests", "Failures", "ResponseSize")
TOLERANCES = {"ResponseTime": 0.005, "ResponseSize": 0.01}
"""By how much the relay's values may differ from those that were measured, as a share of them."""

Series = tuple[str, Any, int]
"""Name, dimensions, second."""
Numbers = tuple[float, float, float, float, float]
"""Count, sum, minimum, median, maximum."""


def notification() -> Any:
    event = json.loads((ROOT / "events" / "s3-notification.json").read_text())
    event["Records"][0]["s3"]["bucket"]["name"] = BUCKET
    event["Records"][0]["s3"]["object"]["key"] = KEY
    return event


def published(aws: LocalAws) -> dict[Series, Numbers]:
    return {
        (key.name, key.dimensions, cell.second): (
            found.sample_count, found.sum, found.minimum, found.percentile(50) or 0, found.maximum
        )
        for key in aws.metrics.keys("Locust")
        if key.name in METRICS
        for cell, found in aws.metrics.cells(key)
    }  # fmt: skip


def prepared(aws: LocalAws) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=Batch(4_000, 3).content())
    aws.client("logs").create_log_group(logGroupName=LOG_GROUP)


def test_it_publishes_what_the_relay_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalAws() as aws:
        prepared(aws)
        environment = {**aws.environment(), "RELAY_LOG_GROUP": LOG_GROUP}
        with FunctionProcess(RELAY, environment) as relay:
            relay.invoke(notification())
        by_relay = published(aws)
    with LocalAws() as aws:
        prepared(aws)
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        reference_handler.s3.cache_clear()
        reference_handler.cloudwatch.cache_clear()
        reference_handler.handler(notification(), None)
        by_handler = published(aws)
    assert by_handler.keys() == by_relay.keys()
    assert sum(found[0] for (name, dimensions, _), found in by_relay.items()
               if name == "ResponseTime" and len(dimensions) == 1) == 4_000  # fmt: skip
    for series, (count, total, *extremes) in by_relay.items():
        expected_count, expected_total, *expected_extremes = by_handler[series]
        assert count == expected_count, series
        assert total == pytest.approx(expected_total, rel=1e-9), series
        tolerance = TOLERANCES.get(series[0], 0)
        assert extremes == pytest.approx(expected_extremes, rel=tolerance), series


def test_its_calls_are_within_the_limits() -> None:
    calls = list(reference_handler.calls(Batch(60_000, 2).content()))
    assert len(calls) > 1
    for call in calls:
        assert 1 <= len(call["MetricData"]) <= reference_handler.MAX_DATA
        for datum in call["MetricData"]:
            assert 1 <= len(datum["Values"]) == len(datum["Counts"]) <= reference_handler.MAX_VALUES
