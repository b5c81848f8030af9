"""Every call of a delivery, struck by every fault: in the end CloudWatch holds the batch exactly.

A call is published twice only where nobody could know whether it was carried out, and then the relay says so.
All cases are delivered at the same time, each as a batch of its own; then each is looked at by itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from local_aws import Function, LocalAws, Stack
from local_aws.faults import Kind
from tests.faults.conftest import TABLE
from tests.faults.delivery import (
    ENDPOINTS,
    FAILURES,
    LOG_CALLS,
    METRIC_CALLS,
    Observer,
    Published,
    batch,
    repeated_calls,
)
from tests.faults.strikes import TRACEABLE, Delivery, Dispatcher, Strike, case_name

ROOT = Path(__file__).parents[2]


# The first test waits until all cases are delivered; on a busy machine the slow ones take their time.
pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Host:
    """A function of the real template, and what is done to it. Seconds."""

    timeout: float
    lease: int
    retry_wait: float
    relays: int


HOSTS = {
    # Outlives the SDKs' own time-outs: 15 s, for S3 30 s.
    "patient": Host(timeout=90, lease=45, retry_wait=1, relays=24),
    # As on AWS, what a dead relay had claimed is free again when Lambda retries.
    "mortal": Host(timeout=90, lease=10, retry_wait=11, relays=8),
    "hurried": Host(timeout=12, lease=10, retry_wait=11, relays=12),
}
LATE_MS = 14_000
"""Longer than a hurried function has."""
IDLE_SECONDS = 400


@dataclass(frozen=True)
class Fault:
    """A column of the matrix."""

    kind: Kind
    latency_ms: int = 0
    kill: bool = False
    forever: bool = False
    host: str = "patient"
    mended: bool = False
    """The relay gets over it by itself, in one attempt."""
    harmless: bool = False
    """The struck call was not carried out, whatever the relay knows of it: nothing is published twice."""


FAULTS = {
    "throttle": Fault("throttle", mended=True, harmless=True),
    "500": Fault("error500", mended=True, harmless=True),
    "time-out": Fault("timeout", mended=True, harmless=True),
    "late": Fault("latency_ms", latency_ms=33_000, mended=True),
    "cut before": Fault("cut_before", mended=True, harmless=True),
    "cut after": Fault("cut_after", mended=True),
    "kill before": Fault("cut_before", kill=True, host="mortal"),
    "kill after": Fault("cut_after", kill=True, host="mortal"),
    "out of time": Fault("latency_ms", latency_ms=LATE_MS, host="hurried"),
    "outage": Fault("error500", forever=True, host="hurried"),
    "kill always": Fault("cut_before", kill=True, forever=True, host="mortal"),
}

# Points that an undisturbed delivery of few calls does not come to: what brings it there.
BEFORE = {
    # A call that nobody answers: the doubt is recorded before it is repeated.
    "progress": [Strike("metrics", "cut_before")],
    # A second attempt, or one that fails.
    "read": [Strike("metrics", "cut_after", kill=True)],
    "take-over": [Strike("metrics", "cut_after", kill=True)],
    "release": [Strike("metrics", "latency_ms", latency_ms=LATE_MS)],
}
PUBLISHING = [f"metrics {number}" for number in range(1, METRIC_CALLS + 1)]
PUBLISHING += [f"logs {number}" for number in range(1, LOG_CALLS + 1)]
POINTS = ["claim", "get", *PUBLISHING, "stream", "complete", *BEFORE]
ONE_ATTEMPT = {*POINTS} - {"read", "take-over", "release"}


@dataclass(frozen=True)
class Case:
    """One field of the matrix."""

    point: str
    fault: str

    def __str__(self) -> str:
        return f"{self.point}, {self.fault}"

    @property
    def host(self) -> str:
        """The function that delivers it."""
        if self.point == "release":
            return "hurried"
        return (
            "mortal"
            if self.point not in ONE_ATTEMPT and FAULTS[self.fault].host == "patient"
            else FAULTS[self.fault].host
        )

    def strikes(self) -> list[Strike]:
        """What happens to the delivery."""
        fault = FAULTS[self.fault]
        point, _, nth = self.point.partition(" ")
        struck = Strike(point, fault.kind, int(nth or 1), fault.kill, fault.forever, fault.latency_ms)
        return [*(replace(before, forever=fault.forever) for before in BEFORE.get(point, [])), struck]


CASES = [Case(point, fault) for fault in FAULTS for point in POINTS]


@dataclass
class Result:
    """How a case ended."""

    published: Published
    metric_calls: Sequence[Published]
    log_calls: Sequence[Published]
    attempts: int
    reported: int
    """How many calls the relay said at last that it may have repeated."""
    unrecorded: int
    """Calls that the ledger did not know to be done when another attempt took over."""
    hits: list[int]
    """Of each strike."""
    errors: list[str]
    """How the attempts failed."""
    redriven: bool

    def repeated(self, whole: Published) -> list[Published]:
        """The calls that were published once more."""
        again = repeated_calls(self.metric_calls)
        for call in self.log_calls:
            (message, *_) = call.events
            again += [call] * (self.published.events[message] - whole.events[message])
        return again


@dataclass
class Matrix:
    """What came of all cases, and of a batch that nothing happened to."""

    undisturbed: Result
    results: dict[Case, Result]

    def table(self) -> str:
        """The cases with their numbers."""
        lines = [
            f"{'case':<24}{'attempts':>10}{'redriven':>10}{'lost':>6}{'repeated':>10}{'reported':>10}  errors"
        ]
        for case, found in self.results.items():
            lost = len(found.published.missing(self.undisturbed.published))
            repeated = len(found.repeated(self.undisturbed.published))
            redriven = "yes" if found.redriven else ""
            errors = ", ".join(error.partition(":")[0] for error in found.errors)
            numbers = f"{found.attempts:>10}{redriven:>10}{lost:>6}{repeated:>10}{found.reported:>10}"
            lines.append(f"{case!s:<24}{numbers}  {errors}")
        return "\n".join(lines)


@pytest.fixture(scope="module")
def matrix(request: pytest.FixtureRequest, aws: LocalAws, relay_binary: Path) -> Matrix:
    """Delivers the cases that were chosen; the table stands at the end of the tests' output."""
    chosen = {
        item.callspec.params.get("case")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    }
    matrix = deliver_all(aws, relay_binary, [case for case in CASES if case in chosen])
    request.config.stash[TABLE] = matrix.table()
    return matrix


