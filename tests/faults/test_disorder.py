"""S3 may tell of an object more than once and in any order: every batch is published once all the same."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from local_aws import LocalAws
from tests.e2e.batches import Batch, now_ms, requests
from tests.e2e.conftest import TEMPLATE
from tests.faults.delivery import Observer, repeated_calls
from tests.faults.strikes import case_name

SOURCES, BATCHES, RELAYS = 5, 10, 8
"""So many batches of each source; relays at once."""
TELLINGS = 3
TEST = case_name(9999)


def batch(source: int, seq: int) -> Batch:
    """A batch that differs from every other one."""
    number = source * BATCHES + seq
    times = [1000 * (number + 1)] * (number % 7 + 1)
    failing = requests("GET", "/failing", [number + 1], status=500, error=f"HTTPError('{number}')")
    records = [requests("GET", f"/endpoint/{seq}", times), failing]
    from_ms = now_ms() - 60_000
    return Batch(TEST, records, source=f"host-worker-{source}", seq=seq, from_ms=from_ms)


@pytest.mark.parametrize("seed", [1, 2])
def test_batches_told_of_three_times_in_any_order_are_published_once(
    aws: LocalAws, relay_binary: Path, seed: int
) -> None:
    made = [batch(source, seq) for source in range(SOURCES) for seq in range(BATCHES)]
    stack = aws.deploy(TEMPLATE, {}, name=f"disorder-{seed}")
    aws.metrics.clear()
    # An event that comes while another relay has the batch gives way, and is tried again after that.
    running = aws.run_function(
        stack, "RelayFunction", [relay_binary], concurrency=RELAYS, retry_waits=(2.0, 10.0)
    )
    with Observer(aws, [stack.outputs["LogGroupName"]]) as observer, running as function:
        aws.notifications.hold()
        aws.notifications.duplicates = TELLINGS - 1
        try:
            for one in made:
                aws.client("s3").put_object(
                    Bucket=stack.outputs["BucketName"], Key=one.key, Body=one.content()
                )
        finally:
            aws.notifications.duplicates = 0
            told = aws.notifications.release(random.Random(seed))  # noqa: S311  # an order, not a secret
        function.wait_idle(timeout=120)
        calls, published = observer.metric_calls(TEST), observer.everything()[TEST]
    assert told == len(made) * TELLINGS
    assert [i.error_message for i in function.invocations if i.status != "succeeded"] == []

    groups = [record["requests"] for one in made for record in one.records]
    times = [time for group in groups for time in group["response_time_us"]]
    assert published.metrics["ResponseTime", ()] == pytest.approx((len(times), sum(times) / 1000))
    assert published.metrics["Requests", ()][1] == len(times)
    assert published.metrics["Failures", ()][1] == len(made)
    for seq in range(BATCHES):
        endpoint = (("Method", "GET"), ("Name", f"/endpoint/{seq}"))
        times = [t for g in groups if g["name"] == f"/endpoint/{seq}" for t in g["response_time_us"]]
        assert published.metrics["ResponseTime", endpoint] == pytest.approx((len(times), sum(times) / 1000))
    failures = [json.loads(message) for message in published.events.elements()]
    errors = Counter(event["error"] for event in failures if event["type"] == "request")
    assert errors == {f"HTTPError('{number}')": 1 for number in range(len(made))}

    assert len(calls) == len(made)
    assert repeated_calls(calls) == []
    said = Counter(
        json.loads(line)["fields"]["message"].partition(":")[0]
        for invocation in function.invocations
        for line in invocation.log
        if "fields" in json.loads(line)
    )
    assert said["batch relayed"] == len(made)
    assert said["batch was relayed before"] == told - len(made)
