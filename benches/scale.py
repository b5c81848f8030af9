"""What 10 to 5,000 workers ask of AWS, by flush interval and by batches of an invocation.

`python -m benches.scale`.

The relay itself says what an invocation takes: its own preview, and what it does when it relays the batch.
How the invocations meet the account's quotas is simulated (`benches.simulation`); counts times prices are
dollars.
The numbers go to `target/bench/summary.json` under `scale`, a table to the terminal.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from benches import programs, relay_process
from benches.batches import Batch
from benches.quotas import (
    CREATE_LOG_STREAM_PER_SECOND,
    LAMBDA_CONCURRENCY,
    PUT_LOG_EVENTS_PER_SECOND,
    PUT_METRIC_DATA_PER_SECOND,
    S3_WRITES_PER_SECOND,
)
from benches.simulation import Account, Invocation, Outcome, simulate
from benches.summary import number, save, say, table
from benches.workload import RATE
from cost import prices
from cost.bill import CALL_MS, MB_PER_PROCESSOR
from cost.counts import LAMBDA_LOG_BYTES, RELAY_LOG_BYTES, RELAY_METRICS
from cost.preview import Preview
from cost.prices import Price
from locust_hook.recording.columns import ROW_BYTES
from locust_hook.recording.recorder import FLUSH_BYTES

WORKERS = (10, 100, 1_000, 5_000)
FLUSH_SECONDS = (10, 20, 30, 60)
MERGED = (1, 10, 100)
"""Batches of one invocation: S3 invokes the function for each; a queue between them can gather several."""
PARALLEL = 8
"""Calls that the relay makes at the same time (`MAX_PARALLEL` in src/deliver)."""
SQS_REQUEST = Price(0.40, 1_000_000, "1,000,000")
"""https://aws.amazon.com/sqs/pricing/, standard queues."""
SQS_MESSAGES_PER_REQUEST = 10
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html"""
DELAY_SECONDS = 1.0
"""From the end of an interval until the function is invoked: S3's events usually come within seconds."""
WINDOW_SECONDS = 5.0
"""How long a queue gathers."""
CPU_ROUNDS = 3
MAX_REQUESTS = 15_000_000
"""In an invocation: more make more different values than the relay takes."""


@dataclass(frozen=True)
class Work:
    """What one invocation takes: `merged` batches, each of `seconds` of one worker."""

    seconds: int
    """The flush interval."""
    merged: int
    plan: Preview
    """Of what all of these workers saw, as one batch."""
    single: Preview
    """Of one of them."""
    relayed: relay_process.Invocation
    """What the relay did with that batch."""

    @property
    def requests(self) -> int:
        """In the invocation."""
        return self.plan.requests

    @property
    def ledger_writes(self) -> int:
        """Each batch is claimed and completed; progress is that of the calls of all, as counted."""
        return self.relayed.calls["s3 PutObject"] + 2 * (self.merged - 1)

    @property
    def log_calls(self) -> int:
        """Each worker has a log stream, and with it calls, of its own."""
        return self.merged * self.single.log_calls

    @property
    def queue_requests(self) -> float:
        """Of SQS: sending, receiving, deleting."""
        received = ceil(self.merged / SQS_MESSAGES_PER_REQUEST)
        return self.merged + 2 * received if self.merged > 1 else 0

    @property
    def calls(self) -> int:
        """All calls of AWS, from the hook's upload to the completion; without the queue's."""
        return 2 * self.merged + self.ledger_writes + self.plan.metric_calls + self.log_calls

    def invocation(self) -> Invocation:
        """For the simulation: a function of 512 MB has 0.29 processors, and a call takes 30 ms."""

        def in_turn(calls: int) -> float:
            return ceil(calls / PARALLEL) * CALL_MS / 1000

        cpu = self.relayed.cpu_ms / 1000 * MB_PER_PROCESSOR / relay_process.MEMORY_MB
        fetched = in_turn(self.merged) * 2  # the batches, and their claims
        published = in_turn(self.plan.metric_calls + self.log_calls)
        return Invocation(
            self.merged, fetched + cpu, self.plan.metric_calls, published + in_turn(self.merged)
        )


