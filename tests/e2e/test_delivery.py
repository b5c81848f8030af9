"""What arrives in S3 is published, or ends in the on-failure queue with an error that says why."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.e2e import batches
from tests.e2e.batches import Batch
from tests.e2e.conftest import Cloud

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
    "missing-field": ("NotABatch", ["line 1"]),
}


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
    cloud.put(Batch("idle", [users]).key, Batch("idle", [users]).content())
    assert cloud.failed_events() == []
    assert cloud.recently("Requests", "Sum", Test="idle") is None
    assert cloud.recently("Users", "Maximum", Test="idle") == 7
    assert cloud.recently("Users", "Maximum", Test="idle", UserClass="%C3%89t%C3%A9") == 3


def test_zstd_is_recognised_by_its_first_bytes(cloud: Cloud) -> None:
    batch = Batch("zstd", [batches.requests("GET", "/", [1000])])
    cloud.put(batch.key, zstandard.compress(batches.text(batch.lines())))
    assert cloud.failed_events() == []
    assert cloud.recently("Requests", "Sum", Test="zstd") == 1


def golden() -> list[Path]:
    return sorted(DATA.glob("*.ndjson.gz"))


@pytest.mark.parametrize("path", golden(), ids=lambda path: path.name)
def test_golden_batches_are_published_as_they_were_meant(cloud: Cloud, path: Path) -> None:
    expected = json.loads(path.with_name(path.name.replace(".ndjson.gz", ".expected.json")).read_text())
    content = batches.moved_to_now(path.read_bytes())
    cloud.put(f"batches/golden/{path.name}", content)
    assert cloud.failed_events() == []
    header, records = batches.read(content)
    requests = list(batches.each_request(header, records))
    assert (
        (cloud.recently("Requests", "Sum", Test=header["test"]) or 0) == expected["requests"] == len(requests)
    )


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


def test_a_decompression_bomb_is_refused(cloud: Cloud) -> None:
    batch = Batch("bomb")
    content = batches.bomb(batch, megabytes=300)
    assert len(content) < 1_000_000
    cloud.put(batch.key, content)
    response = only_failure(cloud, batch.key)
    assert response["errorType"] == "BatchTooLarge"
    assert "RELAY_MAX_BATCH_MB" in response["errorMessage"]


def test_a_batch_that_is_too_old_for_cloudwatch_is_refused(cloud: Cloud) -> None:
    age = timedelta(days=15) // timedelta(milliseconds=1)
    old = Batch("old", [batches.requests("GET", "/", [1000])], from_ms=batches.now_ms() - age)
    cloud.put(old.key, old.content())
    assert only_failure(cloud, old.key)["errorType"] == "OutsideWindow"
