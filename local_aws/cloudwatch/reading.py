"""Reading one metric: its data points by period and statistic, and what every read operation shares."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from local_aws.cloudwatch.limits import invalid, missing
from local_aws.cloudwatch.store import Distribution, MetricKey, MetricStore
from local_aws.errors import AwsError

# Metrics without data for so long are neither listed nor found by SEARCH.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_ListMetrics.html
LISTED_FOR = timedelta(weeks=2)
HIGH_RESOLUTION_PERIODS = (1, 5, 10, 20, 30)
# Data older than this can only be read with a period that is a multiple of so many seconds.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricStat.html
COARSER_WITH_AGE = ((timedelta(days=63), 3600), (timedelta(days=15), 300), (timedelta(hours=3), 60))

LATEST_SECOND = 221_845_392_000

STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{0,10})?|100)")


def by_period(
    store: MetricStore,
    key: MetricKey,
    period: int,
    start: int,
    end: int,
    now: datetime,
    *,
    unit: str | None = None,
    origin: int = 0,
) -> dict[int, Distribution]:
    """Distributions by the second at which their period begins, oldest first.

    `period` in seconds, counted from `origin`; [start, end) in seconds since the epoch. Units are merged
    unless one is asked for. What is stored more coarsely, or is too old for the period, is left out.
    """
    found: dict[int, Distribution] = {}
    first = start - (start - origin) % period
    for cell, distribution in store.cells(key):
        second = cell.second - (cell.second - origin) % period
        if unit not in (None, cell.unit) or not first <= second < end or cell.resolution > period:
            continue
        age = now - to_time(cell.second)
        if any(age > older and period % multiple for older, multiple in COARSER_WITH_AGE):
            continue
        found.setdefault(second, Distribution()).merge(distribution)
    return found


def statistic(distribution: Distribution, name: str) -> float | None:
    """One statistic; None for a percentile where single values are unknown."""
    match name:
        case "SampleCount":
            return distribution.sample_count
        case "Sum":
            return distribution.sum
        case "Average":
            return distribution.average
        case "Minimum":
            return distribution.minimum
        case "Maximum":
            return distribution.maximum
    return distribution.percentile(float(name[1:]))


def check_statistic(name: str, *, percentile: bool) -> None:
    """Refuse what is no statistic, or is one of the other kind."""
    known = _PERCENTILE.fullmatch(name) if percentile else name in STATISTICS
    if not known:
        invalid(f"The value {name} is not a statistic that local AWS knows: {', '.join(STATISTICS)}, pNN.NN.")


def check_period(value: Any, path: str) -> int:
    """A period in seconds, if there may be such a one."""
    period = int(value)
    if period not in HIGH_RESOLUTION_PERIODS and (period < 60 or period % 60):
        invalid(
            f"The value {value} for parameter {path} is invalid:"
            " it must be 1, 5, 10, 20, 30 or a multiple of 60."
        )
    return period


def seconds_range(parameters: Mapping[str, Any], period: int) -> tuple[int, int]:
    """[start, end) in whole seconds; start is rounded down to a minute, or to the period below a minute."""
    for name in ("StartTime", "EndTime"):
        if parameters.get(name) is None:
            missing(f"The parameter {name} is required.")
    start, end = _seconds(parameters["StartTime"]), _seconds(parameters["EndTime"])
    if start >= end:
        invalid("The parameter StartTime must be less than the parameter EndTime.")
    if start < 0 or end > LATEST_SECOND:
        invalid("The parameters StartTime and EndTime must lie between the years 1970 and 9000.")
    rounding = min(period, 60)
    return math.floor(start) // rounding * rounding, math.ceil(end)


def key_of(metric: Mapping[str, Any]) -> MetricKey:
    """The metric that a request's `Metric` names."""
    pairs = sorted((item["Name"], item["Value"]) for item in metric.get("Dimensions") or [])
    return MetricKey(metric["Namespace"], metric["MetricName"], tuple(pairs))


def _seconds(value: datetime | float) -> float:
    return value.timestamp() if isinstance(value, datetime) else float(value)


def to_time(second: int) -> datetime:
    """A second since the epoch as a time."""
    return datetime.fromtimestamp(second, timezone.utc)


def to_token(position: int) -> str:
    """The NextToken that continues at `position`."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def from_token(token: str | None) -> int:
    """The position that a NextToken stands for; 0 without one."""
    if not token:
        return 0
    try:
        return int(json.loads(base64.urlsafe_b64decode(token)))
    except ValueError:
        raise AwsError(400, "InvalidNextToken", "The next token specified is invalid.") from None
