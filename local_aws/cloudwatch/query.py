"""Reading metrics: GetMetricData, GetMetricStatistics and ListMetrics.

Metric maths and SEARCH are not there yet: `_series` is where an expression would be evaluated.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, NoReturn

from local_aws.cloudwatch.limits import conflict, invalid, missing
from local_aws.cloudwatch.store import Distribution, MetricKey, MetricStore
from local_aws.errors import AwsError

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
MAX_QUERIES = 500
MAX_DATAPOINTS = 100_800
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html
MAX_STATISTICS_DATAPOINTS = 1440
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_ListMetrics.html
LIST_PAGE = 500
LISTED_FOR = timedelta(weeks=2)
RECENT = timedelta(hours=3)
HIGH_RESOLUTION_PERIODS = (1, 5, 10, 20, 30)
# Data older than this can only be read with a period that is a multiple of so many seconds.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricStat.html
COARSER_WITH_AGE = ((timedelta(days=63), 3600), (timedelta(days=15), 300), (timedelta(hours=3), 60))

STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{0,10})?|100)")
_ID = re.compile(r"[a-z][a-zA-Z0-9_]{0,254}")


def list_metrics(store: MetricStore, parameters: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """ListMetrics: metrics with data in the last two weeks, 500 a page."""
    active = RECENT if parameters.get("RecentlyActive") == "PT3H" else LISTED_FOR
    filters = [(item["Name"], item.get("Value")) for item in parameters.get("Dimensions") or []]
    keys = [
        key
        for key in store.keys(parameters.get("Namespace"), parameters.get("MetricName"))
        if store.newest(key) >= (now - active).timestamp()
        and all(any(n == name and value in (None, v) for n, v in key.dimensions) for name, value in filters)
    ]
    start = _read_token(parameters.get("NextToken"))
    result: dict[str, Any] = {"Metrics": [_metric(key) for key in keys[start : start + LIST_PAGE]]}
    if start + LIST_PAGE < len(keys):
        result["NextToken"] = _token(start + LIST_PAGE)
    return result


def get_metric_statistics(store: MetricStore, parameters: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """GetMetricStatistics: data points that begin at the (rounded) start time, one per unit."""
    for name in ("Namespace", "MetricName", "StartTime", "EndTime", "Period"):
        if parameters.get(name) in (None, ""):
            missing(f"The parameter {name} is required.")
    statistics = parameters.get("Statistics") or []
    extended = parameters.get("ExtendedStatistics") or []
    if bool(statistics) == bool(extended):
        conflict("Exactly one of the parameters Statistics and ExtendedStatistics must be specified.")
    for statistic in [*statistics, *extended]:
        _check_statistic(statistic, percentile=bool(extended))
    period = _period(parameters["Period"], "Period")
    start, end = _range(parameters, period)
    points = math.ceil((end - start) / period)
    if points > MAX_STATISTICS_DATAPOINTS:
        conflict(
            f"You have requested up to {points} datapoints, which exceeds the limit of"
            f" {MAX_STATISTICS_DATAPOINTS:,}. You may reduce the datapoints requested by increasing Period,"
            " or decreasing the time range."
        )
    datapoints = []
    for unit in _units(store, parameters, parameters.get("Unit")):
        for moment, distribution in _buckets(store, parameters, period, start, end, start, unit, now).items():
            values = {
                statistic: _statistic(distribution, statistic) for statistic in [*statistics, *extended]
            }
            if None in values.values():
                continue
            shape = {"ExtendedStatistics": values} if extended else values
            datapoints.append({"Timestamp": _moment(moment), "Unit": unit, **shape})
    return {"Label": parameters["MetricName"], "Datapoints": datapoints}


def get_metric_data(store: MetricStore, parameters: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """GetMetricData with MetricStat queries; data points are aligned to multiples of the period."""
    queries = parameters.get("MetricDataQueries") or []
    if not queries or len(queries) > MAX_QUERIES:
        _refuse(
            f"The collection MetricDataQueries must have 1 to {MAX_QUERIES} members, found {len(queries)}."
        )
    limit = int(parameters.get("MaxDatapoints") or MAX_DATAPOINTS)
    if not 1 <= limit <= MAX_DATAPOINTS:
        _refuse(
            f"The value {limit} for parameter MaxDatapoints is invalid: it must be 1 to {MAX_DATAPOINTS}."
        )
    newest_first = parameters.get("ScanBy", "TimestampDescending") != "TimestampAscending"
    ids: set[str] = set()
    series: list[tuple[Mapping[str, Any], list[tuple[int, float]]]] = []
    for number, query in enumerate(queries, 1):
        path = f"MetricDataQueries.member.{number}"
        identifier = str(query.get("Id", ""))
        if not _ID.fullmatch(identifier) or identifier in ids:
            _refuse(f"The value {identifier!r} for parameter {path}.Id is invalid or used twice.")
        ids.add(identifier)
        points = _series(store, query, path, parameters, now)
        if query.get("ReturnData", True):
            series.append((query, points[::-1] if newest_first else points))
    return _page(series, _read_token(parameters.get("NextToken")), limit)


def _page(
    series: list[tuple[Mapping[str, Any], list[tuple[int, float]]]], start: int, limit: int
) -> dict[str, Any]:
    """The data points [start, start + limit) of all series laid end to end."""
    results = []
    at = 0
    for query, points in series:
        part = points[max(start - at, 0) : max(start + limit - at, 0)]
        complete = at + len(points) <= start + limit
        at += len(points)
        label = query.get("Label") or query["MetricStat"]["Metric"]["MetricName"]
        results.append(
            {
                "Id": query["Id"],
                "Label": label,
                "Timestamps": [_moment(second) for second, _ in part],
                "Values": [value for _, value in part],
                "StatusCode": "Complete" if complete else "PartialData",
            }
        )
    page: dict[str, Any] = {"MetricDataResults": results, "Messages": []}
    if at > start + limit:
        page["NextToken"] = _token(start + limit)
    return page


def _series(
    store: MetricStore, query: Mapping[str, Any], path: str, parameters: Mapping[str, Any], now: datetime
) -> list[tuple[int, float]]:
    """One query's data points as (second, value), oldest first."""
    stat = query.get("MetricStat")
    if not stat:
        _refuse(
            f"{path}: local AWS answers MetricStat queries only, expressions (metric maths, SEARCH) not yet."
        )
    if query.get("Expression"):
        _refuse(f"{path}: MetricStat and Expression are mutually exclusive and you have specified both.")
    metric = stat.get("Metric") or {}
    for name in ("Namespace", "MetricName"):
        if not metric.get(name):
            _refuse(f"The parameter {path}.MetricStat.Metric.{name} is required.")
    if "Stat" not in stat or "Period" not in stat:
        _refuse(f"The parameters {path}.MetricStat.Stat and {path}.MetricStat.Period are required.")
    _check_statistic(stat["Stat"], percentile=stat["Stat"] not in STATISTICS)
    period = _period(stat["Period"], f"{path}.MetricStat.Period")
    start, end = _range(parameters, period)
    buckets: dict[int, Distribution] = {}
    for unit in _units(store, metric, stat.get("Unit")):
        for second, distribution in _buckets(store, metric, period, start, end, 0, unit, now).items():
            buckets.setdefault(second, Distribution()).merge(distribution)
    points = (
        (second, _statistic(distribution, stat["Stat"])) for second, distribution in sorted(buckets.items())
    )
    return [(second, value) for second, value in points if value is not None]


