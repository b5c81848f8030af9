"""Counts times prices: what a load costs, and what is paid each month for its data and for the stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from . import prices
from .counts import Counts
from .prices import HOURS_PER_MONTH, Price
from .stack import ENDPOINT_METRICS, Stack

CALL_MS: Final = 30.0
"""How long one call of S3 or CloudWatch is taken to last, from within its region: an assumption."""

CALLS_IN_TURN: Final = 4
"""The relay's calls that wait for one another: read the batch, claim it, publish (all at once), complete."""

PLAN_US_PER_REQUEST: Final = 0.075
SEND_NS_PER_BYTE: Final = 7.25
"""Processor time to read and plan a request, and to encode and send a byte of PutMetricData: of the 9.7 ms
that `make bench` measured for 40,000 requests, which become 0.9 MB of metrics, 3.0 and 6.7."""

MB_PER_PROCESSOR: Final = 1_769
"""Memory at which Lambda gives a function one whole processor.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""


@dataclass(frozen=True)
class Item:
    """A line of the bill."""

    name: str
    number: float
    """What is counted, in the unit of the price."""
    price: Price
    dollars: float
    hours: float
    """In which that came together."""

    @property
    def per_hour(self) -> float:
        """Dollars."""
        return self.dollars / self.hours


@dataclass(frozen=True)
class Look:
    """What it costs to look at the dashboard once, with a time that holds the whole test."""

    queries: Item
    metrics: Item

    @property
    def dollars(self) -> float:
        """For one refresh, at the test's end."""
        return self.queries.dollars + self.metrics.dollars

    def during_test(self, refreshes: float) -> float:
        """Dollars for so many, spread over the test: its logs grow, so that a query reads half of them."""
        return refreshes * (self.queries.dollars / 2 + self.metrics.dollars)


@dataclass(frozen=True)
class Bill:
    """Dollars of a load test."""

    items: Sequence[Item]
    """Paid once, for the whole test."""
    monthly: Sequence[Item]
    """Paid each month: what the test's data cost as long as they are kept, and what was deployed."""
    look: Look
    """Paid each time that the dashboard is looked at; in none of the sums."""

    @property
    def dollars(self) -> float:
        """For the whole test."""
        return sum(item.dollars for item in self.items)

    @property
    def per_hour(self) -> float:
        """Dollars for an hour of it."""
        return sum(item.per_hour for item in self.items)


def lambda_ms(counts: Counts, memory_mb: int) -> float:
    """How long the relay is taken to work on a batch, on average, in milliseconds."""
    work_ms = counts.requests * PLAN_US_PER_REQUEST / 1e3 + counts.metric_bytes * SEND_NS_PER_BYTE / 1e6
    processor = min(1.0, memory_mb / MB_PER_PROCESSOR)
    return CALLS_IN_TURN * CALL_MS + work_ms / max(counts.batches, 1.0) / processor


def bill(counts: Counts, stack: Stack, invocation_ms: float | None = None) -> Bill:
    """What a load costs; `invocation_ms` is how long one invocation takes, if not `lambda_ms`."""
    hours = counts.seconds / 3600
    milliseconds = lambda_ms(counts, stack.memory_mb) if invocation_ms is None else invocation_ms
    gb_seconds = counts.batches * milliseconds / 1000 * stack.memory_mb / 1024

    def item(name: str, number: float, price: Price) -> Item:
        return Item(name, number, price, price.of(number), hours)

    metric_dollars = prices.metrics(counts.metric_hours)
    metrics = counts.metric_hours / counts.hours
    rate = metric_dollars / counts.metric_hours * HOURS_PER_MONTH
    return Bill(
        items=[
            item("S3 PUT: batches", counts.batches, prices.S3_PUT),
            item("S3 PUT: ledger", counts.ledger_writes, prices.S3_PUT),
            item("S3 GET: batches", counts.batches, prices.S3_GET),
            item("Lambda: requests", counts.batches, prices.LAMBDA_REQUEST),
            item("Lambda: GB-seconds", gb_seconds, prices.LAMBDA_GB_SECOND[stack.architecture]),
            item("CloudWatch: PutMetricData", counts.metric_calls, prices.PUT_METRIC_DATA),
            # Metered by the hour: a test of a minute pays an hour of them.
            Item(
                "CloudWatch: custom metrics",
                metrics,
                Price(rate, 1, "metric and month"),
                metric_dollars,
                counts.hours,
            ),
            item("Logs: of the test", counts.log_bytes, prices.LOGS_INGESTED),
            item("Logs: of the function", counts.relay_log_bytes, prices.LOGS_INGESTED),
        ],
        monthly=[
            item("archive in S3", counts.uploaded_bytes, prices.S3_STORAGE),
            item(
                "logs, compressed",
                (counts.log_bytes + counts.relay_log_bytes) * prices.LOGS_COMPRESSED,
                prices.LOGS_STORED,
            ),
            item("dashboards", stack.dashboards, prices.DASHBOARD),
            item("alarms", stack.alarms, prices.ALARM),
            item("alarms below a minute", stack.alarms_high_resolution, prices.ALARM_HIGH_RESOLUTION),
        ],
        look=Look(
            item("Logs Insights: read", stack.queries * counts.log_bytes, prices.INSIGHTS_SCANNED),
            item(
                "CloudWatch: GetMetricData, about",
                # Nearly all metrics are those of endpoints.
                stack.shown_metrics + stack.endpoint_searches * counts.metrics / len(ENDPOINT_METRICS),
                prices.GET_METRIC_DATA,
            ),
        ),
    )