def deliver_all(aws: LocalAws, relay_binary: Path, cases: Sequence[Case]) -> Matrix:
    """Delivers an undisturbed batch, and then all cases at once."""
    dispatcher = Dispatcher()
    for kind, latency_ms in {(fault.kind, fault.latency_ms) for fault in FAULTS.values()}:
        match = dispatcher.matcher(kind, latency_ms)
        aws.faults.add(kind=kind, times=None, match=match, latency_ms=latency_ms)
    names = {case: case_name(number) for number, case in enumerate(cases, start=1)}
    with ExitStack() as stack:
        stacks = {name: deploy(aws, name) for name in HOSTS}
        functions = {
            name: stack.enter_context(run(aws, stacks[name], HOSTS[name], relay_binary)) for name in HOSTS
        }
        groups = [deployed.outputs["LogGroupName"] for deployed in stacks.values()]
        observer = stack.enter_context(Observer(aws, groups))

        undisturbed = case_name(0)
        dispatcher.expect(undisturbed, [])
        put(aws, stacks["patient"], undisturbed)
        functions["patient"].wait_idle()

        # The slow ones first, so that they do not come at the end alone.
        for case in sorted(cases, key=lambda case: FAULTS[case.fault].kind not in ("timeout", "latency_ms")):
            dispatcher.expect(names[case], case.strikes())
            if case.point != "stream":
                create_stream(aws, stacks[case.host], names[case])
            put(aws, stacks[case.host], names[case])
        for function in functions.values():
            function.wait_idle(timeout=IDLE_SECONDS)
        for delivery in dispatcher.deliveries.values():
            for strike in delivery.strikes:
                strike.lifted = True
        redrive(aws, stacks.values())
        aws.faults.clear()

        everything = observer.everything()
        entries = {test: entry for deployed in stacks.values() for test, entry in ledger(aws, deployed)}
        results = {
            test: result(
                test, delivery, functions.values(), observer, everything.get(test, Published()), entries
            )
            for test, delivery in dispatcher.deliveries.items()
        }
    return Matrix(results[undisturbed], {case: results[name] for case, name in names.items()})


def deploy(aws: LocalAws, name: str) -> Stack:
    """The real template; the relay in it has much time or little."""
    stack = aws.deploy(ROOT / "template.yaml", name=name)
    settings = replace(stack.functions["RelayFunction"], timeout=HOSTS[name].timeout)
    return replace(stack, functions={"RelayFunction": settings})


def run(aws: LocalAws, stack: Stack, host: Host, relay_binary: Path) -> AbstractContextManager[Function]:
    """Many relays, each of which tells its process id."""
    return aws.run_function(
        stack,
        "RelayFunction",
        [*TRACEABLE, relay_binary],
        concurrency=host.relays,
        retry_waits=(host.retry_wait, host.retry_wait),
        variables={"RELAY_LEASE_SECONDS": str(host.lease)},
    )


def put(aws: LocalAws, stack: Stack, test: str) -> None:
    """Hands a batch in."""
    made = batch(test)
    aws.client("s3").put_object(Bucket=stack.outputs["BucketName"], Key=made.key, Body=made.content())


