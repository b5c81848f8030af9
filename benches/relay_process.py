"""The relay's own process: its start beside an empty function's, and what a batch takes beside its calls."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benches import programs
from benches.batches import Batch
from benches.instant_aws import AnsweredCall, InstantAws
from benches.runtime_api import FunctionProcess
from benches.summary import ROOT, number, table
from benches.workload import FLUSH_SECONDS, RATE
from cost import prices
from cost.bill import MB_PER_PROCESSOR

BUCKET = "bench-load-tests"
LARGE = "batches/bench/run/worker/999999.ndjson.gz"
STARTS = 20
INVOCATIONS = 20
LATENCY_MS = 10
"""Added to each call, about what the services take within a region."""
MEMORY_MB = 512
"""The template's MemorySize."""


@dataclass(frozen=True)
class Start:
    """Milliseconds from the start of a process, the least of all starts."""

    ready_ms: float
    """Until it asks for its first event."""
    answered_ms: float
    """Until its first event, which needs no call, is answered."""
    binary_mb: float
    zip_mb: float


def starts(binaries: dict[str, Path], count: int) -> dict[str, Start]:
    """Starts each program so often, in turns; the first time, which fills the page cache, does not count."""
    event = json.loads((ROOT / "events" / "s3-test-event.json").read_text())
    environment = {
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_EC2_METADATA_DISABLED": "true",
        "RELAY_LOG_GROUP": programs.LOG_GROUP,
    }
    ready: dict[str, list[float]] = {name: [] for name in binaries}
    answered: dict[str, list[float]] = {name: [] for name in binaries}
    for turn in range(count + 1):
        for name, binary in binaries.items():
            with FunctionProcess(binary, environment) as process:
                first = process.wait_ready()
                process.invoke(event)
                if turn:
                    ready[name].append(first)
                    answered[name].append(process.last_answer)
    return {
        name: Start(
            min(ready[name]) * 1000,
            min(answered[name]) * 1000,
            binary.stat().st_size / 1e6,
            programs.zip_bytes(binary) / 1e6,
        )
        for name, binary in binaries.items()
    }


@dataclass(frozen=True)
class Invocation:
    """One batch relayed. Times in milliseconds."""

    wall_ms: float
    cpu_ms: float
    in_calls_ms: float
    """The time in which at least one call was being answered."""
    steps: int
    """Calls that had to wait for one another: the batch, its claim, publishing, its completion."""
    calls: Counter[str]
    sent_bytes: int

    @property
    def own_ms(self) -> float:
        """What the relay needed beyond the time in calls."""
        return self.wall_ms - self.in_calls_ms


@dataclass(frozen=True)
class Warm:
    """Invocations of one process, one after the other, each with a batch of `requests`."""

    requests: int
    batch_bytes: int
    log_bytes: int
    first: Invocation
    typical: Invocation
    """That with the least time beyond the calls'."""
    median_own_ms: float
    peak_mb: float
    peak_mb_1m: float
    """After a batch of a million requests."""


def invocations(count: int) -> Warm:
    """Relays so many batches of one flush interval, and then one of a million requests."""
    size = RATE * FLUSH_SECONDS
    batches = [Batch(size, FLUSH_SECONDS, seq) for seq in range(count)]
    objects = {
        f"batches/bench/run/worker/{batch.seq:06}.ndjson.gz": batch.file.read_bytes() for batch in batches
    }
    keys = list(objects)
    objects[LARGE] = Batch(1_000_000, FLUSH_SECONDS).file.read_bytes()
    with InstantAws(LATENCY_MS, objects) as aws:
        environment = {**aws.environment, "RELAY_LOG_GROUP": programs.LOG_GROUP}
        with FunctionProcess(programs.relay(), environment) as process:
            found = [_invoke(aws, process, key) for key in keys]
            peak = process.peak_mb
            _invoke(aws, process, LARGE)
            peak_1m = process.peak_mb
    plan = programs.preview(Batch(size, FLUSH_SECONDS).file)
    return Warm(
        size,
        len(objects[keys[0]]),
        plan.log_bytes,
        found[0],
        min(found[1:], key=lambda invocation: invocation.own_ms),
        median(invocation.own_ms for invocation in found[1:]),
        peak,
        peak_1m,
    )


def invocation(batch: Batch, rounds: int) -> Invocation:
    """Relays a batch so often, after a first time, in one process: that with the least processor time."""
    with InstantAws(LATENCY_MS, {LARGE: batch.file.read_bytes()}) as aws:
        environment = {**aws.environment, "RELAY_LOG_GROUP": programs.LOG_GROUP}
        with FunctionProcess(programs.relay(), environment) as process:
            found = [_invoke(aws, process, LARGE) for _ in range(rounds + 1)]
    return min(found[1:], key=lambda one: one.cpu_ms)