def _buckets(
    store: MetricStore,
    metric: Mapping[str, Any],
    period: int,
    start: int,
    end: int,
    origin: int,
    unit: str,
    now: datetime,
) -> dict[int, Distribution]:
    """Distributions by the second at which their period begins; periods are counted from `origin`."""
    buckets: dict[int, Distribution] = {}
    first = start - (start - origin) % period
    for cell, distribution in store.cells(_key(metric)):
        second = cell.second - (cell.second - origin) % period
        if cell.unit != unit or not first <= second < end or (cell.resolution > period):
            continue
        age = now - _moment(cell.second)
        if any(age > older and period % multiple for older, multiple in COARSER_WITH_AGE):
            continue
        buckets.setdefault(second, Distribution()).merge(distribution)
    return buckets


def _statistic(distribution: Distribution, statistic: str) -> float | None:
    match statistic:
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
    return distribution.percentile(float(statistic[1:]))


def _check_statistic(statistic: str, *, percentile: bool) -> None:
    known = _PERCENTILE.fullmatch(statistic) if percentile else statistic in STATISTICS
    if not known:
        invalid(
            f"The value {statistic} is not a statistic that local AWS knows: {', '.join(STATISTICS)}, pNN.NN."
        )


def _period(value: Any, path: str) -> int:
    period = int(value)
    if period not in HIGH_RESOLUTION_PERIODS and (period < 60 or period % 60):
        invalid(
            f"The value {value} for parameter {path} is invalid:"
            " it must be 1, 5, 10, 20, 30 or a multiple of 60."
        )
    return period


def _range(parameters: Mapping[str, Any], period: int) -> tuple[int, int]:
    """[start, end) in whole seconds; start is rounded down to a minute, or to the period below a minute."""
    for name in ("StartTime", "EndTime"):
        if parameters.get(name) is None:
            missing(f"The parameter {name} is required.")
    start, end = _seconds(parameters["StartTime"]), _seconds(parameters["EndTime"])
    if start >= end:
        invalid("The parameter StartTime must be less than the parameter EndTime.")
    rounding = min(period, 60)
    return math.floor(start) // rounding * rounding, math.ceil(end)


def _units(store: MetricStore, metric: Mapping[str, Any], unit: str | None) -> list[str]:
    return [unit] if unit else sorted({cell.unit for cell, _ in store.cells(_key(metric))})


def _key(metric: Mapping[str, Any]) -> MetricKey:
    pairs = sorted((item["Name"], item["Value"]) for item in metric.get("Dimensions") or [])
    return MetricKey(metric["Namespace"], metric["MetricName"], tuple(pairs))


def _metric(key: MetricKey) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in key.dimensions]
    return {"Namespace": key.namespace, "MetricName": key.name, "Dimensions": dimensions}


def _seconds(value: datetime | float) -> float:
    return value.timestamp() if isinstance(value, datetime) else float(value)


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, timezone.utc)


def _token(position: int) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _read_token(token: str | None) -> int:
    if not token:
        return 0
    try:
        return int(json.loads(base64.urlsafe_b64decode(token)))
    except ValueError:
        raise AwsError(400, "InvalidNextToken", "The next token specified is invalid.") from None


def _refuse(message: str) -> NoReturn:
    raise AwsError(400, "ValidationError", message, "ValidationException")