def create_stream(aws: LocalAws, stack: Stack, test: str) -> None:
    """As an earlier batch of the source would have: all calls of PutLogEvents then find it."""
    made = batch(test)
    aws.client("logs").create_log_stream(
        logGroupName=stack.outputs["LogGroupName"], logStreamName=f"{test}/{made.run}/{made.source}"
    )


def redrive(aws: LocalAws, stacks: Iterable[Stack]) -> None:
    """Has everything in the on-failure queues delivered again, as an operator does it."""
    for stack in stacks:
        command = [sys.executable, "-m", "locust_hook", "redrive"]
        command += ["--queue", stack.outputs["OnFailureQueueUrl"]]
        done = subprocess.run(
            command, env={**os.environ, **aws.environment()}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def ledger(aws: LocalAws, stack: Stack) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tests' names, and the ledger's entries."""
    s3, bucket = aws.client("s3"), stack.outputs["BucketName"]
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="ledger/live/"):
        for item in page.get("Contents", []):
            yield item["Key"].split("/")[2], json.load(s3.get_object(Bucket=bucket, Key=item["Key"])["Body"])


def result(test: str, delivery: Delivery, functions: Iterable[Function], observer: Observer,
           published: Published, entries: Mapping[str, dict[str, Any]]) -> Result:  # fmt: skip
    """What is known of one case."""
    invocations = [
        invocation for function in functions for invocation in function.invocations
        if f"/{test}/" in invocation.event["Records"][0]["s3"]["object"]["key"]
    ]  # fmt: skip
    lines = [json.loads(line) for invocation in invocations for line in invocation.log if line[:1] == "{"]
    said = [line["fields"]["maybe_repeated"] for line in lines if "maybe_repeated" in line.get("fields", ())]
    return Result(
        published=published,
        metric_calls=observer.metric_calls(test),
        log_calls=[
            Published(events=Counter(message.replace(test, "<test>") for message in call))
            for call in delivery.log_calls
        ],
        attempts=sum(len(invocation.attempts) for invocation in invocations),
        reported=max([*said[-1:], entries[test].get("repeated", 0)]),
        unrecorded=sum(delivery.unrecorded),
        errors=[
            f"{attempt.error_type}: {attempt.error_message}"
            for invocation in invocations
            for attempt in invocation.attempts
            if attempt.outcome != "success"
        ],
        hits=[strike.hits for strike in delivery.strikes],
        redriven=len(invocations) > 1,
    )


def test_the_undisturbed_batch_is_published_whole_by_the_calls_that_are_struck(matrix: Matrix) -> None:
    found, made = matrix.undisturbed, batch("any")
    assert (len(found.metric_calls), len(found.log_calls)) == (METRIC_CALLS, LOG_CALLS)
    assert (found.attempts, found.reported, found.redriven) == (1, 0, False)
    records = [record["requests"] for record in made.records if "requests" in record]
    metrics = found.published.metrics
    for record in records:
        endpoint = (("Method", record["method"]), ("Name", record["name"]))
        times = record["response_time_us"]
        assert metrics["ResponseTime", endpoint] == pytest.approx((len(times), sum(times) / 1000))
        assert metrics["Requests", endpoint][1] == len(times)
    everything = [time for record in records for time in record["response_time_us"]]
    for dimensions in ((), (("Run", made.run),)):
        assert metrics["ResponseTime", dimensions] == pytest.approx((len(everything), sum(everything) / 1000))
        assert metrics["Requests", dimensions][1] == len(everything)
        assert metrics["Failures", dimensions][1] == FAILURES
    logged = Counter(json.loads(message)["type"] for message in found.published.events.elements())
    assert logged == {"request": FAILURES, "summary": ENDPOINTS + 1}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_is_lost_and_nothing_published_twice_without_need(matrix: Matrix, case: Case) -> None:
    whole, found = matrix.undisturbed.published, matrix.results[case]
    fault, repeated = FAULTS[case.fault], found.repeated(whole)
    assert all(found.hits), "the delivery came to the struck call"
    assert found.published.missing(whole) == []
    assert found.published.without(repeated).is_exactly(whole), (
        "all that is too much are whole calls, repeated"
    )
    assert len(repeated) <= found.reported, "the relay says what it may have published twice"
    if fault.harmless and case.point in ONE_ATTEMPT:
        assert repeated == []
    struck = sum(found.hits) if case.point in (*PUBLISHING, *BEFORE) else 0
    assert len(repeated) <= struck + found.unrecorded, "what the ledger knows to be done is not done again"
    if fault.mended and case.point in ONE_ATTEMPT:
        assert found.errors == []
    assert found.redriven == fault.forever
