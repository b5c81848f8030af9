"""A run's numbers twice, as Locust counted them and as CloudWatch shows them, and whether they agree.

Requests and failures must agree to the last one. Percentiles are not compared: CloudWatch's come from every
response time, Locust's from times that it rounded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

PERCENTILES = (50, 95, 99)
MAX_QUERIES = 500
"""Queries of one GetMetricData call.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html"""
DIMENSIONS = {"Test", "Method", "Name"}
"""The set of dimensions that holds one endpoint of a test."""


class Endpoint(NamedTuple):
    """What Locust keeps statistics of."""

    method: str
    name: str


@dataclass(frozen=True)
class Numbers:
    """One endpoint over a whole run. Times are in milliseconds, None when no request had one."""

    requests: int
    failures: int
    timed: int
    """Requests that had a response time."""
    mean: float | None
    percentiles: Mapping[int, float | None]
    """By percent: 50 is the median."""


def from_locust(path: Path) -> dict[Endpoint, Numbers]:
    """The final statistics that `statistics_file.py` wrote."""
    result = {}
    for entry in json.loads(path.read_text()):
        times = {int(time): count for time, count in entry["response_times"].items()}
        timed = entry["num_requests"] - entry["num_none_requests"]
        result[Endpoint(entry["method"], entry["name"])] = Numbers(
            requests=entry["num_requests"],
            failures=entry["num_failures"],
            timed=timed,
            mean=entry["total_response_time"] / timed if timed else None,
            percentiles={percent: nearest_rank(times, percent) for percent in PERCENTILES},
        )
    return result


def nearest_rank(counts: Mapping[int, int], percent: float) -> int | None:
    """The smallest value that at least so many percent of all values do not exceed; None of nothing."""
    rank = math.ceil(sum(counts.values()) * percent / 100)
    for value in sorted(counts):
        rank -= counts[value]
        if rank <= 0:
            return value
    return None


class Series(NamedTuple):
    """A metric of one set of dimensions, and what is asked of it: Sum, SampleCount, Average, p99 …"""

    metric: str
    statistic: str
    dimensions: tuple[tuple[str, str], ...]


def from_cloudwatch(
    client: CloudWatchClient, namespace: str, test: str, start: datetime, end: datetime
) -> dict[Endpoint, Numbers]:
    """What CloudWatch shows of a test between two moments, by endpoint."""
    asked = [
        ("Requests", "Sum"),
        ("Failures", "Sum"),
        ("ResponseTime", "SampleCount"),
        ("ResponseTime", "Average"),
    ]
    asked += [("ResponseTime", f"p{percent}") for percent in PERCENTILES]
    endpoints = published_endpoints(client, namespace, test)
    series = [Series(*question, dimensions) for dimensions in endpoints.values() for question in asked]
    values = totals(client, namespace, series, start, end)
    result = {}
    for endpoint, dimensions in endpoints.items():
        value = {question: values.get(Series(*question, dimensions)) for question in asked}
        result[endpoint] = Numbers(
            requests=round(value["Requests", "Sum"] or 0),
            failures=round(value["Failures", "Sum"] or 0),
            timed=round(value["ResponseTime", "SampleCount"] or 0),
            mean=value["ResponseTime", "Average"],
            percentiles={percent: value["ResponseTime", f"p{percent}"] for percent in PERCENTILES},
        )
    return result


def published_requests(client: CloudWatchClient, namespace: str, test: str, start: datetime) -> int:
    """All requests of a test that CloudWatch has since `start`."""
    series = Series("Requests", "Sum", (("Test", test),))
    return round(sum(totals(client, namespace, [series], start, datetime.now(timezone.utc)).values()))


def published_endpoints(
    client: CloudWatchClient, namespace: str, test: str
) -> dict[Endpoint, tuple[tuple[str, str], ...]]:
    """The endpoints of a test that CloudWatch lists, each with its dimensions."""
    pages = client.get_paginator("list_metrics").paginate(
        Namespace=namespace, MetricName="Requests", Dimensions=[{"Name": "Test", "Value": test}]
    )
    found = {}
    for page in pages:
        for metric in page["Metrics"]:
            dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
            if dimensions.keys() == DIMENSIONS:
                found[Endpoint(dimensions["Method"], dimensions["Name"])] = tuple(dimensions.items())
    return found


def totals(
    client: CloudWatchClient, namespace: str, series: Iterable[Series], start: datetime, end: datetime
) -> dict[Series, float]:
    """Each series' statistic over the whole time; series without data are left out."""
    first, period = covering_period(start, end)
    rest = iter(series)
    values: dict[Series, float] = {}
    while chunk := list(islice(rest, MAX_QUERIES)):
        queries: list[MetricDataQueryTypeDef] = [
            {
                "Id": f"q{number}",
                "MetricStat": {
                    "Metric": {
                        "Namespace": namespace,
                        "MetricName": metric,
                        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions],
                    },
                    "Period": period,
                    "Stat": statistic,
                },
            }
            for number, (metric, statistic, dimensions) in enumerate(chunk)
        ]
        pages = client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries,
            StartTime=datetime.fromtimestamp(first, timezone.utc),
            EndTime=datetime.fromtimestamp(first + period, timezone.utc),
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                for value in result["Values"]:
                    values[chunk[int(result["Id"][1:])]] = value
    return values


def covering_period(start: datetime, end: datetime) -> tuple[int, int]:
    """The shortest CloudWatch period that holds all of a time: first second, and length in seconds.

    Percentiles of several periods cannot be put together, so all must lie in one. Periods begin at multiples
    of their length.
    """
    period = 60
    while start.timestamp() // period != end.timestamp() // period:
        period += 60
    return int(start.timestamp() // period) * period, period


def differences(locust: Mapping[Endpoint, Numbers], cloudwatch: Mapping[Endpoint, Numbers]) -> list[str]:
    """One line for each number of requests on which the two do not agree."""
    nothing = Numbers(0, 0, 0, None, {})
    lines = []
    for endpoint in sorted(locust.keys() | cloudwatch.keys()):
        ours, theirs = locust.get(endpoint, nothing), cloudwatch.get(endpoint, nothing)
        for name in ("requests", "failures", "timed"):
            counted, shown = getattr(ours, name), getattr(theirs, name)
            if counted != shown:
                what = "requests with a response time" if name == "timed" else name
                lines.append(
                    f"{' '.join(endpoint)}: {what}: Locust counted {counted:,}, CloudWatch shows {shown:,}"
                )
    return lines
