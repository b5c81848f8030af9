"""List prices in US dollars, without free tier, discounts and taxes. Every other number here is computed.

They stand in <https://aws.amazon.com/cloudwatch/pricing/>, <https://aws.amazon.com/s3/pricing/> and
<https://aws.amazon.com/lambda/pricing/>, whose tables are made by scripts and could not be read themselves:
the sources named here are those who quote them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

REGION: Final = "us-east-1"
AS_OF: Final = "2026-11-21"
"""The day on which the sources were compared."""
QUOTED: Final = "2024 to June 2026"
"""When the sources quoted the prices."""
UNCONFIRMED: Final = (
    "that metrics with a resolution of a second cost no more than those with one of a minute",
    "the price of stored logs, and how far they are compressed",
    "that GetMetricData is billed when CloudWatch's own console shows a dashboard, as it is to others",
)
"""What none of the sources that were found settles."""

HOURS_PER_MONTH: Final = 730
"""As in AWS's own examples: 365 days of 24 hours, by 12."""

GB: Final = 1 << 30
"""Bytes of what AWS bills as a GB (S3's FAQ counts 1,073,741,824)."""


class Price(NamedTuple):
    """`dollars` for `per` of what is counted, which people call `what`."""

    dollars: float
    per: float
    what: str

    def of(self, number: float) -> float:
        """Dollars for so many."""
        return number / self.per * self.dollars

    def __str__(self) -> str:
        digits = f"{self.dollars:.10f}".rstrip("0")
        return f"${digits}{'0' * (2 - len(digits.partition('.')[2]))} per {self.what}"


# S3 Standard: devnotes.tech, "Understanding AWS S3 pricing"; others from 2024 to 2026 agree.
S3_PUT: Final = Price(0.005, 1_000, "1,000")
S3_GET: Final = Price(0.0004, 1_000, "1,000")
S3_STORAGE: Final = Price(0.023, GB, "GB and month")
"""Of the first 50 TB. Batches above 128 KB become cheaper after `ArchiveColdDays`."""

# Lambda: wring.co, 2026-03-08; cloudchipr.com. The first tier: 6 billion GB-seconds a month.
LAMBDA_REQUEST: Final = Price(0.20, 1_000_000, "1,000,000")
LAMBDA_GB_SECOND: Final = {
    "x86_64": Price(0.0000166667, 1, "GB-second"),
    "arm64": Price(0.0000133334, 1, "GB-second"),
}

# CloudWatch: cloudburn.io, February 2026; signoz.io, 2026-02-15; factualminds.com, 2026-06-13.
PUT_METRIC_DATA: Final = Price(0.01, 1_000, "1,000")
METRIC_TIERS: Final = ((10_000, 0.30), (240_000, 0.10), (750_000, 0.05), (float("inf"), 0.02))
"""How many metrics of a month have which price. A metric is metered in each hour in which it is sent, as one
hour of a month."""
GET_METRIC_DATA: Final = Price(0.01, 1_000, "1,000")
"""Of the metrics that are asked for. support.site24x7.com, "CloudWatch metrics cost calculation"."""
LOGS_INGESTED: Final = Price(0.50, GB, "GB")
LOGS_STORED: Final = Price(0.03, GB, "GB and month")
"""Of compressed data. c3x.dev, June 2026."""
INSIGHTS_SCANNED: Final = Price(0.005, GB, "GB")
"""Of log events that a query of Logs Insights reads. factualminds.com, 2026-05-08."""
LOGS_COMPRESSED: Final = 0.15
"""Stored bytes by ingested bytes, as AWS's price calculator takes it (dev.classmethod.jp, 2021-09-18)."""
DASHBOARD: Final = Price(3.00, 1, "dashboard and month")
"""The first three of an account, of up to 50 metrics each, are free."""
ALARM: Final = Price(0.10, 1, "metric and month")
"""Of each metric that an alarm looks at, at periods of a minute and more. The first ten alarms are free."""
ALARM_HIGH_RESOLUTION: Final = Price(0.30, 1, "metric and month")
"""At shorter periods. c3x.dev, 2026."""


def metrics(metric_hours: float) -> float:
    """Dollars for metrics that were metered in so many hours in all, in a month without any others."""
    rest = metric_hours / HOURS_PER_MONTH
    dollars = 0.0
    for size, price in METRIC_TIERS:
        part = min(rest, size)
        dollars += part * price
        rest -= part
    return dollars
