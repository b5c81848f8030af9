"""When a replay is published, what CloudWatch shows of it when, and what it costs; pure.

Times are milliseconds since 1970.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final, NamedTuple

from .archive import Item

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

# What CloudWatch takes, and when it shows it:
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
TAKEN_PAST_MS: Final = 14 * DAY_MS - 30 * MINUTE_MS
TAKEN_FUTURE_MS: Final = 2 * HOUR_MS - 20 * MINUTE_MS
"""How far from now times may lie: two weeks and two hours, less the relay's own margin (a quarter of an hour)
and the time that copying takes."""

AT_ONCE_MS: Final = 3 * HOUR_MS
SAME_DAY_MS: Final = DAY_MS
"""Points younger than this are shown at once; younger than that, after up to two hours; others, up to two
days."""

FRESH_MS: Final = AT_ONCE_MS - 10 * MINUTE_MS
"""How long before now a run may begin so that all of it is shown at once, with time for the copying."""


TIMES: Final = "TIME is ISO 8601, as 2026-11-21T12:00, in UTC unless it says otherwise (+01:00)."
"""Of the commands' options."""


class PlanError(Exception):
    """The replay cannot be published at that time; the text says why and what to do."""


class Span(NamedTuple):
    """From a run's start to its end."""

    start_ms: int
    end_ms: int

    @property
    def length_ms(self) -> int:
        """How long it takes."""
        return self.end_ms - self.start_ms

    def later(self, shift_ms: int) -> Span:
        """The span so much later."""
        return Span(self.start_ms + shift_ms, self.end_ms + shift_ms)

    def __str__(self) -> str:
        return f"{utc(self.start_ms)} to {utc(self.end_ms)} UTC"


@dataclass(frozen=True)
class When:
    """When a replay takes place: it starts or ends at a time, keeps its own, or ends now (nothing set)."""

    start_ms: int | None = None
    end_ms: int | None = None
    keep: bool = False

    @property
    def is_now(self) -> bool:
        """Whether it is to end now, whenever that is."""
        return self == When()

    def shift_ms(self, span: Span, now_ms: int) -> int:
        """By how much the runs within `span` are moved, in whole minutes.

        A run that ends now and is too long to be shown at once goes on ahead of now, as far as CloudWatch
        takes it: up to 4 h 30 min are shown at once.
        """
        if self.keep:
            return 0
        if self.start_ms is not None:
            return (self.start_ms // MINUTE_MS - span.start_ms // MINUTE_MS) * MINUTE_MS
        end_ms = self.end_ms
        if end_ms is None:
            end_ms = now_ms + min(max(span.length_ms - FRESH_MS, 0), TAKEN_FUTURE_MS)
        return (end_ms - span.end_ms) // MINUTE_MS * MINUTE_MS


def check_taken(span: Span, now_ms: int) -> None:
    """Raises `PlanError` when CloudWatch would not take all of `span`."""
    taken = Span(now_ms - TAKEN_PAST_MS, now_ms + TAKEN_FUTURE_MS)
    if taken.start_ms <= span.start_ms and span.end_ms <= taken.end_ms:
        return
    if span.length_ms > taken.length_ms:
        length = duration(span.length_ms)
        advice = f"what is selected spans {length}: select less (--test, --run, --since, --until)"
    else:
        advice = "choose --end now, or another --start or --end"
    raise PlanError(f"expected times from {taken} (what CloudWatch takes now), found {span}: {advice}")


def visibility(span: Span, now_ms: int) -> list[tuple[Span, str]]:
    """The parts of `span`, oldest first, and when CloudWatch shows each."""
    parts, start_ms = [], span.start_ms
    for border_ms, text in (
        (now_ms - SAME_DAY_MS, "after up to 48 hours"),
        (now_ms - AT_ONCE_MS, "after up to 2 hours"),
        (span.end_ms, "within minutes"),
    ):
        end_ms = min(border_ms, span.end_ms)
        if start_ms < end_ms:
            parts.append((Span(start_ms, end_ms), text))
            start_ms = end_ms
    return parts


# List prices of us-east-1 without the free tier, November 2026, in US dollars: https://aws.amazon.com/s3/pricing,
# https://aws.amazon.com/lambda/pricing, https://aws.amazon.com/cloudwatch/pricing
PRICES_OF: Final = "list prices of us-east-1, November 2026"
WRITE: Final = 0.005 / 1000
READ: Final = 0.0004 / 1000
METRIC_CALL: Final = 0.01 / 1000
RETRIEVED_GB: Final = {"STANDARD_IA": 0.01, "ONEZONE_IA": 0.01, "GLACIER_IR": 0.03}
LAMBDA_RUN: Final = 0.20 / 1_000_000
LAMBDA_GB_SECOND: Final = 0.0000166667

# What the relay does for one batch: writes of the anchor and the ledger, reads of the batch and the anchor,
# calls of PutMetricData, and seconds at 512 MB.
RELAY_WRITES: Final = 4
RELAY_READS: Final = 2
RELAY_METRIC_CALLS: Final = 2
RELAY_GB_SECONDS: Final = 0.3 * 0.5


class Cost(NamedTuple):
    """US dollars, estimated."""

    copies: float
    relay: float
    calls: float

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self)


def cost(items: Iterable[Item]) -> Cost:
    """What copying these batches and relaying them costs; custom metrics and log events are not in it."""
    items = list(items)
    count = len(items)
    retrieved = sum(RETRIEVED_GB.get(item.storage, 0.0) * item.size / 1e9 for item in items)
    return Cost(
        copies=count * (WRITE + READ) + retrieved,
        relay=count
        * (RELAY_WRITES * WRITE + RELAY_READS * READ + LAMBDA_RUN + RELAY_GB_SECONDS * LAMBDA_GB_SECOND),
        calls=count * RELAY_METRIC_CALLS * METRIC_CALL,
    )


def time_option(text: str) -> int:
    """`parse_time` for argparse, which shows only its own errors."""
    try:
        return parse_time(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def parse_time(text: str) -> int:
    """An ISO 8601 time, UTC unless it says otherwise, or `now`. Raises ValueError."""
    if text == "now":
        return int(datetime.now(timezone.utc).timestamp() * 1000)
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(
            f"expected a time as 2026-11-21T12:00 (UTC) or with +01:00, found {text!r}"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return int(moment.timestamp() * 1000)


def utc(at_ms: int) -> str:
    """A time as people read it."""
    try:
        return datetime.fromtimestamp(at_ms // 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{at_ms} ms"


def duration(length_ms: int) -> str:
    """A length of time as people read it, with its two largest units."""
    seconds = round(abs(length_ms) / 1000)
    parts = []
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if count := seconds // size:
            parts.append(f"{count} {unit}")
        seconds %= size
    return " ".join(parts[:2]) or "0 s"
