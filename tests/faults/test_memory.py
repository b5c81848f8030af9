"""The smallest Lambda function, 128 MB, publishes a batch of a million requests."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_aws import Function, LocalAws, Stack
from local_aws.calls import Call
from tests.e2e import batches
from tests.e2e.batches import Batch
from tests.e2e.conftest import TEMPLATE
from tests.faults.strikes import TRACEABLE, caller

MEMORY_MB = 128
"""Lambda's smallest function, and the template's smallest MemorySize."""

LIMITED = ["/bin/sh", "-c", f'ulimit -d {MEMORY_MB * 1024} && exec "$0" "$@"']
"""Runs a command whose memory (all that is written to, so without the program itself) is limited."""

REQUESTS, ENDPOINTS, FAILURES_PERCENT = 1_000_000, 20, 1


@pytest.fixture(scope="module")
def stack(aws: LocalAws) -> Stack:
    return aws.deploy(TEMPLATE, {"MemorySize": MEMORY_MB}, name="small")


@pytest.fixture(scope="module")
def function(aws: LocalAws, stack: Stack, relay_binary: Path) -> Iterator[Function]:
    command = [*LIMITED, *TRACEABLE, str(relay_binary)]
    with aws.run_function(stack, "RelayFunction", command, retry_waits=(0, 0)) as function:
        yield function


@pytest.fixture
def peaks(aws: LocalAws) -> Iterator[dict[int, int]]:
    """The most memory that each process was seen to have, in KB, as it made its calls."""
    peaks: dict[int, int] = {}

    def look(call: Call) -> bool:
        if (process := caller(call)) is not None:
            status = Path(f"/proc/{process}/status").read_text()
            (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
            peaks[process] = int(peak)
        return False

    aws.faults.add(kind="throttle", times=None, match=look)
    yield peaks
    aws.faults.clear()


def put(aws: LocalAws, stack: Stack, function: Function, test: str, content: bytes) -> None:
    aws.client("s3").put_object(Bucket=stack.outputs["BucketName"], Key=f"batches/{test}", Body=content)
    function.wait_idle(timeout=240)


def test_a_million_requests_fit(
    aws: LocalAws, stack: Stack, function: Function, peaks: dict[int, int]
) -> None:
    numbers = random.Random(1)  # noqa: S311  # the same batch every time
    per_endpoint = REQUESTS // ENDPOINTS
    records = []
    for endpoint in range(ENDPOINTS):
        times = [int(numbers.lognormvariate(11, 0.8)) for _ in range(per_endpoint)]
        failed = per_endpoint * FAILURES_PERCENT // 100
        name = f"/api/v1/endpoint/{endpoint}"
        for part, status, error in (
            (times[failed:], 200, None),
            (times[:failed], 500, "HTTPError('500 Server Error: Internal Server Error for url: /api')"),
        ):
            gaps = [numbers.choice((0, 10_000 // len(part), 2 * 10_000 // len(part))) for _ in part]
            sizes = [numbers.randrange(200, 20_000) for _ in part]
            records.append(
                batches.requests("GET", name, part, at_ms=gaps, sizes=sizes, status=status, error=error)
            )
    content = Batch("million", records).content()
    put(aws, stack, function, "million", content)

    (invocation,) = function.invocations
    assert (invocation.status, invocation.error_message) == ("succeeded", None)
    every = [record["requests"] for record in records]
    found = aws.metrics.distribution("Locust", "ResponseTime", {"Test": "million"})
    assert found.sample_count == REQUESTS
    assert found.sum == pytest.approx(sum(sum(group["response_time_us"]) for group in every) / 1000)
    logged = aws.log_events(stack.outputs["LogGroupName"])
    assert sum(json.loads(event.message)["type"] == "request" for event in logged) == REQUESTS // 100
    (peak,) = peaks.values()
    print(f"{len(content) / 1e6:.1f} MB batch, {REQUESTS} requests: {peak / 1024:.0f} MB at most")
    assert peak < MEMORY_MB * 1024


HOSTILE = {
    "a bomb": batches.bomb(Batch("bomb"), megabytes=300),
    "a long line": Batch("line", [{"padding": "x" * (100 << 20)}]).content(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_batches_are_refused_within_the_memory(
    aws: LocalAws, stack: Stack, function: Function, peaks: dict[int, int], name: str
) -> None:
    put(aws, stack, function, name, HOSTILE[name])
    invocation = function.invocations[-1]
    assert invocation.error_type in ("BatchTooLarge", "LineTooLong")
    # The process lives on, and the calls of the later attempts show what the earlier ones needed.
    assert len(invocation.attempts) == 3
    assert len(peaks) == 1
    assert max(peaks.values()) < MEMORY_MB * 1024