@dataclass(frozen=True)
class Scenario:
    """So many workers, all at `Work.requests` per interval."""

    workers: int
    work: Work
    outcome: Outcome

    def per_second(self, each: float) -> float:
        """Of something that each invocation has so often."""
        return each * self.workers / self.work.seconds / self.work.merged

    @property
    def within_quotas(self) -> bool:
        """Whether all of it passes for as long as the test takes."""
        work = self.work
        return (
            self.outcome.keeps_up
            and self.per_second(work.plan.metric_calls) < PUT_METRIC_DATA_PER_SECOND
            and self.per_second(work.log_calls) < PUT_LOG_EVENTS_PER_SECOND
            and self.per_second(work.merged) < S3_WRITES_PER_SECOND
            and self.per_second(work.ledger_writes) < S3_WRITES_PER_SECOND
            and self.per_second(self.outcome.mean_seconds) < LAMBDA_CONCURRENCY
        )

    @property
    def calls_per_million(self) -> float:
        """Calls of AWS per million requests."""
        return self.work.calls / self.work.requests * 1e6

    @property
    def dollars_per_hour(self) -> float:
        """All of it, the log events of failures too, and the function's own log."""
        work = self.work
        gb_seconds = self.outcome.mean_seconds * relay_process.MEMORY_MB / 1024
        own_log = LAMBDA_LOG_BYTES + RELAY_LOG_BYTES * work.merged
        each = (
            prices.S3_PUT.of(work.merged + work.ledger_writes)
            + prices.S3_GET.of(work.merged)
            + prices.PUT_METRIC_DATA.of(work.plan.metric_calls)
            + prices.LOGS_INGESTED.of(work.merged * work.single.log_bytes + own_log)
            + prices.LAMBDA_REQUEST.of(1)
            + prices.LAMBDA_GB_SECOND["x86_64"].of(gb_seconds)
            + SQS_REQUEST.of(work.queue_requests)
        )
        return self.per_second(each) * 3600 + prices.metrics(work.plan.metrics + RELAY_METRICS)

    @property
    def log_dollars_per_hour(self) -> float:
        """Of that, the log events of the test."""
        return self.per_second(prices.LOGS_INGESTED.of(self.work.merged * self.work.single.log_bytes)) * 3600


def works(rate: float, flushes: Sequence[int], merged: Sequence[int]) -> Iterator[Work]:
    """What an invocation takes, for each flush interval and number of batches."""

    def work(seconds: int, batches: int) -> Work:
        say(f"planning {batches} batches of {seconds} s at {rate:,g} requests/s …")
        batch = Batch(round(rate * seconds * batches), seconds)
        single = programs.preview(Batch(round(rate * seconds), seconds).file)
        relayed = relay_process.invocation(batch, CPU_ROUNDS)
        return Work(seconds, batches, programs.preview(batch.file), single, relayed)

    full = ceil(FLUSH_BYTES / ROW_BYTES / rate)  # the hook looks at the size of its columns once a second
    for seconds in sorted({min(flush, full) for flush in flushes}):
        for batches in merged:
            if rate * seconds * batches <= MAX_REQUESTS:
                yield work(seconds, batches)


def scenarios(rate: float, quick: bool) -> list[Scenario]:
    """All combinations; several batches an invocation only where there are so many workers."""
    account = Account(PUT_METRIC_DATA_PER_SECOND, LAMBDA_CONCURRENCY)
    found = []
    flushes, merged = (FLUSH_SECONDS[::2], MERGED[:2]) if quick else (FLUSH_SECONDS, MERGED)
    for work in works(rate, flushes, merged):
        for workers in WORKERS:
            if work.merged <= workers:
                outcome = simulate(
                    workers,
                    work.seconds,
                    work.invocation(),
                    account,
                    spread=work.seconds,
                    delay=DELAY_SECONDS,
                    window=WINDOW_SECONDS,
                )
                found.append(Scenario(workers, work, outcome))
    return sorted(found, key=lambda one: (one.workers, one.work.seconds, one.work.merged))