def _invoke(aws: InstantAws, process: FunctionProcess, key: str) -> Invocation:
    aws.take()
    cpu = process.cpu_seconds
    seconds = process.invoke(_notification(key))
    cpu = process.cpu_seconds - cpu
    calls = aws.take()
    in_calls, steps = _covered(calls)
    return Invocation(
        seconds * 1000,
        cpu * 1000,
        in_calls * 1000,
        steps,
        Counter(call.name for call in calls),
        sum(call.bytes for call in calls),
    )


def _notification(key: str) -> Any:
    event = json.loads((ROOT / "events" / "s3-notification.json").read_text())
    (record,) = event["Records"]
    record["s3"]["bucket"]["name"] = BUCKET
    record["s3"]["object"]["key"] = key
    return event


def _covered(calls: Sequence[AnsweredCall]) -> tuple[float, int]:
    """Seconds in which a call was being answered, and how many separate stretches they make."""
    seconds, steps, end = 0.0, 0, 0.0
    for call in sorted(calls, key=lambda call: call.start):
        steps += call.start >= end
        seconds += max(0.0, call.end - max(call.start, end))
        end = max(end, call.end)
    return seconds, steps


def calls_per_batch(warm: Warm) -> int:
    """All calls that a batch takes, from the hook's upload to the ledger's completion."""
    return 1 + warm.typical.calls.total()


def dollars_per_batch(warm: Warm) -> float:
    """Without the metrics themselves, which are metered by the hour, and without the function's own log."""
    calls = warm.typical.calls
    milliseconds = warm.typical.in_calls_ms + warm.typical.cpu_ms * MB_PER_PROCESSOR / MEMORY_MB
    return (
        prices.S3_PUT.of(1 + calls["s3 PutObject"])
        + prices.S3_GET.of(calls["s3 GetObject"])
        + prices.PUT_METRIC_DATA.of(calls["cloudwatch PutMetricData"])
        + prices.LOGS_INGESTED.of(warm.log_bytes)
        + prices.LAMBDA_REQUEST.of(1)
        + prices.LAMBDA_GB_SECOND["x86_64"].of(milliseconds / 1000 * MEMORY_MB / 1024)
    )


def summary(found: dict[str, Start], warm: Warm) -> dict[str, Any]:
    """The numbers for the summary."""
    relay, empty = found["relay"], found["empty function"]
    per_million = 1e6 / warm.requests
    typical = warm.typical
    return {
        "cold_start_ratio": relay.ready_ms / empty.ready_ms,
        "cold_start_ms": relay.ready_ms,
        "first_answer_ratio": relay.answered_ms / empty.answered_ms,
        "binary_mb": relay.binary_mb,
        "zip_mb": relay.zip_mb,
        "warm_ratio_to_calls": typical.wall_ms / typical.in_calls_ms,
        "warm_own_ms": typical.own_ms,
        "warm_cpu_ms": typical.cpu_ms,
        "function_peak_mb_40k": warm.peak_mb,
        "function_peak_mb_1m": warm.peak_mb_1m,
        "aws_calls_per_million": calls_per_batch(warm) * per_million,
        "aws_bytes_per_million": (warm.batch_bytes + typical.sent_bytes) * per_million,
        "dollars_per_million": dollars_per_batch(warm) * per_million,
    }


def report(found: dict[str, Start], warm: Warm) -> str:
    """All of it, for people."""
    start = table(
        ("cold start", "first `next` ms", "first answer ms", "binary MB", "zip MB"),
        [
            (name, *map(number, (start.ready_ms, start.answered_ms, start.binary_mb, start.zip_mb)))
            for name, start in found.items()
        ],
    )
    shown = {"first batch of a process": warm.first, "a further one": warm.typical}
    rows = [
        (
            name,
            *map(number, (one.wall_ms, one.in_calls_ms, one.own_ms, one.cpu_ms, one.steps * LATENCY_MS)),
            one.calls.total(),
        )
        for name, one in shown.items()
    ]
    columns = (
        f"{warm.requests:,} requests, {LATENCY_MS} ms a call",
        "wall ms",
        "in calls ms",
        "beyond ms",
        "CPU ms",
        "latency ms",
        "calls",
    )
    calls = ", ".join(f"{count} {name}" for name, count in sorted(warm.typical.calls.items()))
    return f"{start}\n\n{table(columns, rows)}\n\nA batch: {calls}, and the hook's upload."
