"""Every kind of event that tells of batches, and events whose objects are not all as they should be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_aws import LocalAws
from tests.e2e import batches
from tests.e2e.batches import Batch
from tests.e2e.conftest import Cloud, deployed

EVENTS = Path(__file__).parents[2] / "events"
SAMPLE_BUCKET = "locust-cloudwatch-relay-bucket-1a2b3c4d5e6f"
SAMPLE_KEYS = [
    "batches/checkout/20261121T102900Z-4f3a/ip-10-0-0-7-worker-3/000017.ndjson.gz",
    "batches/checkout flow/20261121T102900Z-4f3a/café-local/000000.ndjson.gz",
]
# How many of these objects each sample event names.
SAMPLES = {
    "s3-notification": 1,
    "s3-notification-two-objects": 2,
    "s3-test-event": 0,
    "eventbridge-object-created": 1,
    "sqs-s3-notification": 2,
    "sns-s3-notification": 1,
    "sqs-sns-s3-notification": 1,
    "lambda-on-failure-record": 1,
}


@pytest.fixture(scope="module")
def quiet(aws: LocalAws, relay_binary: Path) -> Iterator[Cloud]:
    """A deployed stack whose bucket tells nobody of its objects: only the tests' events do."""
    with deployed(aws, relay_binary, "events") as cloud:
        s3 = aws.client("s3")
        s3.put_bucket_notification_configuration(Bucket=cloud.bucket, NotificationConfiguration={})
        yield cloud


def sample(name: str, cloud: Cloud) -> Any:
    """A sample event, of this stack's bucket."""
    return json.loads((EVENTS / f"{name}.json").read_text().replace(SAMPLE_BUCKET, cloud.bucket))


def put(cloud: Cloud, key: str, content: bytes) -> None:
    cloud.aws.client("s3").put_object(Bucket=cloud.bucket, Key=key, Body=content)


def batch(test: str, seq: int = 0) -> bytes:
    return Batch(test, [batches.requests("GET", "/", [1000])], seq=seq).content()


def test_the_table_of_samples_is_complete() -> None:
    assert {path.stem for path in EVENTS.glob("*.json")} == SAMPLES.keys()


@pytest.mark.parametrize("name", SAMPLES)
def test_objects_are_found_in_every_kind_of_event(quiet: Cloud, name: str) -> None:
    for seq, key in enumerate(SAMPLE_KEYS):
        put(quiet, key, batch(name, seq))
    invocation = quiet.function.invoke(sample(name, quiet))
    assert invocation.status == "succeeded", invocation.error_message
    assert (quiet.recently("Requests", "Sum", Test=name) or 0) == SAMPLES[name]


@pytest.mark.parametrize("bad", SAMPLE_KEYS)
def test_of_two_objects_in_one_event_the_good_one_is_published_and_the_bad_one_named(
    quiet: Cloud, bad: str
) -> None:
    test = f"beside-{SAMPLE_KEYS.index(bad)}"
    (good,) = set(SAMPLE_KEYS) - {bad}
    put(quiet, good, batch(test))
    put(quiet, bad, b"nothing good")
    invocation = quiet.function.invoke(sample("s3-notification-two-objects", quiet))
    assert invocation.error_type == "NotCompressed"
    assert bad in str(invocation.error_message)
    assert good not in str(invocation.error_message)
    assert quiet.recently("Requests", "Sum", Test=test) == 1


def test_an_object_that_is_gone_is_named(quiet: Cloud) -> None:
    quiet.aws.client("s3").delete_object(Bucket=quiet.bucket, Key=SAMPLE_KEYS[0])
    invocation = quiet.function.invoke(sample("s3-notification", quiet))
    assert invocation.status == "failed"
    assert SAMPLE_KEYS[0] in str(invocation.error_message)


@pytest.mark.parametrize(
    "event",
    [{}, {"Records": []}, {"Records": [{"eventSource": "aws:dynamodb"}]}, {"hello": "world"}, "text", [1]],
    ids=json.dumps,
)
def test_an_event_that_is_not_understood_fails(quiet: Cloud, event: Any) -> None:
    invocation = quiet.function.invoke(event)
    assert [attempt.outcome for attempt in invocation.attempts] == ["error"]
    assert "expected" in str(invocation.error_message)