def report(found: Sequence[Scenario], rate: float) -> str:
    """All of it, for people."""
    columns = (
        "workers", "flush s", "batches", "objects/s", "PutMetricData/s", "S3 writes/s", "PutLogEvents/s",
        "Lambdas", "peak", "lag p50 s", "p99 s", "calls/million", "$/hour", "of that logs", "within quotas",
    )  # fmt: skip
    rows = [
        (
            f"{one.workers:,}",
            one.work.seconds,
            one.work.merged,
            number(one.per_second(one.work.merged)),
            number(one.per_second(one.work.plan.metric_calls)),
            number(one.per_second(one.work.merged + one.work.ledger_writes)),
            number(one.per_second(one.work.log_calls)),
            number(one.per_second(one.outcome.mean_seconds)),
            f"{one.outcome.peak_concurrency:,}",
            number(one.outcome.lag_p50),
            number(one.outcome.lag_p99),
            number(one.calls_per_million),
            number(one.dollars_per_hour),
            number(one.log_dollars_per_hour),
            "yes" if one.within_quotas else "no",
        )
        for one in found
    ]
    longest = max(one.work.seconds for one in found)
    notes = [
        f"Each worker {rate:,g} requests/s; they flush at different seconds. "
        f"Prices: {prices.REGION}, {prices.AS_OF}.",
        f"Quotas: {PUT_METRIC_DATA_PER_SECOND} PutMetricData/s, {LAMBDA_CONCURRENCY:,} Lambdas, "
        f"{PUT_LOG_EVENTS_PER_SECOND:,} PutLogEvents/s, {S3_WRITES_PER_SECOND:,} S3 writes/s of a prefix.",
        f"At this rate, the hook's columns are full after {ceil(FLUSH_BYTES / ROW_BYTES / rate)} s: then it "
        f"flushes in any case. The longest interval here is {longest} s.",
        f"Log streams are made once by each worker, {CREATE_LOG_STREAM_PER_SECOND} a second: "
        f"{max(WORKERS) / CREATE_LOG_STREAM_PER_SECOND:.0f} s for {max(WORKERS):,}.",
    ]
    return "\n".join([table(columns, rows), "", *notes, *fan_in(found)])


def fan_in(found: Sequence[Scenario]) -> Iterator[str]:
    """Where the quota ends without fan-in, and the best settings within the quotas."""
    for one in found:
        if one.workers == max(WORKERS) and one.work.merged == 1:
            most = PUT_METRIC_DATA_PER_SECOND * one.work.seconds / one.work.plan.metric_calls
            yield f"With {_setting(one)}, {most:,.0f} workers use up the quota of PutMetricData."
    for workers in WORKERS:
        those = [one for one in found if one.workers == workers]
        possible = [one for one in those if one.within_quotas]
        if not possible:
            yield f"{workers:,} workers: none of these settings is within the quotas."
            continue
        soonest = min(possible, key=lambda one: (one.work.seconds + one.outcome.lag_p99, one.work.merged))
        cheapest = min(possible, key=lambda one: one.dollars_per_hour)
        yield (
            f"{workers:,} workers: soonest with {_setting(soonest)}; cheapest with {_setting(cheapest)}, "
            f"{number(soonest.dollars_per_hour)} and {number(cheapest.dollars_per_hour)} dollars an hour."
        )


def _setting(one: Scenario) -> str:
    return f"a flush every {one.work.seconds} s and {one.work.merged} in an invocation"


def summary(found: Sequence[Scenario]) -> dict[str, float]:
    """The numbers for the summary: of 1,000 workers by default, and with the most fan-in that there is.

    The relay does not merge batches: fan-in is a longer flush interval.
    """
    thousand = [one for one in found if one.workers == 1_000 and one.work.merged == 1]
    default = thousand[0]
    most = min(thousand, key=lambda one: one.calls_per_million)
    return {
        "calls_per_million": default.calls_per_million,
        "calls_per_million_fan_in": most.calls_per_million,
        "put_metric_data_share_1000": default.per_second(default.work.plan.metric_calls)
        / PUT_METRIC_DATA_PER_SECOND,
        "put_metric_data_share_1000_fan_in": most.per_second(most.work.plan.metric_calls)
        / PUT_METRIC_DATA_PER_SECOND,
        "lambda_share_1000": default.per_second(default.outcome.mean_seconds) / LAMBDA_CONCURRENCY,
        "lag_p99_s_1000": default.outcome.lag_p99,
        "dollars_per_hour_1000": default.dollars_per_hour,
        "dollars_per_hour_1000_fan_in": most.dollars_per_hour,
        "outside_quotas": sum(not one.within_quotas for one in found) / len(found),
    }


def main() -> None:
    """Plans, simulates, prints and saves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rate", type=float, default=RATE, help="requests per second of each worker (default: %(default)s)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer intervals, and at most ten batches an invocation"
    )
    options = parser.parse_args()
    if not 1 <= options.rate <= 20_000:
        parser.error(f"--rate: expected 1 to 20,000 requests per second, found {options.rate:g}")
    found = scenarios(options.rate, options.quick)
    save("scale", {name: round(value, 4) for name, value in summary(found).items()})
    print(report(found, options.rate))  # noqa: T201


if __name__ == "__main__":
    main()
