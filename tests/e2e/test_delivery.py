"""What arrives in S3 is published, or ends in the on-failure queue with an error that says why."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import zstandard

from local_aws import LocalAws
from local_aws.faults import Kind
from tests.e2e import batches
from tests.e2e.batches import Batch
from tests.e2e.conftest import Cloud, deployed

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"

# What the relay must say of each bad batch: the error's type, and words of its message.
BAD = {
    "not-gzip": ("NotCompressed", ["expected gzip"]),
    "truncated": ("TruncatedBatch", ["gzip data are truncated", "line"]),
    "missing-end": ("TruncatedBatch", ["expected a record or the `end` line", "line"]),
    "wrong-end": ("WrongEndLine", ["`end` line", "line"]),
    "broken-json": ("InvalidJson", ["line 3"]),
    "unequal-columns": ("UnequalColumns", ["columns of equal length", "line"]),
    "unknown-version": ("UnknownBatchVersion", ["line 1", "expected version 1"]),
    "empty": ("EmptyObject", ["found an empty object"]),
    "missing-field": ("InvalidJson", ["line 1", "missing field"]),
}


GOLDEN = ["idle", "oddities", "typical"]


def only_failure(cloud: Cloud, key: str) -> dict[str, Any]:
    """The one event in the on-failure queue, which must be that of this object."""
    (record,) = cloud.failed_events()
    assert record["requestPayload"]["Records"][0]["s3"]["object"]["key"] == key
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    response: dict[str, Any] = record["responsePayload"]
    return response


# -- Batches that are as they should be ----------------------------------------------------------


def test_a_batch_is_published_under_the_name_of_its_header_not_of_its_key(cloud: Cloud) -> None:
    batch = Batch("headed", [batches.requests("GET", "/", [1000, 2000])])
    cloud.put("batches/some where/é+&=.bin", batch.content())
    assert cloud.failed_events() == []
    assert cloud.recently("Requests", "Sum", Test="headed") == 2
    assert cloud.recently("ResponseTime", "Sum", Test="headed") == 3.0


def test_a_batch_without_requests_shows_its_users(cloud: Cloud) -> None:
    users = {"users": {"at_ms": batches.now_ms(), "total": 7, "by_class": {"Shopper": 4, "Été": 3}}}
    cloud.put(Batch("resting", [users]).key, Batch("resting", [users]).content())
    assert cloud.failed_events() == []
    assert cloud.recently("Requests", "Sum", Test="resting") is None
    assert cloud.recently("Users", "Maximum", Test="resting") == 7
    assert cloud.recently("Users", "Maximum", Test="resting", UserClass="%C3%89t%C3%A9") == 3


def test_zstd_is_recognised_by_its_first_bytes(cloud: Cloud) -> None:
    batch = Batch("zstd", [batches.requests("GET", "/", [1000])])
    cloud.put(batch.key, zstandard.compress(batches.text(batch.lines())))
    assert cloud.failed_events() == []
    assert cloud.recently("Requests", "Sum", Test="zstd") == 1


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_batches_are_published_as_they_were_meant(cloud: Cloud, name: str) -> None:
    expected = json.loads((DATA / f"{name}.expected.json").read_text())
    content = batches.moved_to_now((DATA / f"{name}.ndjson.gz").read_bytes())
    cloud.put(f"batches/golden/{name}.ndjson.gz", content)
    assert cloud.failed_events() == []
    test = expected["header"]["test"]

    def shown(metric: str, statistic: str, **dimensions: str) -> float:
        return cloud.recently(metric, statistic, Test=test, **dimensions) or 0

    def meant(*path: str) -> int:
        """A number of every endpoint, added up."""
        return sum(reduce(getitem, path, endpoint) for endpoint in expected["endpoints"])

    assert shown("Requests", "Sum") == meant("requests") == expected["requests"]
    assert shown("Failures", "Sum") == meant("failures")
    assert shown("ResponseTime", "SampleCount") == meant("response_time_us", "count")
    assert shown("ResponseTime", "Sum") == pytest.approx(meant("response_time_us", "sum") / 1000, rel=1e-9)
    assert shown("ResponseSize", "SampleCount") == meant("response_bytes", "count")
    assert shown("ResponseSize", "Sum") == pytest.approx(meant("response_bytes", "sum"), rel=1e-9)
    for status in {status for e in expected["endpoints"] for status in e["statuses"]} - {"none"}:
        count = sum(endpoint["statuses"].get(status, 0) for endpoint in expected["endpoints"])
        assert shown("Responses", "Sum", Status=status) == count
    totals = [users["total"] for users in expected["users"]]
    assert shown("Users", "SampleCount") == len(totals)
    assert shown("Users", "Maximum") == max(totals, default=0)
    logged = Counter(event["type"] for event in cloud.log_events() if event["test"] == test)
    assert logged["event"] == len(expected["events"])
    assert logged["exception"] == len(expected["exceptions"])
    assert logged["request"] == meant("failures")


def test_the_list_of_golden_batches_is_complete() -> None:
    assert {path.name.removesuffix(".expected.json") for path in DATA.glob("*.expected.json")} == set(GOLDEN)


# -- Deliveries that go wrong on the way -----------------------------------------------------------


def test_an_object_that_is_told_of_three_times_is_published_once(cloud: Cloud) -> None:
    batch = Batch("told-thrice", [batches.requests("GET", "/", [1000] * 5)])
    cloud.aws.notifications.duplicates = 2
    try:
        cloud.put(batch.key, batch.content())
    finally:
        cloud.aws.notifications.duplicates = 0
    assert cloud.failed_events() == []
    assert cloud.recently("Requests", "Sum", Test="told-thrice") == 5


@pytest.mark.parametrize("kind", ["throttle", "error500", "error503", "cut_before"])
@pytest.mark.parametrize("operation", ["PutMetricData", "PutLogEvents", "GetObject"])
def test_a_call_that_fails_now_and_then_is_made_again(cloud: Cloud, operation: str, kind: Kind) -> None:
    service = {"PutMetricData": "cloudwatch", "PutLogEvents": "logs", "GetObject": "s3"}[operation]
    test = f"{operation}-{kind}".lower()
    failing = batches.requests("GET", "/", [1000] * 5, status=500, error="HTTPError('500')")
    batch = Batch(test, [failing])
    fault = cloud.aws.faults.add(kind=kind, service=service, operation=operation, times=2)
    try:
        cloud.put(batch.key, batch.content())
    finally:
        cloud.aws.faults.clear()
    assert fault.hits == 2
    assert cloud.failed_events() == []
    assert cloud.recently("Requests", "Sum", Test=test) == 5
    requests = [e for e in cloud.log_events() if e["test"] == test and e["type"] == "request"]
    assert len(requests) == 5


# -- Batches that are not ------------------------------------------------------------------------


def test_the_table_of_bad_batches_is_complete() -> None:
    assert {path.name.split(".")[0] for path in (DATA / "bad").iterdir()} == BAD.keys()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_batch_ends_in_the_queue_with_its_own_error(cloud: Cloud, name: str) -> None:
    (path,) = (DATA / "bad").glob(f"{name}.*")
    key = f"batches/bad/{path.name}"
    cloud.put(key, path.read_bytes())
    response = only_failure(cloud, key)
    kind, words = BAD[name]
    assert response["errorType"] == kind
    for word in [*words, f"s3://{cloud.bucket}/{key}"]:
        assert word in response["errorMessage"]
    assert list(cloud.objects(key)) == [path.read_bytes()], "the object is kept"


def test_a_decompression_bomb_is_refused(aws: LocalAws, relay_binary: Path) -> None:
    with deployed(aws, relay_binary, "small", MaxBatchMb="8") as cloud:
        batch = Batch("bomb")
        content = batches.bomb(batch, megabytes=300)
        assert len(content) < 1_000_000
        cloud.put(batch.key, content)
        response = only_failure(cloud, batch.key)
    assert response["errorType"] == "BatchTooLarge"
    assert f"at most {8 << 20} bytes" in response["errorMessage"]


def test_a_batch_that_is_too_old_for_cloudwatch_is_refused(cloud: Cloud) -> None:
    age = timedelta(days=15) // timedelta(milliseconds=1)
    old = Batch("old", [batches.requests("GET", "/", [1000])], from_ms=batches.now_ms() - age)
    cloud.put(old.key, old.content())
    assert only_failure(cloud, old.key)["errorType"] == "TimestampTooOld"
