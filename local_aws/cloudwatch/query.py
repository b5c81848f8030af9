"""GetMetricStatistics and ListMetrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from local_aws.cloudwatch.limits import conflict, missing
from local_aws.cloudwatch.reading import (
    LISTED_FOR,
    by_period,
    check_period,
    check_statistic,
    from_token,
    key_of,
    seconds_range,
    statistic,
    to_time,
    to_token,
)
from local_aws.cloudwatch.store import MetricStore

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html
MAX_STATISTICS_DATAPOINTS = 1440
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_ListMetrics.html
LIST_PAGE = 500
RECENT = timedelta(hours=3)


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
    start = from_token(parameters.get("NextToken"))
    metrics = [
        {
            "Namespace": key.namespace,
            "MetricName": key.name,
            "Dimensions": [{"Name": name, "Value": value} for name, value in key.dimensions],
        }
        for key in keys[start : start + LIST_PAGE]
    ]
    more = {"NextToken": to_token(start + LIST_PAGE)} if start + LIST_PAGE < len(keys) else {}
    return {"Metrics": metrics, **more}


def get_metric_statistics(store: MetricStore, parameters: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """GetMetricStatistics: data points that begin at the (rounded) start time, one per unit."""
    for name in ("Namespace", "MetricName", "StartTime", "EndTime", "Period"):
        if parameters.get(name) in (None, ""):
            missing(f"The parameter {name} is required.")
    statistics = parameters.get("Statistics") or []
    extended = parameters.get("ExtendedStatistics") or []
    if bool(statistics) == bool(extended):
        conflict("Exactly one of the parameters Statistics and ExtendedStatistics must be specified.")
    for name in [*statistics, *extended]:
        check_statistic(name, percentile=bool(extended))
    period = check_period(parameters["Period"], "Period")
    start, end = seconds_range(parameters, period)
    points = math.ceil((end - start) / period)
    if points > MAX_STATISTICS_DATAPOINTS:
        conflict(
            f"You have requested up to {points} datapoints, which exceeds the limit of"
            f" {MAX_STATISTICS_DATAPOINTS:,}. You may reduce the datapoints requested by increasing Period,"
            " or decreasing the time range."
        )
    key = key_of(parameters)
    asked = parameters.get("Unit")
    datapoints = []
    for unit in [asked] if asked else sorted({cell.unit for cell, _ in store.cells(key)}):
        found = by_period(store, key, period, start, end, now, unit=unit, origin=start)
        for second, distribution in found.items():
            values = {name: statistic(distribution, name) for name in [*statistics, *extended]}
            if None in values.values():
                continue
            shape = {"ExtendedStatistics": values} if extended else values
            datapoints.append({"Timestamp": to_time(second), "Unit": unit, **shape})
    return {"Label": parameters["MetricName"], "Datapoints": datapoints}
